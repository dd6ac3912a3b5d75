//! OpenAI's own CLIP, as a TorchScript archive or state dict. The names are open_clip's.
//!
//! It is recognized by three numbers that OpenAI's releases store among the tensors, or by the order in which its code
//! registers the parts of a block. This code has only one activation, QuickGELU, and its heads are always 64 wide.

use clipway_formats::{FileFormat, FormatError, TensorInfo};

use super::{Conversion, KnownConfig, Layout, LayoutError, open_clip};
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, PreprocessOptions};
use crate::contract::Origins;
use crate::differences::{Differences, Mismatch, WrongNumber};
use crate::identify::{fitting, reconstruct_openai};
use crate::plan::{Converted, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "openai",
    title: "OpenAI CLIP",
    recognizes,
    conversion: Conversion::Steps(convert),
    known_config: Some(known_config),
    check_numbers: Some(check_numbers),
};

/// Numbers that OpenAI's releases store among the tensors.
const NUMBERS: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

/// Name of the rule that drops them.
const NUMBERS_RULE: &str = "OpenAI's architecture number, which the shapes show";

/// Parts of a block in the order of OpenAI's code. open_clip has had `ln_1` first since 2.0, and sorted names put
/// `ln_2` before `mlp`.
const BLOCK: [&str; 4] = ["attn.in_proj_weight", "ln_1.weight", "mlp.c_fc.weight", "ln_2.weight"];

fn has_numbers(state_dict: &StateDict) -> bool {
    NUMBERS.iter().any(|name| state_dict.find(name).is_some())
}

/// Whether the parts of the text tower's first block come in OpenAI's order.
fn has_order(state_dict: &StateDict) -> bool {
    let places = BLOCK.map(|leaf| state_dict.find(&format!("transformer.resblocks.0.{leaf}")));
    places.iter().all(Option::is_some) && places.is_sorted()
}

fn recognizes(state_dict: &StateDict) -> bool {
    open_clip::recognizes(state_dict) && (has_numbers(state_dict) || has_order(state_dict))
}

/// The tensors under open_clip's names, which are OpenAI's.
pub(super) fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    Ok(open_clip::without(state_dict, &|name| match name {
        _ if NUMBERS.contains(&name) => Some(NUMBERS_RULE),
        _ => open_clip::leftover(name),
    }))
}

/// Compares the numbers with the shapes as OpenAI's code computes them, where a tensor shows them.
fn check_numbers(state_dict: &StateDict, differences: &mut Differences) -> Result<(), FormatError> {
    for name in NUMBERS {
        let Some(index) = state_dict.find(name) else { continue };
        let shape = &state_dict.tensors()[index].shape;
        if !matches!(shape[..], [] | [1]) {
            let (name, found) = (name.to_owned(), shape.clone());
            differences.mismatched.push(Mismatch { name, expected: Vec::new(), found });
            continue;
        }
        let found = state_dict.read_number(index)?;
        let told = match name {
            // A size that the patches do not divide is rounded down.
            "input_resolution" => image_size(state_dict)
                .map(|[side, patch]| ((side * patch) as f64, (found / patch as f64).floor() == side as f64)),
            "context_length" => rows(state_dict, "positional_embedding").map(|rows| (rows, rows == found)),
            _ => rows(state_dict, "token_embedding.weight").map(|rows| (rows, rows == found)),
        };
        if let Some((expected, false)) = told {
            differences.numbers.push(WrongNumber { name: name.to_owned(), expected, found });
        }
    }
    Ok(())
}

fn rows(state_dict: &StateDict, name: &str) -> Option<f64> {
    state_dict.get(name)?.shape.first().map(|rows| *rows as f64)
}

/// Number of patches on a side of the image, and pixels on a side of a patch.
fn image_size(state_dict: &StateDict) -> Option<[usize; 2]> {
    /// Factor by which a ResNet shrinks an image.
    const SHRINKS: usize = 32;
    let shape = |name: &str| state_dict.get(name).map(|tensor| tensor.shape.as_slice());
    let (positions, patch) = match shape("visual.attnpool.positional_embedding") {
        Some(positions) => (positions, SHRINKS),
        None => {
            let &[_, _, patch, _] = shape("visual.conv1.weight")? else { return None };
            (shape("visual.positional_embedding")?, patch)
        }
    };
    let patches = positions.first()?.checked_sub(1)?;
    let side = patches.isqrt();
    // This code cannot produce positions that do not form a square.
    (side * side == patches && patch > 0 && side.checked_mul(patch).is_some()).then_some([side, patch])
}

/// The matching registered model with QuickGELU, or the config according to shapes and OpenAI's code.
///
/// If the order of names is the only sign of OpenAI's code, open_clip before 2.0 may also have written the file: then a
/// registered model with the same shapes and GELU leaves the choice to the user.
fn known_config(
    _: &Checkpoint,
    state_dict: &StateDict,
    tensors: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let shapes = || tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
    let (is_certain, evidence) = match () {
        () if has_numbers(state_dict) => (true, "OpenAI's numbers are among the tensors"),
        () if state_dict.format() == FileFormat::TorchScript => {
            (true, "it is a TorchScript archive in the order of OpenAI's code")
        }
        () => (false, "the tensors are in the order of OpenAI's code"),
    };
    let bare = |model| ConfigFile { model, preprocess: PreprocessOptions::default() };
    let fits = fitting(tensors);
    if !is_certain && !fits.is_empty() {
        return Ok(None);
    }
    let mut quick = fits.into_iter().filter(|(_, model)| model.quick_gelu);
    let (name, config, from) = match (quick.next(), quick.next()) {
        (Some((name, model)), None) => {
            let from = format!("registry, `{name}`: the match with QuickGELU; {evidence}");
            (Some(name.to_owned()), model, from)
        }
        _ => match reconstruct_openai(shapes()) {
            Some(model) => (
                None,
                model,
                format!("the shapes, with the activation and heads of OpenAI's code: {evidence}"),
            ),
            None => return Ok(None),
        },
    };
    let note = "QuickGELU was assumed, because the tensors are in the order of OpenAI's code, which has no other \
                activation; open_clip before 2.0 wrote the same order: name the model if it is one of its own";
    Ok(Some(KnownConfig {
        config: bare(config),
        name,
        from,
        origins: Origins::default(),
        activation_from: format!("OpenAI's code uses only QuickGELU: {evidence}"),
        disagreements: Vec::new(),
        text_model_file: None,
        notes: if is_certain { Vec::new() } else { vec![note.to_owned()] },
    }))
}
