//! The sizes of a node's outputs, and the work for them.

use super::integers::integers_of;
use super::read::{Node, shown};
use super::shapes;
use super::size::{MOST_INTEGERS, Size};
use crate::onnx::failure::OnnxError;

/// What a node costs.
pub(super) struct Cost {
    /// By the node's outputs.
    pub(super) outputs: Vec<Size>,
    pub(super) multiplications: u64,
}

/// Operators that run other nodes, once or often.
const REPEATING: [&[u8]; 4] = [b"If", b"Loop", b"Scan", b"SequenceMap"];

/// Operators whose output may be larger than all that goes in.
const ENLARGING: [&[u8]; 13] = [
    b"CenterCropPad",
    b"Col2Im",
    b"ConstantOfShape",
    b"ConvTranspose",
    b"Einsum",
    b"Expand",
    b"MaxUnpool",
    b"OneHot",
    b"Pad",
    b"Range",
    b"Resize",
    b"Tile",
    b"Upsample",
];

/// Operators without inputs that draw a tensor of a stated shape.
const DRAWING: [&[u8]; 2] = [b"RandomNormal", b"RandomUniform"];

/// Operators on two tensors, or more, of which the shorter dimensions are repeated.
const BROADCASTING: [&[u8]; 21] = [
    b"Add",
    b"And",
    b"BitShift",
    b"BitwiseAnd",
    b"BitwiseOr",
    b"BitwiseXor",
    b"Div",
    b"Equal",
    b"Greater",
    b"GreaterOrEqual",
    b"Less",
    b"LessOrEqual",
    b"Max",
    b"Mean",
    b"Min",
    b"Mod",
    b"Mul",
    b"Or",
    b"Pow",
    b"Sub",
    b"Sum",
];

