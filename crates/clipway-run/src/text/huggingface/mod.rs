//! Tokenizers described by a `tokenizer.json`, with open_clip's rules on top.
//!
//! The file is untrusted: it is checked wholly before the tokenizers library sees it, and a panic of that
//! library is turned into an error.

mod charsmap;
mod added;
mod budget;
mod class;
mod files;
mod growth;
mod json;
mod length;
mod lookup;
mod open_clip;
mod transformers;
mod pattern;
mod pipeline;
mod sentence_piece;
mod slow;
mod template;
mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clipway_model::config::HuggingFaceOptions;

use super::tokenizer::Filled;
use super::{JsonRules, Side, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules};
use budget::Budget;
use charsmap::Charsmap;
use growth::TextGrowth;
use json::Node;
use template::Template;
use vocabulary::Vocabulary;

pub use class::Backend;
pub use files::{CONFIG, TokenizerFiles, check_tokenizer_file};

/// The library whose reading of a folder's texts is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader<'a> {
    /// open_clip's `HFTokenizer`, with the options of its config.
    OpenClip(&'a HuggingFaceOptions),
    /// transformers' `AutoTokenizer`, for rows of this many ids.
    Transformers {
        /// Tokens of a text.
        context_length: usize,
    },
}

/// Reads the tokenizer of a folder as a library does: the `tokenizer.json` that its class makes, and the rules for its
/// ids. `None` where the folder has no vocabulary.
///
/// # Errors
/// [`TokenizerError::File`] if a file is unsound or names code, [`TokenizerError::Rule`] if an option needs a token
/// that the tokenizer does not have.
pub fn read<'a>(
    files: &TokenizerFiles<'a>,
    reader: Reader<'_>,
) -> Result<Option<(Backend<'a>, TokenizerRules)>, TokenizerError> {
    let class = class::of(files)?;
    let Some(backend) = class::backend(files, &class)? else { return Ok(None) };
    let rules = match reader {
        Reader::OpenClip(options) => open_clip::rules(options, &backend.value, files, &class),
        Reader::Transformers { context_length } => {
            transformers::rules(context_length, &backend.value, files, &class)
        }
    };
    Ok(Some((backend, rules?)))
}

/// The `tokenizer_config.json` of a folder with what the rules follow stated in it: the class and the sides, so that no
/// library takes its own defaults. A file that states both stays as it is.
///
/// # Errors
/// As [`read`].
pub fn stated_config(files: &TokenizerFiles, rules: &TokenizerRules) -> Result<Vec<u8>, TokenizerError> {
    let mut config =
        files.config.map(|bytes| files::parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let before = config.clone();
    let name = |side: Side| if side == Side::Left { "left" } else { "right" };
    let class = class::of(files)?;
    let class = if class.is_empty() { "PreTrainedTokenizerFast".to_owned() } else { class };
    config.retain(|_, value| !value.is_null());
    config.entry("tokenizer_class").or_insert(class.into());
    if let TokenizerKind::TokenizerJson(json) = &rules.kind {
        config.entry("padding_side").or_insert(name(json.padding_side).into());
        config.entry("truncation_side").or_insert(name(json.truncation_side).into());
    }
    match files.config {
        Some(bytes) if config == before => Ok(bytes.to_vec()),
        _ => Ok(format!("{:#}\n", serde_json::Value::Object(config)).into_bytes()),
    }
}

/// The name by which errors call the file.
pub const FILE: &str = "tokenizer.json";

/// The largest file that is read, in bytes; the largest in use take some 40 MB.
const LARGEST: usize = 256 << 20;

/// A `tokenizer.json` and what is done with its ids.
#[derive(Debug)]
pub struct JsonTokenizer {
    library: tokenizers::Tokenizer,
    rules: JsonRules,
    template: Template,
    highest: Highest,
    charsmap: Option<Charsmap>,
    growth: TextGrowth,
}

/// The highest ids of a vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct Highest {
    /// Of the model's own tokens.
    pub own: u32,
    /// Of all, added ones too.
    pub all: u32,
}

impl JsonTokenizer {
    /// Checks a `tokenizer.json` and makes a tokenizer of it.
    ///
    /// `maps_first`: whether a character map of the normalizer is applied as SentencePiece does.
    pub fn new(
        bytes: &[u8],
        rules: JsonRules,
        context_length: usize,
        maps_first: bool,
    ) -> Result<Self, TokenizerError> {
        let mut value = parse(bytes)?;
        let (vocabulary, template, growth) = check(&Node::root(&value, FILE))?;
        let highest = vocabulary.highest();
        let template = match &rules.mode {
            TokenizerMode::PostProcessor => template,
            TokenizerMode::Template { prefix, suffix } => {
                Template { prefix: prefix.clone(), suffix: suffix.clone() }
            }
            TokenizerMode::Clips { begin_id, end_id, .. } => {
                Template { prefix: vec![*begin_id], suffix: vec![*end_id] }
            }
        };
        let least = template.prefix.len() + template.suffix.len();
        if context_length < least {
            return Err(TokenizerError::ContextLength { found: context_length, least, most: usize::MAX });
        }
        let mut library = load(bytes, &vocabulary)?;
        let charsmap = if maps_first { take_charsmap(&mut value)? } else { None };
        if charsmap.is_some() {
            library = load(value.to_string().as_bytes(), &Vocabulary::check(&Node::root(&value, FILE))?)?;
        }
        Ok(JsonTokenizer { library, rules, template, highest, charsmap, growth })
    }

    /// The highest ids of the vocabulary.
    pub fn highest(&self) -> Highest {
        self.highest
    }

