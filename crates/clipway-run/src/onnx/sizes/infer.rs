//! The sizes of a node's outputs, and the work for them.

use super::integers::integers_of;
use clipway_formats::{OnnxOperation, shown};

use super::shapes;
use super::size::{MOST_INTEGERS, Size, product};
use crate::onnx::failure::OnnxError;

/// What a node costs.
pub(super) struct Cost {
    /// By the node's outputs.
    pub(super) outputs: Vec<Size>,
    pub(super) multiplications: u64,
}

/// Operators that run other nodes, once or often.
const REPEATING: [&str; 4] = ["If", "Loop", "Scan", "SequenceMap"];

/// Operators whose output may be larger than all that goes in.
const ENLARGING: [&str; 13] = [
    "CenterCropPad",
    "Col2Im",
    "ConstantOfShape",
    "ConvTranspose",
    "Einsum",
    "Expand",
    "MaxUnpool",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Tile",
    "Upsample",
];

/// Operators without inputs that draw a tensor of a stated shape.
const DRAWING: [&str; 2] = ["RandomNormal", "RandomUniform"];

/// Operators on two tensors, or more, of which the shorter dimensions are repeated.
const BROADCASTING: [&str; 21] = [
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
];

/// Computes the sizes of a node's outputs.
///
/// # Errors
/// A node that repeats others, and one that may enlarge its input by a factor that is not known.
pub(super) fn cost_of(node: &OnnxOperation, inputs: &[Option<&Size>]) -> Result<Cost, OnnxError> {
    let operator = node.operator.as_str();
    if REPEATING.contains(&operator) {
        return Err(unbounded(node));
    }
    let largest = inputs.iter().flatten().map(|size| size.elements).max().unwrap_or(0);
    let dims = dims_of(node, inputs);
    if dims.is_none() && (ENLARGING.contains(&operator) || DRAWING.contains(&operator)) {
        return Err(unbounded(node));
    }
    let sum = inputs.iter().flatten().fold(0u64, |sum, size| sum.saturating_add(size.elements));
    let first = match (dims, operator) {
        (Some(dims), _) => Size::of(dims),
        // The parts together, and the places of all elements.
        (None, "Concat") => Size::unknown(sum),
        (None, "NonZero") => {
            let rank =
                inputs.first().copied().flatten().and_then(|size| size.dims.as_ref()).map_or(8, Vec::len);
            Size::unknown(largest.saturating_mul(rank as u64))
        }
        _ => Size::unknown(largest),
    };
    let integers =
        (first.elements <= MOST_INTEGERS as u64).then(|| integers_of(node, inputs, &first)).flatten();
    let first = first.with(integers);
    let multiplications = multiplications(node, inputs, &first);
    let parts = if operator == "Split" { shapes::split(node, inputs) } else { None };
    let mut outputs = match parts {
        Some(parts) => parts.into_iter().map(Size::of).collect(),
        None => vec![first; node.outputs.len()],
    };
    outputs.resize(node.outputs.len(), Size::unknown(largest));
    Ok(Cost { outputs, multiplications })
}

/// The input that is the weight of a product: in `QLinear…` the scale and zero of the first input stand before it.
fn weight(node: &OnnxOperation) -> usize {
    if node.operator.starts_with("QLinear") { 3 } else { 1 }
}

