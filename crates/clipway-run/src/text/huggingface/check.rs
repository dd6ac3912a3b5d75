//! Checks a `tokenizer.json` completely before the tokenizers library loads it.

use super::budget::Budget;
use super::contained::contained;
use super::growth::TextGrowth;
use super::json::{self, Node};
use super::template::Template;
use super::vocabulary::Vocabulary;
use super::{length, pipeline};
use crate::text::TokenizerError;

/// The file's name in errors.
pub const FILE: &str = "tokenizer.json";

/// Maximum size of the file, in bytes; the largest in use take about 40 MB.
const LARGEST: usize = 256 << 20;

/// Checks a `tokenizer.json` like [`crate::text::Tokenizer::from_json`], and that the library accepts it.
///
/// # Errors
/// [`TokenizerError::File`] with the key of the problem.
pub fn check_tokenizer_json(bytes: &[u8]) -> Result<(), TokenizerError> {
    let value = parse(bytes)?;
    let (vocabulary, ..) = check(&Node::root(&value, FILE))?;
    load(bytes, &vocabulary).map(|_| ())
}

/// Parses the file.
pub(super) fn parse(bytes: &[u8]) -> Result<serde_json::Value, TokenizerError> {
    if bytes.len() > LARGEST {
        let cause = format!("{} bytes; the limit is {LARGEST}", bytes.len());
        return Err(TokenizerError::file(FILE, "size", cause));
    }
    json::parse(bytes, FILE)
}

/// Checks everything that encoding uses.
pub(super) fn check<'a>(root: &Node<'a>) -> Result<(Vocabulary<'a>, Template, TextGrowth), TokenizerError> {
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

/// Loads the file with the library, without truncation and padding of its own.
pub(super) fn load(bytes: &[u8], vocabulary: &Vocabulary) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let fault = |cause: String| TokenizerError::file(FILE, "loading", cause);
    let mut library = contained(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(fault)?;
    library.with_truncation(None).map_err(|error| fault(error.to_string()))?;
    library.with_padding(None);
    for (token, id) in vocabulary.added() {
        if library.token_to_id(token) != Some(id) {
            return Err(TokenizerError::file(FILE, "added_tokens", format!("`{token}` cannot have id {id}")));
        }
    }
    // A text in several scripts shows whether encoding works at all.
    contained(|| library.encode_fast("a photo of a cat, 2 über 猫 🐈", false)).map_err(fault)?;
    Ok(library)
}