    /// The special ids after a text.
    pub fn suffix(&self) -> &[u32] {
        &self.template.suffix
    }

    /// Fills a row of ids, `[context_length]`, from a cleaned text, and says whether it was truncated.
    pub fn encode_into(&self, text: &str, row: &mut [i64]) -> Result<Filled, TokenizerError> {
        self.growth.check(text, self.charsmap.as_ref(), &self.library)?;
        let mapped = self.charsmap.as_ref().map(|charsmap| charsmap.normalize(text));
        let text = mapped.as_deref().unwrap_or(text);
        let encoding = contained(|| self.library.encode_fast(text, false))
            .map_err(|cause| TokenizerError::Encode { cause })?;
        let Template { prefix, suffix } = &self.template;
        let special = prefix.len() + suffix.len();
        let ids = encoding.get_ids();
        let room = match self.rules.mode {
            // One place is for the class token at the end.
            TokenizerMode::Clips { .. } => row.len().saturating_sub(special + 1),
            _ => row.len().min(self.rules.longest.unwrap_or(usize::MAX)).saturating_sub(special),
        };
        let truncated = ids.len() > room;
        let kept = match self.rules.truncation_side {
            _ if !truncated => ids,
            Side::Right => &ids[..room],
            Side::Left => &ids[ids.len() - room..],
        };
        let length = kept.len() + special;
        row.fill(self.rules.pad_id.into());
        let start = match self.rules.padding_side {
            Side::Right => 0,
            Side::Left => row.len().saturating_sub(length),
        };
        for (place, &id) in row[start..].iter_mut().zip(prefix.iter().chain(kept).chain(suffix)) {
            *place = id.into();
        }
        if let (TokenizerMode::Clips { class_id, .. }, Some(last)) = (&self.rules.mode, row.last_mut()) {
            *last = (*class_id).into();
        }
        if let Some(stripped) = self.rules.stripped_id {
            row.iter_mut().filter(|id| **id == i64::from(stripped)).for_each(|id| *id = 0);
        }
        let length = match self.rules.mode {
            TokenizerMode::Clips { .. } => row.len(),
            _ => length.min(row.len()),
        };
        Ok(Filled { truncated, tokens: start..start + length })
    }
}

/// Takes the character map out of a normalizer that begins with one.
fn take_charsmap(file: &mut serde_json::Value) -> Result<Option<Charsmap>, TokenizerError> {
    let steps = file.pointer_mut("/normalizer/normalizers").and_then(serde_json::Value::as_array_mut);
    let Some(steps) = steps.filter(|steps| steps.first().is_some_and(|first| first["type"] == "Precompiled"))
    else {
        return Ok(None);
    };
    let first = steps.remove(0);
    Charsmap::read(&Node::root(&first, FILE).need("precompiled_charsmap")?).map(Some)
}

/// Checks a `tokenizer.json` as [`super::Tokenizer::from_json`] does, and that the library takes it.
///
/// # Errors
/// [`TokenizerError::File`] names the key at which something is wrong.
pub fn check_tokenizer_json(bytes: &[u8]) -> Result<(), TokenizerError> {
    let value = parse(bytes)?;
    let (vocabulary, ..) = check(&Node::root(&value, FILE))?;
    load(bytes, &vocabulary).map(|_| ())
}

/// Parses the file.
fn parse(bytes: &[u8]) -> Result<serde_json::Value, TokenizerError> {
    if bytes.len() > LARGEST {
        let cause = format!("{} bytes are more than {LARGEST}", bytes.len());
        return Err(TokenizerError::file(FILE, "size", cause));
    }
    json::parse(bytes, FILE)
}

/// Checks everything that encoding uses.
fn check<'a>(root: &Node<'a>) -> Result<(Vocabulary<'a>, Template, TextGrowth), TokenizerError> {
    root.only(&[
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    ])?;
    let vocabulary = Vocabulary::check(root)?;
    length::check(root)?;
    let mut budget = Budget::default();
    let normalizer =
        root.get("normalizer")?.map(|node| pipeline::check_normalizer(&node, &mut budget)).transpose()?;
    let pre_tokenizer = root
        .get("pre_tokenizer")?
        .map(|node| pipeline::check_pre_tokenizer(&node, &mut budget))
        .transpose()?;
    root.get("decoder")?.map(|node| pipeline::check_decoder(&node, &mut budget)).transpose()?;
    let template = root.get("post_processor")?.map(|node| Template::read(&node, &vocabulary)).transpose()?;
    let growth = TextGrowth {
        normalizer: normalizer.unwrap_or_default(),
        pre_tokenizer: pre_tokenizer.unwrap_or_default(),
    };
    Ok((vocabulary, template.unwrap_or_default(), growth))
}

/// Has the library load the file, without truncation and padding of its own.
fn load(bytes: &[u8], vocabulary: &Vocabulary) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let fault = |cause: String| TokenizerError::file(FILE, "loading", cause);
    let mut library = contained(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(fault)?;
    library.with_truncation(None).map_err(|error| fault(error.to_string()))?;
    library.with_padding(None);
    for (token, id) in vocabulary.added() {
        if library.token_to_id(token) != Some(id) {
            return Err(TokenizerError::file(FILE, "added_tokens", format!("`{token}` cannot have id {id}")));
        }
    }
    // A text of several scripts shows whether encoding works at all.
    contained(|| library.encode_fast("a photo of a cat, 2 über 猫 🐈", false)).map_err(fault)?;
    Ok(library)
}

/// Calls the library; a panic becomes an error.
fn contained<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("the tokenizers library panicked: {}", said.unwrap_or_default()))
        }
    }
}
