//! The image tower of one source and the text tower of another.

use std::sync::Arc;

use clipway_formats::TensorInfo;

use super::file::name_in;
use super::{MixError, Mixed, composed, renamed, settle_license, unused};
use crate::artifact::Part;
use crate::plan::{Converted, DroppedTensor, Towers, is_shared};
use crate::source::{Composed, Source};

/// The source whose logit scale and bias are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleFrom {
    /// That of the image tower.
    Image,
    /// That of the text tower.
    Text,
}

/// Rules for what is not used of the two sources.
const NO_TEXT: &str = "the text tower is the other source's";
const NO_IMAGE: &str = "the image tower is the other source's";
const NO_SCALE: &str = "logit scale and bias are the other source's";

/// The image tower of one source with the text tower of another, such as a multilingual student of the first one's text
/// tower. Preprocessing is the image tower's, the tokenizer the text tower's; the source of the logit scale is stated.
///
/// # Errors
/// Embeddings of different widths, towers that need different activations, a decoder that reads both towers, and
/// a source of the logit scale that has none: all problems at once.
pub fn pair(image: Source, text: Source, scale: ScaleFrom) -> Result<Mixed, MixError> {
    check(&image, &text, scale)?;
    let mut config = image.config().clone();
    let scaled = match scale {
        ScaleFrom::Image => &image,
        ScaleFrom::Text => &text,
    };
    config
        .model
        .set_text_tower(&text.config().model, &scaled.config().model)
        .map_err(|cause| MixError::Towers(vec![cause.to_string()]))?;
    let sources = [&image, &text];
    let mut converted = Converted::default();
    for (part, source) in sources.into_iter().enumerate() {
        for planned in &source.plan().tensors {
            let name = &planned.target.name;
            let tensor = TensorInfo { name: name_in(part, name), ..planned.target.clone() };
            let is_scales = (part == 0) == (scale == ScaleFrom::Image);
            let rule = match part {
                _ if is_shared(name) => (!is_scales).then_some(NO_SCALE),
                0 => (!Towers::Image.has(name)).then_some(NO_TEXT),
                _ => (!Towers::Text.has(name)).then_some(NO_IMAGE),
            };
            match rule {
                Some(rule) => converted.dropped.push(DroppedTensor { tensor, rule }),
                None => converted.tensors.push(renamed(&tensor, name)),
            }
        }
    }
    let mut contract = text.contract().clone();
    contract.image.clone_from(&image.contract().image);
    if config.model.quick_gelu == image.config().model.quick_gelu {
        contract.activation = image.contract().activation.clone();
    }
    let mut notes = [image.notes(), text.notes()].concat();
    notes.dedup();
    notes.extend(settle_license(&mut contract, sources.into_iter()));
    notes.push(format!(
        "the image tower is that of `{}`, the text tower that of `{}`, and the logit scale is the {} tower's",
        image.shown_name(),
        text.shown_name(),
        if scale == ScaleFrom::Image { "image" } else { "text" }
    ));
    let part = |source: &Source, tower| Part { name: source.shown_name(), share: None, tower: Some(tower) };
    let parts = vec![part(&image, Towers::Image), part(&text, Towers::Text)];
    let base = Arc::clone(text.checkpoint());
    let of_text = composed(&text, converted, contract, notes, parts);
    let sources = vec![image, text];
    let notes = [of_text.notes.clone(), unused(&sources)].concat();
    Ok(Mixed::of(&base, sources, Composed { config, notes, ..of_text }))
}

fn check(image: &Source, text: &Source, scale: ScaleFrom) -> Result<(), MixError> {
    let mut problems = Vec::new();
    let [ours, theirs] = [&image.config().model, &text.config().model];
    if ours.embed_dim != theirs.embed_dim {
        problems.push(format!(
            "the image tower's embedding has {} values, the text tower's {}",
            ours.embed_dim, theirs.embed_dim
        ));
    }
    let lacks = |source: &Source, tower: Towers| source.tower() != Towers::Both && source.tower() != tower;
    if lacks(image, Towers::Image) {
        problems.push(format!("`{}` has no image tower", image.shown_name()));
    }
    if lacks(text, Towers::Text) {
        problems.push(format!("`{}` has no text tower", text.shown_name()));
    }
    if ours.multimodal.is_some() || theirs.multimodal.is_some() {
        problems.push("a CoCa's decoder reads both towers, which are then those of one source".to_owned());
    }
    // timm's trunks, Hugging Face's text models and ModernText have activations of their own.
    let both_read = ours.vision.timm.is_none() && !theirs.uses_other_text_tower();
    if both_read && ours.quick_gelu != theirs.quick_gelu {
        problems
            .push("one tower uses QuickGELU and the other GELU, for which a config has one key".to_owned());
    }
    let scaled = if scale == ScaleFrom::Image { image } else { text };
    if !scaled.plan().tensors.iter().any(|planned| planned.target.name == "logit_scale") {
        problems.push(format!("`{}` has no logit scale", scaled.shown_name()));
    }
    if problems.is_empty() { Ok(()) } else { Err(MixError::Towers(problems)) }
}