/// The dimensions of the first output.
fn dims_of(node: &OnnxOperation, inputs: &[Option<&Size>]) -> Option<Vec<u64>> {
    let size = |index: usize| inputs.get(index).copied().flatten();
    let dims = |index: usize| size(index)?.dims.as_deref();
    let weight = weight(node);
    match node.operator.as_str() {
        operator if BROADCASTING.contains(&operator) => {
            let mut all = (0..inputs.len()).map(dims);
            let first = all.next()??.to_vec();
            all.try_fold(first, |known, next| shapes::broadcast(&known, next?))
        }
        "Where" => shapes::broadcast(&shapes::broadcast(dims(0)?, dims(1)?)?, dims(2)?),
        "MatMul" | "MatMulInteger" | "FusedMatMul" | "QLinearMatMul" => {
            shapes::matrix_product(dims(0)?, dims(weight)?)
        }
        "Gemm" => shapes::gemm(node, dims(0)?, dims(1)?),
        "Conv" | "ConvInteger" | "QLinearConv" => shapes::conv(node, dims(0)?, dims(weight)?),
        "ConvTranspose" => shapes::conv_transposed(node, dims(0)?, dims(1)?),
        "AveragePool" | "MaxPool" | "LpPool" => shapes::pool(node, dims(0)?),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => shapes::global_pool(dims(0)?),
        "Reshape" => shapes::reshape(node, size(0)?, size(1)?.integers.as_deref()?),
        "Transpose" => shapes::transpose(node, dims(0)?),
        "Unsqueeze" => shapes::unsqueeze(dims(0)?, shapes::axes(node, size(1))?),
        "Squeeze" => shapes::squeeze(dims(0)?, shapes::axes(node, size(1))),
        "Flatten" => shapes::flatten(node, dims(0)?),
        "Concat" => shapes::concat(node, &(0..inputs.len()).map(dims).collect::<Option<Vec<_>>>()?),
        "Split" => shapes::split(node, inputs)?.into_iter().next(),
        "Slice" => shapes::slice(node, inputs),
        "Gather" => shapes::gather(node, dims(0)?, dims(1)?),
        "GatherElements" => Some(dims(1)?.to_vec()),
        "GatherND" => shapes::gather_nd(node, dims(0)?, dims(1)?),
        "Expand" => shapes::broadcast(dims(0)?, &shapes::lengths(size(1)?.integers.as_deref()?)),
        "Tile" => shapes::tile(dims(0)?, size(1)?.integers.as_deref()?),
        "ConstantOfShape" => Some(shapes::lengths(size(0)?.integers.as_deref()?)),
        "Constant" => match (node.constant("value"), node.integers("value_ints")) {
            (Some(constant), _) => Some(constant.shape.clone()),
            (None, Some(integers)) => Some(vec![integers.len() as u64]),
            (None, None) => Some(Vec::new()),
        },
        "RandomNormal" | "RandomUniform" => Some(shapes::lengths(node.integers("shape")?)),
        "Range" => shapes::range(size(0)?, size(1)?, size(2)?),
        "Pad" => shapes::pad(node, inputs),
        "Resize" => shapes::resize(dims(0)?, size(3)?.integers.as_deref()?),
        "OneHot" => shapes::one_hot(node, dims(0)?, size(1)?.integers.as_deref()?),
        "Shape" => Some(vec![shapes::shape_range(node, dims(0)?.len()).len() as u64]),
        "Size" => Some(Vec::new()),
        "ArgMax" | "ArgMin" => {
            let axis = [node.integer("axis").unwrap_or(0)];
            shapes::reduced(dims(0)?, Some(&axis), node.integer("keepdims") != Some(0))
        }
        "TopK" => shapes::top_k(node, dims(0)?, size(1)?.integers.as_deref()?),
        "Einsum" => shapes::einsum(node, &(0..inputs.len()).map(dims).collect::<Option<Vec<_>>>()?),
        "NonZero" => None,
        operator if operator.starts_with("Reduce") => {
            let axes = shapes::axes(node, size(1));
            shapes::reduced(dims(0)?, axes, node.integer("keepdims") != Some(0))
        }
        "DepthToSpace" | "SpaceToDepth" | "Compress" | "Unique" => None,
        operator if ENLARGING.contains(&operator) => None,
        // Everything else computes element by element, or along a dimension that stays.
        _ => Some(dims(0)?.to_vec()),
    }
}

/// Multiplications of products and convolutions; elsewhere one for each element.
fn multiplications(node: &OnnxOperation, inputs: &[Option<&Size>], output: &Size) -> u64 {
    let dims = |index: usize| inputs.get(index).copied().flatten().and_then(|size| size.dims.as_deref());
    let terms = match node.operator.as_str() {
        "MatMul" | "MatMulInteger" | "FusedMatMul" | "QLinearMatMul" => {
            dims(0).and_then(|dims| dims.last().copied())
        }
        "Gemm" => dims(0).map(|dims| dims.iter().copied().max().unwrap_or(1)),
        "Conv" | "ConvInteger" | "ConvTranspose" | "QLinearConv" => {
            dims(weight(node)).map(|dims| product(dims.iter().skip(1)))
        }
        "Einsum" => shapes::einsum_terms(node, &[dims(0), dims(1)]),
        _ => Some(1),
    };
    output.elements.saturating_mul(terms.unwrap_or(1))
}

fn unbounded(node: &OnnxOperation) -> OnnxError {
    OnnxError::Unbounded { node: shown(node.shown_name()), operator: shown(&node.operator) }
}
