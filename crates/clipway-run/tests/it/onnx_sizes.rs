//! Graphs of strangers that ask for more than any machine has, each a few hundred bytes long.

use clipway_formats::{
    Dtype, OnnxAttribute, OnnxDim, OnnxExternal, OnnxGraph, OnnxLayout, OnnxNode, OnnxValue, TensorInfo,
    write_onnx,
};
use clipway_run::budget::Budget;
use clipway_run::onnx::{OnnxData, OnnxError, OnnxLengths, OnnxSession};

/// A graph that adds up what the nodes make of `pixels` as `big`, and gives the sum as features `[1, 1]`.
struct Hostile {
    nodes: Vec<OnnxNode>,
    stored: Vec<(TensorInfo, Vec<u8>)>,
    pixels: [usize; 4],
}

fn node(operator: &'static str, inputs: &[&str], output: &str) -> OnnxNode {
    OnnxNode {
        name: format!("the {operator} of {output}"),
        operator,
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.to_owned()],
        attributes: Vec::new(),
    }
}

fn with(mut node: OnnxNode, name: &'static str, value: OnnxAttribute) -> OnnxNode {
    node.attributes.push((name, value));
    node
}

impl Hostile {
    fn new(nodes: Vec<OnnxNode>) -> Hostile {
        Hostile { nodes, stored: Vec::new(), pixels: [1, 3, 4, 4] }
    }

    fn storing(mut self, name: &str, integers: &[i64], shape: &[usize]) -> Hostile {
        let info = TensorInfo { name: name.to_owned(), dtype: Dtype::I64, shape: shape.to_vec() };
        self.stored.push((info, integers.iter().flat_map(|value| value.to_le_bytes()).collect()));
        self
    }

    fn bytes(self) -> Vec<u8> {
        let sum = with(node("ReduceSum", &["big"], "sum"), "keepdims", OnnxAttribute::Int(0));
        let column = Hostile::new(Vec::new()).storing("column", &[1, 1], &[2]).stored;
        let mut nodes = self.nodes;
        nodes.extend([sum, node("Reshape", &["sum", "column"], "features")]);
        let value = |name: &str, shape: &[usize]| OnnxValue {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.iter().map(|length| OnnxDim::Fixed(*length)).collect(),
        };
        let stored: Vec<_> = self.stored.into_iter().chain(column).collect();
        let graph = OnnxGraph {
            name: "graph".to_owned(),
            ir_version: 8,
            operator_set: 17,
            inputs: vec![value("pixels", &self.pixels)],
            outputs: vec![value("features", &[1, 1])],
            nodes,
            initializers: stored.iter().map(|(info, _)| info.clone()).collect(),
            ..OnnxGraph::default()
        };
        let layout = OnnxLayout::new(&graph, OnnxExternal::WhereNeeded("data")).unwrap();
        let mut bytes = Vec::new();
        write_onnx(&graph, &layout, &mut bytes, &mut Vec::new(), |index| Ok(&stored[index].1)).unwrap();
        bytes
    }

    fn refusal(self) -> OnnxError {
        OnnxSession::from_bytes(self.bytes(), OnnxLengths::default(), Budget::default())
            .err()
            .expect("a refusal")
    }

    fn sum(self) -> f32 {
        let count: usize = self.pixels.iter().product();
        let pixels = self.pixels;
        let session =
            OnnxSession::from_bytes(self.bytes(), OnnxLengths::default(), Budget::default()).unwrap();
        session.run(&[("pixels", &pixels, OnnxData::Floats(vec![1.0; count]))]).unwrap()[0].values[0]
    }
}

/// A graph that doubles its input some times.
fn doubled(times: usize) -> Hostile {
    let mut nodes = vec![node("Identity", &["pixels"], "x0")];
    for turn in 0..times {
        let input = format!("x{turn}");
        let output = if turn + 1 == times { "big".to_owned() } else { format!("x{}", turn + 1) };
        nodes.push(with(node("Concat", &[&input, &input], &output), "axis", OnnxAttribute::Int(0)));
    }
    Hostile::new(nodes)
}

