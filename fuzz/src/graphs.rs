//! ONNX graphs drawn from bytes: each node takes earlier values, whatever their shapes are.

use clipway_formats::{
    Dtype, OnnxAttribute, OnnxDim, OnnxExternal, OnnxGraph, OnnxLayout, OnnxNode, OnnxValue, TensorInfo,
    write_onnx,
};

/// Operators with the attribute whose integer or integers are drawn.
const OPERATORS: [(&str, &str); 48] = [
    ("Add", ""),
    ("ArgMax", "axis"),
    ("AveragePool", "kernel_shape"),
    ("Cast", "to"),
    ("Concat", "axis"),
    ("ConstantOfShape", ""),
    ("Conv", "pads"),
    ("Conv", "strides"),
    ("ConvTranspose", "strides"),
    ("CumSum", ""),
    ("DepthToSpace", "blocksize"),
    ("Div", ""),
    ("Equal", ""),
    ("Expand", ""),
    ("Flatten", "axis"),
    ("Gather", "axis"),
    ("GatherElements", "axis"),
    ("GatherND", "batch_dims"),
    ("Gemm", "transB"),
    ("GlobalAveragePool", ""),
    ("LayerNormalization", "axis"),
    ("MatMul", ""),
    ("MaxPool", "kernel_shape"),
    ("Mul", ""),
    ("NonZero", ""),
    ("OneHot", "axis"),
    ("Pad", ""),
    ("Pow", ""),
    ("Range", ""),
    ("ReduceMax", "axes"),
    ("ReduceMean", "axes"),
    ("ReduceSum", "keepdims"),
    ("Reshape", "allowzero"),
    ("Resize", ""),
    ("ScatterElements", "axis"),
    ("Shape", "start"),
    ("Sigmoid", ""),
    ("Size", ""),
    ("Slice", ""),
    ("Softmax", "axis"),
    ("Split", "axis"),
    ("Squeeze", "axes"),
    ("Tile", ""),
    ("TopK", "axis"),
    ("Transpose", "perm"),
    ("Trilu", "upper"),
    ("Unsqueeze", "axes"),
    ("Where", ""),
];

/// Integers that shapes and attributes are made of.
const INTEGERS: [i64; 16] =
    [0, 1, 2, 3, 4, 5, 7, 16, 100, 1000, 1 << 20, 1 << 40, i64::MAX, -1, -2, i64::MIN];

/// Longest graph, in nodes.
const NODES: usize = 24;

/// Shape of the input `pixels`.
pub const PIXELS: [usize; 4] = [1, 3, 4, 4];

/// Takes bytes from the front, and zeros after the last.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn integers(&mut self) -> Vec<i64> {
        let count = self.next() % 6;
        (0..count).map(|_| INTEGERS[self.next() % INTEGERS.len()]).collect()
    }
}

/// Draws a graph from `pixels` to `features`, as a file.
///
/// # Panics
/// If the writer refuses a graph whose names are all different.
pub fn drawn_graph(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes(bytes);
    let mut names = vec!["pixels".to_owned()];
    let mut stored: Vec<(TensorInfo, Vec<u8>)> = Vec::new();
    for index in 0..bytes.next() % 6 {
        let integers = bytes.integers();
        let shape = if bytes.next() % 4 == 0 && integers.len() == 1 { vec![] } else { vec![integers.len()] };
        let info = TensorInfo { name: format!("stored{index}"), dtype: Dtype::I64, shape };
        names.push(info.name.clone());
        stored.push((info, integers.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }
    let mut nodes = Vec::new();
    while !bytes.0.is_empty() && nodes.len() < NODES {
        nodes.push(drawn_node(&mut bytes, &mut names, nodes.len()));
    }
    let last = names[names.len() - 1].clone();
    let node = |operator, input: &str, output: &str| OnnxNode {
        name: format!("the {operator} of {output}"),
        operator,
        inputs: vec![input.to_owned()],
        outputs: vec![output.to_owned()],
        attributes: Vec::new(),
    };
    nodes.push(node("Identity", &last, "features"));
    let value =
        |name: &str, shape: Vec<OnnxDim>| OnnxValue { name: name.to_owned(), dtype: Dtype::F32, shape };
    let graph = OnnxGraph {
        name: "graph".to_owned(),
        ir_version: 8,
        operator_set: 17,
        inputs: vec![value("pixels", PIXELS.map(OnnxDim::Fixed).to_vec())],
        outputs: vec![value("features", vec![OnnxDim::Free("any".to_owned())])],
        nodes,
        initializers: stored.iter().map(|(info, _)| info.clone()).collect(),
        ..OnnxGraph::default()
    };
    let layout = OnnxLayout::new(&graph, OnnxExternal::WhereNeeded("data")).expect("a small graph");
    let mut file = Vec::new();
    write_onnx(&graph, &layout, &mut file, &mut Vec::new(), |index| Ok(&stored[index].1))
        .expect("different names");
    file
}

/// Draws a node with up to five inputs; input 7 of 8 leaves one out.
fn drawn_node(bytes: &mut Bytes<'_>, names: &mut Vec<String>, index: usize) -> OnnxNode {
    let (operator, attribute) = OPERATORS[bytes.next() % OPERATORS.len()];
    let counts = bytes.next();
    let input = |bytes: &mut Bytes<'_>| match bytes.next() {
        0xff => String::new(),
        // From the end, so that chains are likely.
        pick => names[names.len() - 1 - pick % names.len()].clone(),
    };
    let inputs = (0..=counts % 5).map(|_| input(bytes)).collect();
    let outputs: Vec<String> = (0..=counts / 64 % 3).map(|output| format!("x{index}-{output}")).collect();
    names.extend(outputs.iter().cloned());
    let attributes = match (attribute, counts & 32 == 0) {
        ("", _) | (_, false) => Vec::new(),
        ("axes" | "kernel_shape" | "pads" | "perm" | "strides", true) => {
            vec![(attribute, OnnxAttribute::Ints(bytes.integers()))]
        }
        (_, true) => vec![(attribute, OnnxAttribute::Int(INTEGERS[bytes.next() % INTEGERS.len()]))],
    };
    OnnxNode { name: format!("node{index}"), operator, inputs, outputs, attributes }
}
