//! Weights in a quantizer's form and files without a model, which are recognized by name and refused.

use super::{Conversion, Layout, clipway};
use crate::state_dict::StateDict;

/// Matrices as integers or small floats with scales beside them, as each quantizer stores them.
pub(super) static QUANTIZED: Layout = Layout {
    name: "quantized",
    title: "a quantized model",
    recognizes: |tensors| {
        let is_mark = |name: &str| MARKS.iter().any(|mark| name.ends_with(mark)) || name.contains(BIT_STATE);
        tensors.tensors().iter().any(|tensor| is_mark(&tensor.name) || is_of_mlx(tensors, &tensor.name))
            && !(clipway::LAYOUT.recognizes)(tensors)
    },
    conversion: Conversion::Refused(
        "its weights are stored with scales (bitsandbytes, GPTQ, AWQ, compressed-tensors, quanto, FP8 or MLX); export the \
         model that it was made from, or save it after `dequantize()`",
    ),
    known_config: None,
    check_numbers: None,
};

/// Ends of names of what quantizers keep beside a matrix.
const MARKS: [&str; 11] = [
    ".SCB",
    ".absmax",
    ".quant_map",
    ".qweight",
    ".qzeros",
    ".g_idx",
    ".weight_packed",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight._data",
    "._packed_params._packed_params",
];

/// Part of the names of bitsandbytes' states in 4 bits.
const BIT_STATE: &str = ".quant_state.bitsandbytes__";

/// Whether a tensor is MLX's scales of a matrix, with its offsets beside them.
fn is_of_mlx(tensors: &StateDict, name: &str) -> bool {
    let module = name.strip_suffix(".scales");
    module.is_some_and(|module| tensors.find(&format!("{module}.biases")).is_some())
}

/// An optimizer's state without the weights.
pub(super) static OPTIMIZER: Layout = Layout {
    name: "optimizer",
    title: "an optimizer's state",
    recognizes: |tensors| {
        let last = |name: &str| name.rsplit('.').next().is_some_and(|last| MOMENTS.contains(&last));
        let all = tensors.tensors();
        !all.is_empty() && all.iter().all(|tensor| last(&tensor.name))
    },
    conversion: Conversion::Refused("the model's weights are in another file of its trainer"),
    known_config: None,
    check_numbers: None,
};

/// What optimizers keep for each weight.
const MOMENTS: [&str; 6] =
    ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg"];

/// Learned vectors of a few words, for a text encoder.
pub(super) static TEXTUAL_INVERSION: Layout = Layout {
    name: "textual_inversion",
    title: "a textual inversion",
    recognizes: |tensors| {
        let all = tensors.tensors();
        let is_word = |name: &str| WORDS.contains(&name) || name.starts_with('<') && name.ends_with('>');
        (1..=2).contains(&all.len())
            && all.iter().all(|tensor| is_word(&tensor.name) && tensor.shape.len() <= 2)
    },
    conversion: Conversion::Refused("it has the vectors of a few words, and no model"),
    known_config: None,
    check_numbers: None,
};

/// Names of the vectors.
const WORDS: [&str; 4] = ["emb_params", "*", "clip_l", "clip_g"];
