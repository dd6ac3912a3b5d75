//! Prefixes that a class around a model puts before all its names.

use super::Layout;
use crate::state_dict::StateDict;

/// What names of a model begin with, by which one below a prefix is found.
const ROOTS: [&str; 7] = [
    "visual.",
    "vision_model.",
    "text_model.",
    "image_encoder.model.",
    "text_encoder.",
    "token_embedding.",
    "transformer.resblocks.",
];

/// Parts of names that are inside a model: what has one is no prefix before a whole model.
const INSIDE: [&str; 6] = ["visual", "trunk", "vision_model", "text_model", "text_decoder", "embeddings"];

/// Last parts of prefixes that are a tower and not a model.
const TOWERS: [&str; 3] = ["text", "image_encoder", "text_encoder"];

/// Most prefixes that are tried.
const MOST: usize = 64;

/// What transformers puts before the names of a tower in a model of two, where they have none: transformers 5 saves a
/// tower alone under names without it.
pub(crate) fn bare_tower(state_dict: &StateDict) -> Option<&'static str> {
    let has = |name: &str| state_dict.find(name).is_some();
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
            let is_root = ROOTS.iter().any(|root| name[end + 1..].starts_with(root));
            let is_tower = TOWERS.contains(&prefix.rsplit('.').next().unwrap_or_default())
                || prefix.split('.').any(|part| INSIDE.contains(&part));
            if is_root && !is_tower && found.len() < MOST && !found.contains(&prefix) {
                found.push(prefix);
            }
        }
    }
    found.retain(|prefix| {
        let below = state_dict.under(prefix);
        Layout::recognize(&below).is_some_and(Layout::is_converted)
    });
    let is_below =
        |prefix: &str, other: &str| prefix.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
    let outermost = found.iter().filter(|prefix| !found.iter().any(|other| is_below(prefix, other)));
    outermost.map(|&prefix| prefix.to_owned()).collect()
}