/// Computes the sizes of a node's outputs.
///
/// # Errors
/// A node that repeats others, and one that may enlarge its input by a factor that is not known.
pub(super) fn cost_of(node: &Node<'_>, inputs: &[Option<&Size>]) -> Result<Cost, OnnxError> {
    if REPEATING.contains(&node.operator) {
        return Err(unbounded(node));
    }
    let largest = inputs.iter().flatten().map(|size| size.elements).max().unwrap_or(0);
    let dims = dims_of(node, inputs);
    if dims.is_none() && (ENLARGING.contains(&node.operator) || DRAWING.contains(&node.operator)) {
        return Err(unbounded(node));
    }
    let sum = inputs.iter().flatten().fold(0u64, |sum, size| sum.saturating_add(size.elements));
    let first = match (dims, node.operator) {
        (Some(dims), _) => Size::of(dims),
        // The parts together, and the places of all elements.
        (None, b"Concat") => Size::unknown(sum),
        (None, b"NonZero") => {
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
    let mut outputs = match node.operator {
        b"Split" => shapes::split(node, inputs).map(|parts| parts.into_iter().map(Size::of).collect()),
        _ => None,
    }
    .unwrap_or_else(|| vec![first.clone(); node.outputs.len()]);
    outputs.resize(node.outputs.len(), Size::unknown(largest));
    Ok(Cost { outputs, multiplications })
}

/// The dimensions of the first output.
fn dims_of(node: &Node<'_>, inputs: &[Option<&Size>]) -> Option<Vec<u64>> {
    let size = |index: usize| inputs.get(index).copied().flatten();
    let dims = |index: usize| size(index)?.dims.as_deref();
    match node.operator {
        operator if BROADCASTING.contains(&operator) => {
            let mut all = (0..inputs.len()).map(dims);
            let first = all.next()??.to_vec();
            all.try_fold(first, |known, next| shapes::broadcast(&known, next?))
        }
        b"Where" => shapes::broadcast(&shapes::broadcast(dims(0)?, dims(1)?)?, dims(2)?),
        b"MatMul" | b"MatMulInteger" | b"FusedMatMul" => shapes::matrix_product(dims(0)?, dims(1)?),
        b"QLinearMatMul" => shapes::matrix_product(dims(0)?, dims(3)?),
        b"Gemm" => shapes::gemm(node, dims(0)?, dims(1)?),
        b"Conv" | b"ConvInteger" => shapes::conv(node, dims(0)?, dims(1)?),
        b"QLinearConv" => shapes::conv(node, dims(0)?, dims(3)?),
        b"ConvTranspose" => shapes::conv_transposed(node, dims(0)?, dims(1)?),
        b"AveragePool" | b"MaxPool" | b"LpPool" => shapes::pool(node, dims(0)?),
        b"GlobalAveragePool" | b"GlobalMaxPool" | b"GlobalLpPool" => shapes::global_pool(dims(0)?),
        b"Reshape" => shapes::reshape(node, size(0)?, size(1)?.integers.as_deref()?),
        b"Transpose" => shapes::transpose(node, dims(0)?),
        b"Unsqueeze" => shapes::unsqueeze(dims(0)?, shapes::axes(node, size(1))?),
        b"Squeeze" => shapes::squeeze(dims(0)?, shapes::axes(node, size(1))),
        b"Flatten" => shapes::flatten(node, dims(0)?),
        b"Concat" => shapes::concat(node, &(0..inputs.len()).map(dims).collect::<Option<Vec<_>>>()?),
        b"Split" => shapes::split(node, inputs)?.into_iter().next(),
        b"Slice" => shapes::slice(node, inputs),
        b"Gather" => shapes::gather(node, dims(0)?, dims(1)?),
        b"GatherElements" => Some(dims(1)?.to_vec()),
        b"GatherND" => shapes::gather_nd(node, dims(0)?, dims(1)?),
        b"Expand" => shapes::broadcast(dims(0)?, &shapes::lengths(size(1)?.integers.as_deref()?)),
        b"Tile" => shapes::tile(dims(0)?, size(1)?.integers.as_deref()?),
        b"ConstantOfShape" => Some(shapes::lengths(size(0)?.integers.as_deref()?)),
        b"Constant" => match (node.tensor("value"), node.integers("value_ints")) {
            (Some(tensor), _) => tensor.dims.clone(),
            (None, Some(integers)) => Some(vec![integers.len() as u64]),
            (None, None) => Some(Vec::new()),
        },
        b"RandomNormal" | b"RandomUniform" => Some(shapes::lengths(node.integers("shape")?)),
        b"Range" => shapes::range(size(0)?, size(1)?, size(2)?),
        b"Pad" => shapes::pad(node, inputs),
        b"Resize" => shapes::resize(dims(0)?, size(3)?.integers.as_deref()?),
        b"OneHot" => shapes::one_hot(node, dims(0)?, size(1)?.integers.as_deref()?),
        b"Shape" => Some(vec![shapes::shape_range(node, dims(0)?.len()).len() as u64]),
        b"Size" => Some(Vec::new()),
        b"ArgMax" | b"ArgMin" => {
            let axis = [node.integer("axis").unwrap_or(0)];
            shapes::reduced(dims(0)?, Some(&axis), node.integer("keepdims") != Some(0))
        }
        b"TopK" => shapes::top_k(node, dims(0)?, size(1)?.integers.as_deref()?),
        b"Einsum" => shapes::einsum(node, &(0..inputs.len()).map(dims).collect::<Option<Vec<_>>>()?),
        b"NonZero" => None,
        operator if operator.starts_with(b"Reduce") => {
            let axes = shapes::axes(node, size(1));
            shapes::reduced(dims(0)?, axes, node.integer("keepdims") != Some(0))
        }
        b"DepthToSpace" | b"SpaceToDepth" | b"Compress" | b"Unique" => None,
        operator if ENLARGING.contains(&operator) => None,
        // Everything else computes element by element, or along a dimension that stays.
        _ => Some(dims(0)?.to_vec()),
    }
}

/// Multiplications of products and convolutions; elsewhere one for each element.
fn multiplications(node: &Node<'_>, inputs: &[Option<&Size>], output: &Size) -> u64 {
    let dims = |index: usize| inputs.get(index).copied().flatten().and_then(|size| size.dims.as_deref());
    let terms = match node.operator {
        b"MatMul" | b"MatMulInteger" | b"FusedMatMul" | b"QLinearMatMul" => {
            dims(0).and_then(|dims| dims.last().copied())
        }
        b"Gemm" => dims(0).map(|dims| dims.iter().copied().max().unwrap_or(1)),
        b"Conv" | b"ConvInteger" | b"ConvTranspose" => dims(1)
            .map(|dims| dims.iter().skip(1).fold(1u64, |product, length| product.saturating_mul(*length))),
        b"QLinearConv" => dims(3)
            .map(|dims| dims.iter().skip(1).fold(1u64, |product, length| product.saturating_mul(*length))),
        b"Einsum" => shapes::einsum_terms(node, &[dims(0), dims(1)]),
        _ => Some(1),
    };
    output.elements.saturating_mul(terms.unwrap_or(1))
}

fn unbounded(node: &Node<'_>) -> OnnxError {
    OnnxError::Unbounded { node: node.shown(), operator: shown(node.operator) }
}