#[test]
fn a_value_that_no_memory_holds_is_refused() {
    let large = 1_i64 << 40;
    let hostile = [
        ("Concat", doubled(40)),
        (
            "ConstantOfShape",
            Hostile::new(vec![node("ConstantOfShape", &["shape"], "big")]).storing(
                "shape",
                &[large, 9],
                &[2],
            ),
        ),
        (
            "Expand",
            Hostile::new(vec![node("Expand", &["pixels", "shape"], "big")]).storing(
                "shape",
                &[large, 3, 4, 4],
                &[4],
            ),
        ),
        (
            "Tile",
            Hostile::new(vec![node("Tile", &["pixels", "times"], "big")]).storing(
                "times",
                &[large, 1, 1, 1],
                &[4],
            ),
        ),
        (
            "Pad",
            Hostile::new(vec![node("Pad", &["pixels", "pads"], "big")]).storing(
                "pads",
                &[0, 0, 0, 0, 0, 0, large, 0],
                &[8],
            ),
        ),
        (
            "Add",
            // A column and a row of 100,000 each.
            Hostile::new(vec![
                node("ConstantOfShape", &["column_shape"], "ones"),
                node("Reshape", &["ones", "row"], "turned"),
                node("Add", &["ones", "turned"], "big"),
            ])
            .storing("column_shape", &[100_000, 1], &[2])
            .storing("row", &[1, -1], &[2]),
        ),
        (
            "ConstantOfShape",
            // The shape is computed: that of the pixels, times a number.
            Hostile::new(vec![
                node("Shape", &["pixels"], "shape"),
                node("Mul", &["shape", "thousand"], "larger"),
                node("ConstantOfShape", &["larger"], "big"),
            ])
            .storing("thousand", &[1000], &[1]),
        ),
    ];
    for (operator, graph) in hostile {
        let error = graph.refusal();
        assert!(matches!(error, OnnxError::Memory { .. }), "{operator}: {error}");
        assert_eq!(error.code(), "too-large");
        assert!(error.to_string().contains(&format!("at `the {operator} of ")), "{error}");
    }
    let error = Hostile { pixels: [1, 3, 1_000_000, 1_000_000], ..doubled(1) }.refusal();
    assert!(error.to_string().contains("needs 12000000000000 bytes at `pixels`"), "{error}");
}

#[test]
fn what_only_running_tells_is_refused() {
    let computed = vec![node("NonZero", &["pixels"], "places"), node("ConstantOfShape", &["places"], "big")];
    let error = Hostile::new(computed).refusal();
    assert!(
        matches!(&error, OnnxError::Unbounded { operator, .. } if operator == "ConstantOfShape"),
        "{error}"
    );
    assert_eq!(error.code(), "unsupported");
    let repeated = vec![node("Loop", &["times", "", "pixels"], "big")];
    let error = Hostile::new(repeated).storing("times", &[1 << 60], &[]).refusal();
    assert!(matches!(&error, OnnxError::Unbounded { operator, .. } if operator == "Loop"), "{error}");
}

#[test]
fn work_is_counted() {
    // Each product of two tables of 9,000 squared takes 0.7 trillion multiplications, and 28 pass the limit.
    let mut nodes = vec![
        node("ReduceMax", &["pixels"], "most"),
        node("ConstantOfShape", &["shape"], "zeros"),
        node("Add", &["zeros", "most"], "x0"),
    ];
    for turn in 0..40 {
        let (input, output) = (format!("x{turn}"), format!("x{}", turn + 1));
        nodes.push(node("MatMul", &[&input, "x0"], if turn == 39 { "big" } else { &output }));
    }
    let error = Hostile::new(nodes).storing("shape", &[9_000, 9_000], &[2]).refusal();
    assert!(error.to_string().contains("up to node `the MatMul of x28`"), "{error}");
    assert!(matches!(error, OnnxError::Work { needed: 20_000_000_000_001.., .. }), "{error}");
}

#[test]
fn the_same_operators_in_small_run() {
    assert_eq!(doubled(4).sum(), 16.0 * 48.0);
    let expanded = Hostile::new(vec![node("Expand", &["pixels", "shape"], "big")]);
    assert_eq!(expanded.storing("shape", &[5, 3, 4, 4], &[4]).sum(), 5.0 * 48.0);
    let padded = Hostile::new(vec![node("Pad", &["pixels", "pads"], "big")]);
    assert_eq!(padded.storing("pads", &[0, 0, 1, 1, 0, 0, 1, 1], &[8]).sum(), 48.0);
    let computed = Hostile::new(vec![
        node("Shape", &["pixels"], "shape"),
        node("Mul", &["shape", "two"], "larger"),
        node("ConstantOfShape", &["larger"], "zeros"),
        node("ReduceMax", &["zeros"], "most"),
        node("Add", &["pixels", "most"], "big"),
    ]);
    assert_eq!(computed.storing("two", &[2], &[1]).sum(), 48.0);
}

#[test]
fn a_slice_of_nothing_is_nothing() {
    // Backwards, its last place is before its first.
    let slice = node("Slice", &["empty", "zero", "least", "zero", "minus"], "part");
    let nodes =
        vec![node("ConstantOfShape", &["zero"], "empty"), slice, node("Identity", &["pixels"], "big")];
    let graph = Hostile::new(nodes).storing("zero", &[0], &[1]).storing("minus", &[-1], &[1]);
    assert_eq!(graph.storing("least", &[i64::MIN], &[1]).sum(), 48.0);
}
