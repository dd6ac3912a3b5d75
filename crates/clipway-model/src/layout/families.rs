//! Assigns tensor names to projects by their first parts. A state dict has one project's names.

use clipway_formats::TensorInfo;

use super::error::LayoutPart;
use crate::plan::ROOT_PARTS;

/// Name prefixes used by only one project, with the project. Prefixes used by several, such as `logit_scale` and
/// `text_projection`, say nothing.
const FAMILIES: [(&str, &[&str]); 4] = [
    ("open_clip or OpenAI", &["visual", "text", ROOT_PARTS[2], ROOT_PARTS[3], ROOT_PARTS[4]]),
    ("Hugging Face transformers", &["vision_model", "text_model", "visual_projection"]),
    ("Apple MobileCLIP", &["image_encoder", "text_encoder"]),
    ("Google big_vision", &["params/img", "params/txt", "img", "txt"]),
];

/// First part of a name; for names with slashes, the one or two significant parts.
fn first_part(name: &str) -> &str {
    match name.strip_prefix("params/") {
        Some(rest) => &name[.."params/".len() + rest.find('/').unwrap_or(rest.len())],
        None => name.split(['.', '/']).next().unwrap_or_default(),
    }
}

/// The projects whose names occur, with the number of tensors.
pub(super) fn families(tensors: &[TensorInfo]) -> Vec<LayoutPart> {
    let mut found = Vec::new();
    for (title, parts) in FAMILIES {
        let mut of_family = tensors.iter().filter(|tensor| parts.contains(&first_part(&tensor.name)));
        if let Some(first) = of_family.next() {
            let (tensors, example) = (1 + of_family.count(), first.name.clone());
            found.push(LayoutPart { title, tensors, example });
        }
    }
    found
}
