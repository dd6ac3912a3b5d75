//! Written ONNX, read back by the reader and checked byte by byte where it matters.

use std::io;
use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FormatError, OnnxAttribute, OnnxDim, OnnxExternal, OnnxFile, OnnxGraph, OnnxLayout,
    OnnxNode, OnnxValue, Place, TensorFile, TensorInfo, write_onnx,
};

const BESIDE: OnnxExternal<'static> = OnnxExternal::WhereNeeded("model.onnx.data");

fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

/// `y = softmax(x · w + b)`.
fn graph() -> OnnxGraph {
    let node = |name: &str, operator, inputs: &[&str], output: &str, attributes| OnnxNode {
        name: name.to_owned(),
        operator,
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.to_owned()],
        attributes,
    };
    let value = |name: &str, width| OnnxValue {
        name: name.to_owned(),
        dtype: Dtype::F32,
        shape: vec![OnnxDim::Free("batch".to_owned()), OnnxDim::Fixed(width)],
    };
    OnnxGraph {
        name: "image".to_owned(),
        description: "features".to_owned(),
        producer: "clipway".to_owned(),
        producer_version: "1".to_owned(),
        ir_version: 8,
        operator_set: 17,
        inputs: vec![value("x", 150)],
        outputs: vec![value("y", 32)],
        nodes: vec![
            node("a/MatMul", "MatMul", &["x", "w"], "xw", vec![]),
            node("a/Add", "Add", &["xw", "b"], "h", vec![]),
            node("a/Softmax", "Softmax", &["h"], "y", vec![("axis", OnnxAttribute::Int(-1))]),
        ],
        initializers: vec![tensor("w", Dtype::F32, &[150, 32]), tensor("b", Dtype::F32, &[32])],
        metadata: vec![("clipway.precision".to_owned(), "fp32".to_owned())],
    }
}

/// Returns different bytes for each tensor.
fn elements(graph: &OnnxGraph, index: usize) -> Vec<u8> {
    (0..graph.initializers[index].bytes()).map(|place| (place * 7 + index * 100) as u8).collect()
}

fn written(graph: &OnnxGraph, external: OnnxExternal<'_>) -> (OnnxLayout, Vec<u8>, Vec<u8>) {
    let layout = OnnxLayout::new(graph, external).expect("the graph can be laid out");
    let (mut model, mut beside) = (Vec::new(), Vec::new());
    write_onnx(graph, &layout, &mut model, &mut beside, |index| Ok(elements(graph, index)))
        .expect("vectors can be written");
    (layout, model, beside)
}

#[test]
fn a_written_model_is_read_back() {
    let check = |external: OnnxExternal<'static>, data: Option<(&str, u64)>| {
        let graph = graph();
        let (layout, model, beside) = written(&graph, external);
        assert_eq!((layout.model_size(), layout.external()), (model.len() as u64, data));
        assert_eq!(beside.len() as u64, data.map_or(0, |(_, size)| size));
        let beside = Arc::new(beside);
        let file = OnnxFile::open(Arc::new(model), &mut |path| {
            assert_eq!(Some(path), data.map(|(name, _)| name));
            Ok(beside.clone())
        });
        let file = file.expect("what is written can be read");
        assert_eq!(file.tensors(), graph.initializers);
        assert_eq!(file.metadata(), graph.metadata);
        let mut found = Vec::new();
        for index in 0..graph.initializers.len() {
            file.read(index, &mut found).expect("a tensor can be read");
            assert_eq!(found, elements(&graph, index), "{index}");
        }
        assert_eq!(written(&graph, external).1, written(&graph, external).1);
    };
    check(BESIDE, None);
    // The bias is too small to be moved out.
    check(OnnxExternal::Always("model.onnx.data"), Some(("model.onnx.data", 19_200)));
}

#[test]
fn external_tensors_start_at_pages() {
    let mut graph = graph();
    graph.initializers[1].shape = vec![64, 64];
    let (layout, _, beside) = written(&graph, OnnxExternal::Always("w"));
    let places = [0, 1].map(|index| layout.place(index));
    assert!(places.iter().all(|place| place.external));
    assert_eq!((places.map(|place| place.offset), beside.len()), ([0, 20_480], 20_480 + 16_384));
    assert!(beside[19_200..20_480].iter().all(|byte| *byte == 0));
    assert_eq!(beside[20_480..], elements(&graph, 1));
}

#[test]
fn large_tensors_are_read_in_pieces() {
    let mut graph = graph();
    graph.initializers[0].shape = vec![600, 1000];
    let (_, model, _) = written(&graph, BESIDE);
    let file =
        OnnxFile::open(Arc::new(model), &mut |_| unreachable!("nothing is external")).expect("it is valid");
    let (mut bytes, mut longest) = (Vec::new(), 0);
    let mut sink = |piece: &[u8]| {
        longest = longest.max(piece.len());
        bytes.extend_from_slice(piece);
    };
    file.read_chunks(0, &mut sink).expect("a tensor can be read");
    assert_eq!((longest, bytes), (1 << 20, elements(&graph, 0)));
}

#[test]
fn what_protobuf_cannot_hold_stands_beside_the_model() {
    let mut graph = graph();
    let external = |graph: &OnnxGraph| {
        let layout = OnnxLayout::new(graph, BESIDE).expect("it can be laid out");
        (layout.external().map(|(_, size)| size), layout.model_size())
    };
    let most = (1usize << 31) - (1 << 26);
    graph.initializers[0].shape = vec![most / 4 - 1024];
    assert_eq!(external(&graph).0, None);
    assert!(external(&graph).1 < most as u64);
    graph.initializers[0].shape = vec![1 << 30];
    let (data, model) = external(&graph);
    assert_eq!(data, Some(1 << 32));
    assert!(model < 1024, "{model}");
}

#[test]
fn wrong_graphs_and_bytes_are_refused() {
    let refused = |change: &dyn Fn(&mut OnnxGraph), external, code| {
        let mut graph = graph();
        change(&mut graph);
        let error: FormatError = OnnxLayout::new(&graph, external).expect_err("it is wrong");
        assert_eq!(error.code, code, "{error}");
    };
    refused(&|graph| graph.nodes[1].name = "a/MatMul".to_owned(), BESIDE, Code::Duplicate);
    refused(&|graph| graph.initializers[1].name = "w".to_owned(), BESIDE, Code::Duplicate);
    refused(&|graph| graph.metadata.push(graph.metadata[0].clone()), BESIDE, Code::Duplicate);
    refused(&|_| (), OnnxExternal::Always("../w"), Code::PathEscape);
    refused(&|_| (), OnnxExternal::Always("d/w"), Code::PathEscape);

    let graph = graph();
    let layout = OnnxLayout::new(&graph, BESIDE).expect("it can be laid out");
    let error = write_onnx(&graph, &layout, &mut Vec::new(), &mut Vec::new(), |_| Ok([0; 3]))
        .expect_err("three bytes are no matrix");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<FormatError>());
    assert_eq!(inner.map(|error| &error.place), Some(&Place::Tensor("w".to_owned())));
}
