//! Pretrained weights: model, tag, location and preprocessing.

use std::sync::OnceLock;

use clipway_formats::{FormatError, JsonCursor};

use crate::config::{PreprocessConfig, PreprocessOptions};
use crate::nearest::nearest;

/// The tags, in open_clip's order.
static PRETRAINED: &str = include_str!("../../data/pretrained.json");

/// Pretrained weights that open_clip lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretrained {
    /// Name of the architecture.
    pub model: String,
    /// The tag.
    pub tag: String,
    /// URL of the weights.
    pub url: Option<String>,
    /// Their place on the Hugging Face hub: `owner/name/`, then the file if it has an unusual name.
    pub hub: Option<String>,
    /// Their preprocessing.
    pub preprocess: PreprocessOptions,
    /// Whether they were trained with QuickGELU.
    pub quick_gelu: bool,
}

impl Pretrained {
    /// The SHA-256 of the file at [`Pretrained::url`], or its first digits, where open_clip reads them from the URL:
    /// OpenAI's URLs have all 64 digits as a folder, and open_clip's own have 8 at the end of the file's name.
    pub fn url_hash(&self) -> Option<&str> {
        let url = self.url.as_deref()?;
        let name = self.url_file()?;
        if url.contains("openaipublic") {
            return url.rsplit('/').nth(1);
        }
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        url.contains("mlfoundations").then(|| stem.rsplit('-').next()).flatten()
    }

    /// Name of the file at [`Pretrained::url`].
    pub fn url_file(&self) -> Option<&str> {
        self.url.as_deref()?.rsplit('/').next()
    }

    /// Their repository on the Hub, `owner/name`.
    pub fn repository(&self) -> Option<&str> {
        let hub = self.hub.as_deref()?;
        let (at, _) = hub.match_indices('/').nth(1)?;
        Some(&hub[..at])
    }
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
    /// The model's most similar tag.
    pub nearest: Option<&'static str>,
}

/// An architecture's pretrained weights; none for an unknown name.
pub fn pretrained(model: &str) -> impl Iterator<Item = &'static Pretrained> {
    let model = model.replace('/', "-");
    all().iter().filter(move |entry| entry.model == model)
}

/// An architecture's pretrained weights with a tag. As in open_clip, upper case is treated as lower case and hyphens as
/// underscores.
///
/// # Errors
/// An unknown tag, with the architecture's nearest one.
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

/// What an architecture's pretrained tags state about preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub enum TagPreprocessing {
    /// There are no tags.
    NoTags,
    /// All tags agree.
    Shared {
        /// The tags.
        tags: Vec<String>,
        /// Their preprocessing.
        preprocess: Box<PreprocessOptions>,
    },
    /// The tags differ: each with its preprocessing.
    Differs(Vec<(String, PreprocessOptions)>),
}

/// What an architecture's pretrained tags state about preprocessing; none for an unknown name. The image size is the
/// architecture's.
pub fn tag_preprocessing(model: &str) -> TagPreprocessing {
    // What a tag does not state is open_clip's default.
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

pub(super) fn all() -> &'static [Pretrained] {
    static ALL: OnceLock<Vec<Pretrained>> = OnceLock::new();
    // The data belongs to the crate, and a test reads all of it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_read_from_its_url_as_open_clip_does() {
        let hash = |model: &str, name: &str| tag(model, name).unwrap().url_hash();
        let whole = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af";
        assert_eq!(hash("ViT-B-32", "openai"), Some(whole));
        assert_eq!(hash("ViT-B-32", "laion2b_e16"), Some("af8dbd0c"));
        assert_eq!(hash("ViT-B-32", "metaclip_400m"), None);
        assert_eq!(hash("ViT-B-32", "laion2b_s34b_b79k"), None);
        let digits = |hash: &str| hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lengths: Vec<usize> =
            all().iter().filter_map(Pretrained::url_hash).filter(|hash| digits(hash)).map(str::len).collect();
        assert_eq!(lengths.iter().filter(|length| **length == 64).count(), 18);
        assert_eq!(lengths.iter().filter(|length| **length == 8).count(), 17);
        assert_eq!(lengths.len(), 35);
    }
}
