//! Pretrained weights: for each a model, a tag, where it is, and how its images were prepared.

use std::sync::OnceLock;

use clipway_formats::{FormatError, JsonCursor};

use crate::config::{PreprocessConfig, PreprocessOptions};
use crate::nearest::nearest;

/// The tags, in open_clip's order.
static PRETRAINED: &str = include_str!("../../data/pretrained.json");

/// Weights that open_clip knows by a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretrained {
    /// Name of the architecture.
    pub model: String,
    /// The tag.
    pub tag: String,
    /// Where the weights are, as an address.
    pub url: Option<String>,
    /// Where they are on the Hugging Face hub: `owner/name/`, then the file if it is not the usual one.
    pub hub: Option<String>,
    /// How images are prepared for them.
    pub preprocess: PreprocessOptions,
    /// Whether they were trained with QuickGELU.
    pub quick_gelu: bool,
}

/// A tag that a model does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{model}` has no pretrained weights `{tag}`{}", match nearest {
    Some(nearest) => format!("; the nearest is `{nearest}`"),
    None => String::new(),
})]
pub struct UnknownTag {
    /// Name of the architecture.
    pub model: String,
    /// The tag, as given.
    pub tag: String,
    /// The tag of this model most like it.
    pub nearest: Option<&'static str>,
}

/// The pretrained weights of an architecture; none for an unknown name.
pub fn pretrained(model: &str) -> impl Iterator<Item = &'static Pretrained> {
    let model = model.replace('/', "-");
    all().iter().filter(move |entry| entry.model == model)
}

/// The pretrained weights of an architecture by their tag. As in open_clip, upper case counts as lower and hyphens
/// as underscores.
///
/// # Errors
/// If the architecture has no such tag; with the nearest that it has.
pub fn tag(model: &str, tag: &str) -> Result<&'static Pretrained, UnknownTag> {
    let clean = |tag: &str| tag.to_lowercase().replace('-', "_");
    let wanted = clean(tag);
    pretrained(model).find(|entry| clean(&entry.tag) == wanted).ok_or_else(|| {
        let known: Vec<&'static str> = pretrained(model).map(|entry| entry.tag.as_str()).collect();
        UnknownTag {
            model: clipway_formats::shown(model),
            tag: clipway_formats::shown(tag),
            nearest: nearest(&wanted, &known),
        }
    })
}

/// What the pretrained tags of an architecture say about preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub enum TagPreprocessing {
    /// It has no tags.
    NoTags,
    /// All tags have the same.
    Shared {
        /// The tags.
        tags: Vec<String>,
        /// What they have.
        preprocess: Box<PreprocessOptions>,
    },
    /// They differ: each with its own.
    Differs(Vec<(String, PreprocessOptions)>),
}

/// What the pretrained tags of an architecture say about preprocessing; none for an unknown name. The size of images is
/// the architecture's.
pub fn tag_preprocessing(model: &str) -> TagPreprocessing {
    // What a tag leaves out is open_clip's default.
    let whole = |options: &PreprocessOptions| PreprocessConfig::new([1, 1]).merged(options);
    let tags: Vec<(String, PreprocessOptions)> =
        pretrained(model).map(|entry| (entry.tag.clone(), entry.preprocess.clone())).collect();
    match tags.first() {
        None => TagPreprocessing::NoTags,
        Some((_, first)) if tags.iter().all(|(_, options)| whole(options) == whole(first)) => {
            let preprocess = Box::new(PreprocessOptions { size: None, ..first.clone() });
            TagPreprocessing::Shared { tags: tags.into_iter().map(|(tag, _)| tag).collect(), preprocess }
        }
        Some(_) => TagPreprocessing::Differs(tags),
    }
}

fn all() -> &'static [Pretrained] {
    static ALL: OnceLock<Vec<Pretrained>> = OnceLock::new();
    // The data is the crate's own, and a test reads all of it.
    ALL.get_or_init(|| read_all().expect("the registry's tags are right"))
}

fn read_all() -> Result<Vec<Pretrained>, FormatError> {
    super::parse(PRETRAINED)?.root().items()?.map(|entry| read(&entry)).collect()
}

fn read(entry: &JsonCursor<'_>) -> Result<Pretrained, FormatError> {
    let text = |key: &str| match entry.get(key)?.filter(|value| !value.is_null()) {
        Some(value) => value.string().map(|text| Some(text.to_owned())),
        None => Ok(None),
    };
    Ok(Pretrained {
        model: entry.require("model")?.string()?.to_owned(),
        tag: entry.require("tag")?.string()?.to_owned(),
        url: text("url")?,
        hub: text("hf_hub")?,
        preprocess: PreprocessOptions::read_beside(entry, &["model", "tag", "url", "hf_hub", "quick_gelu"])?,
        quick_gelu: match entry.get("quick_gelu")? {
            Some(value) if !value.is_null() => value.boolean()?,
            _ => false,
        },
    })
}
