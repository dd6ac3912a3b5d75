//! The 144 architectures and 196 pretrained tags of open_clip 3.3.0, as data in the crate.

mod licenses;
mod newer;
mod pretrained;
mod sizes;

pub use licenses::{ListedLicense, license_of_repository, license_of_tag, license_of_weights};
pub use newer::Newer;
pub use pretrained::{Pretrained, TagPreprocessing, UnknownTag, pretrained, tag, tag_preprocessing};
pub use sizes::{ModelSize, size};

use std::sync::OnceLock;

use clipway_formats::{FormatError, Json, JsonLimits, JsonValue};

use crate::config::ModelConfig;
use crate::nearest::nearest;

/// The configs by name, in open_clip's order.
static MODELS: &str = include_str!("../../data/models.json");

/// A name that is not in the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{name}`{}", match (newer, nearest) {
    (Some(newer), _) => newer.message().to_owned(),
    (None, Some(nearest)) => format!("; the nearest is `{nearest}`"),
    (None, None) => String::new(),
})]
pub struct UnknownModel {
    /// The name, as given.
    pub name: String,
    /// The most similar name.
    pub nearest: Option<&'static str>,
    /// What it reads, if only open_clip's main branch has it.
    pub newer: Option<Newer>,
}

/// Names of all architectures, in open_clip's order.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    documents().iter().map(|(name, _)| name.as_str())
}

/// The config of an architecture. A slash in the name counts as a hyphen, as in open_clip.
///
/// # Errors
/// An unknown name, with the nearest known one.
///
/// ```
/// let config = clipway_model::registry::model("ViT-B-32").unwrap();
/// assert_eq!(config.embed_dim, 512);
/// ```
pub fn model(name: &str) -> Result<ModelConfig, UnknownModel> {
    let wanted = name.replace('/', "-");
    let found = documents().iter().find(|(known, _)| *known == wanted);
    let Some((_, document)) = found else {
        let known: Vec<&'static str> = names().collect();
        let shown = clipway_formats::shown(name);
        let nearest = nearest(&wanted, &known);
        return Err(UnknownModel { name: shown, nearest, newer: Newer::named(&wanted) });
    };
    // The data belongs to the crate, and a test reads every config in it.
    Ok(ModelConfig::from_document(document).expect("the registry's configs are right"))
}

/// Architectures whose name, or one of whose pretrained tags, contains `pattern`, ignoring case. `*` matches any
/// characters; the whole name or tag must then match. If nothing matches, letters and digits alone are compared, so that
/// `vit-b32` finds `ViT-B-32`.
pub fn search(pattern: &str) -> Vec<&'static str> {
    let pattern = pattern.to_lowercase();
    let matching = |fits: &dyn Fn(&str) -> bool| -> Vec<&'static str> {
        let any_fits = |name: &&str| {
            fits(&name.to_lowercase()) || pretrained(name).any(|entry| fits(&entry.tag.to_lowercase()))
        };
        names().filter(any_fits).collect()
    };
    if pattern.contains('*') {
        return matching(&|name| fits_pattern(name, &pattern));
    }
    let found = matching(&|name| name.contains(&pattern));
    let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let letters = plain(&pattern);
    if !found.is_empty() || letters.is_empty() {
        found
    } else {
        matching(&|name| plain(name).contains(&letters))
    }
}

/// Whether `pattern` matches the whole `name`.
fn fits_pattern(name: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let Some(mut rest) = name.strip_prefix(parts[0]) else { return false };
    let last = parts.len() - 1;
    for part in &parts[1..last] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(parts[last])
}

fn documents() -> &'static [(String, Json)] {
    static DOCUMENTS: OnceLock<Vec<(String, Json)>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| match parse(MODELS).map(|json| json.value) {
        Ok(JsonValue::Object(members)) => members,
        other => unreachable!("the registry is an object: {:?}", other.map(|value| value.kind())),
    })
}

fn parse(text: &str) -> Result<Json, FormatError> {
    Json::parse(text.as_bytes(), JsonLimits::CONFIG)
}
