//! Tokenisers described by a `tokenizer.json`, with open_clip's rules on top.
//!
//! The file is untrusted: it is checked wholly before the tokenizers library sees it, and a panic of that
//! library is turned into an error.

mod charsmap;
mod files;
mod json;
mod options;
mod pattern;
mod pipeline;
mod template;
mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{JsonRules, Side, TokenizerError, TokenizerMode};
use json::Node;
use template::Template;
use vocabulary::Vocabulary;

pub use files::check_tokenizer_file;
pub use options::{HuggingFaceOptions, TokenizerFiles, TokenizerSource};

/// The name by which errors call the file.
const FILE: &str = "tokenizer.json";

/// The largest file that is read, in bytes; the largest in use take some 40 MB.
const LARGEST: usize = 256 << 20;

/// A `tokenizer.json` and what is done with its ids.
#[derive(Debug)]
pub struct JsonTokenizer {
    library: tokenizers::Tokenizer,
    rules: JsonRules,
    template: Template,
}

impl JsonTokenizer {
    /// Checks a `tokenizer.json` and makes a tokeniser of it.
    pub fn new(bytes: &[u8], rules: JsonRules, context_length: usize) -> Result<Self, TokenizerError> {
        let value = parse(bytes)?;
        let (vocabulary, template) = check(&Node::root(&value, FILE))?;
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
        let library = load(bytes, &vocabulary)?;
        Ok(JsonTokenizer { library, rules, template })
    }

    /// Fills a row of ids, `[context_length]`, from a cleaned text, and tells whether it was truncated.
    pub fn encode_into(&self, text: &str, row: &mut [i64]) -> Result<bool, TokenizerError> {
        let encoding = contained(|| self.library.encode_fast(text, false))
            .map_err(|cause| TokenizerError::Encode { cause })?;
        let Template { prefix, suffix } = &self.template;
        let special = prefix.len() + suffix.len();
        let ids = encoding.get_ids();
        let room = match self.rules.mode {
            // One place is for the class token at the end.
            TokenizerMode::Clips { .. } => row.len().saturating_sub(special + 1),
            _ => row.len().saturating_sub(special),
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
        Ok(truncated)
    }
}

/// Checks a `tokenizer.json` as [`super::Tokenizer::from_json`] does, and that the library takes it.
///
/// # Errors
/// [`TokenizerError::File`] names the key at which something is wrong.
pub fn check_tokenizer_json(bytes: &[u8]) -> Result<(), TokenizerError> {
    let value = parse(bytes)?;
    let (vocabulary, _) = check(&Node::root(&value, FILE))?;
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
fn check<'a>(root: &Node<'a>) -> Result<(Vocabulary<'a>, Template), TokenizerError> {
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
    root.get("normalizer")?.map(|node| pipeline::check_normalizer(&node)).transpose()?;
    root.get("pre_tokenizer")?.map(|node| pipeline::check_pre_tokenizer(&node)).transpose()?;
    let template = root.get("post_processor")?.map(|node| Template::read(&node, &vocabulary)).transpose()?;
    Ok((vocabulary, template.unwrap_or_default()))
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
