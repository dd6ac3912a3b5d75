//! Prefixes that a class around a model puts before all its names.

use super::{Layout, has_prefix};
use crate::plan::Towers;
use crate::state_dict::StateDict;

/// What names of a model begin with, by which one below a prefix is found.
const ROOTS: [&str; 9] = [
    "visual.",
    "bert.",
    "attnpool.positional_embedding",
    "vision_model.",
    "text_model.",
    "image_encoder.model.",
    "text_encoder.",
    "token_embedding.",
    "transformer.resblocks.",
];

/// Parts of names that are inside a model: what has one is no prefix before a whole model.
const INSIDE: [&str; 6] = ["visual", "trunk", "vision_model", "text_model", "text_decoder", "embeddings"];

/// Last part of a prefix that is open_clip's text tower and not a model.
const TOWER: &str = "text";

/// Most prefixes that are tried.
const MOST: usize = 64;

/// What stands before the names of a tower in a model of two, where they have none: transformers 5 saves a tower alone
/// under names without it, and so does who saves an open_clip model's `visual`.
pub(crate) fn bare_tower(state_dict: &StateDict) -> Option<&'static str> {
    let has = |name: &str| state_dict.find(name).is_some();
    if has("conv1.weight") && (has("class_embedding") || has("attnpool.positional_embedding")) {
        return Some(IMAGE);
    }
    match has("embeddings.position_embedding.weight") {
        true if has("embeddings.patch_embedding.weight") && has("post_layernorm.weight") => {
            Some("vision_model")
        }
        true if has("embeddings.token_embedding.weight") && has("final_layer_norm.weight") => {
            Some("text_model")
        }
        _ => None,
    }
}

/// Prefixes below which names have a layout that is converted, each without those below it.
pub(crate) fn prefixes(state_dict: &StateDict) -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    for tensor in state_dict.tensors() {
        let name = tensor.name.as_str();
        for (end, _) in name.match_indices('.') {
            let prefix = &name[..end];
            let below = &name[end + 1..];
            let is_root = ROOTS.iter().any(|root| below.starts_with(root));
            let last = prefix.rsplit('.').next().unwrap_or_default();
            let is_tower = last == TOWER || prefix.split('.').any(|part| INSIDE.contains(&part));
            if is_root && !is_tower && found.len() < MOST && !found.contains(&prefix) {
                found.push(prefix);
            }
        }
    }
    found.retain(|prefix| {
        let below = state_dict.under(prefix);
        bare_tower(&below).is_some() || Layout::recognize(&below).is_some_and(Layout::is_converted)
    });
    let is_below =
        |prefix: &str, other: &str| prefix.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
    let outermost = found.iter().filter(|prefix| !found.iter().any(|other| is_below(prefix, other)));
    outermost.map(|&prefix| prefix.to_owned()).collect()
}

/// Name of open_clip's image tower.
const IMAGE: &str = "visual";

/// What stands before the names below a prefix in a model of two towers, where they lack it.
pub(crate) fn lacking(state_dict: &StateDict, prefix: &str) -> Option<&'static str> {
    if prefix == IMAGE { Some(IMAGE) } else { bare_tower(&state_dict.under(prefix)) }
}

/// The prefixes of the image tower and of the text tower, where these are all the candidates. The image tower may be where
/// it is without a prefix.
pub(crate) fn split(state_dict: &StateDict, candidates: &[String]) -> Option<[String; 2]> {
    if let [text] = candidates
        && has_prefix(state_dict, "visual.")
        && towers(state_dict, text) == Some(Towers::Text)
    {
        return Some([IMAGE.to_owned(), text.clone()]);
    }
    let [first, second] = candidates else { return None };
    match [towers(state_dict, first)?, towers(state_dict, second)?] {
        [Towers::Image, Towers::Text] => Some([first.clone(), second.clone()]),
        [Towers::Text, Towers::Image] => Some([second.clone(), first.clone()]),
        _ => None,
    }
}

/// The towers below a prefix.
fn towers(state_dict: &StateDict, prefix: &str) -> Option<Towers> {
    let below = state_dict.under(prefix);
    match bare_tower(&below) {
        Some("text_model") => return Some(Towers::Text),
        Some(_) => return Some(Towers::Image),
        None => {}
    }
    let converted = Layout::recognize(&below)?.convert(&below).ok()?;
    Towers::of(converted.tensors.iter().map(|planned| planned.target.name.as_str()))
}
