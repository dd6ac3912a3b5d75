//! What a tokenizer's files state about its special tokens and sides.

use serde_json::{Map, Value};

use super::added;
use super::check::{FILE, check};
use super::files::{CONFIG, TokenizerFiles, settings};
use super::json::Node;
use super::vocabulary::Vocabulary;
use crate::text::{Side, TokenizerError, TokenizerMode};

/// The default source language of NLLB's tokenizer.
const DEFAULT_LANGUAGE: &str = "eng_Latn";

/// The files of a tokenizer, parsed and checked.
pub struct Lookup<'a> {
    root: Node<'a>,
    pub vocabulary: Vocabulary<'a>,
    /// The configuration, completed by `special_tokens_map.json`.
    pub config: Map<String, Value>,
    class: String,
}

impl<'a> Lookup<'a> {
    /// Checks a parsed `tokenizer.json` and parses the files beside it.
    pub fn new(tokenizer: &'a Value, files: &TokenizerFiles, class: &str) -> Result<Self, TokenizerError> {
        let config = settings(files)?;
        let root = Node::root(tokenizer, FILE);
        let (vocabulary, ..) = check(&root)?;
        Ok(Lookup { root, vocabulary, config, class: class.to_owned() })
    }

    /// Finds the id of a special token.
    pub fn id(&self, name: &str) -> Result<u32, TokenizerError> {
        let token = self
            .token(name)
            .ok_or_else(|| TokenizerError::rule(name, "the tokenizer's files do not name this token"))?;
        self.vocabulary
            .id(&token)
            .ok_or_else(|| TokenizerError::rule(name, format!("`{token}` is not in the vocabulary")))
    }

    /// Finds the spelling of a special token: from the configuration, the file's own padding, or the tokenizer's class.
    fn token(&self, name: &str) -> Option<String> {
        let named = self.config.get(name).and_then(added::spelling);
        let padding = || {
            let padding = self.root.get("padding").ok().flatten().filter(|_| name == "pad_token")?;
            Some(padding.get("pad_token").ok().flatten()?.string().ok()?.to_owned())
        };
        let by_class = || class_token(&self.class, name).map(str::to_owned);
        named.or_else(padding).or_else(by_class)
    }

    pub fn is_nllb(&self) -> bool {
        self.class == "NllbTokenizer"
    }

    /// The source language in use, for tokenizers that have one.
    pub fn language(&self) -> Option<String> {
        if !self.is_nllb() {
            return None;
        }
        let configured = self.config.get("src_lang").and_then(Value::as_str);
        Some(configured.unwrap_or(DEFAULT_LANGUAGE).to_owned())
    }

    /// Finds the special ids around a text: those of the post-processor, or of a source language.
    pub fn mode(&self) -> Result<TokenizerMode, TokenizerError> {
        let Some(language) = self.language() else { return Ok(TokenizerMode::PostProcessor) };
        let (language, end) = (self.language_id(&language)?, self.id("eos_token")?);
        Ok(match self.flag("legacy_behaviour")?.unwrap_or(false) {
            true => TokenizerMode::Template { prefix: vec![], suffix: vec![end, language] },
            false => TokenizerMode::Template { prefix: vec![language], suffix: vec![end] },
        })
    }

    /// Finds the id of a language.
    pub fn language_id(&self, language: &str) -> Result<u32, TokenizerError> {
        let missing = || TokenizerError::rule("language", format!("`{language}` is not in the vocabulary"));
        self.vocabulary.id(language).ok_or_else(missing)
    }

    /// Reads a boolean of the configuration.
    fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => {
                Err(TokenizerError::file(CONFIG, key, format!("expected true or false, found {other}")))
            }
        }
    }

    /// Reads a side from the configuration; by default that of the `tokenizer.json`, otherwise the right one.
    ///
    /// transformers defaults to the left side for Gemma's class. No CLIP model was trained with that, and its vector
    /// would come from another token.
    pub fn side(&self, part: &str, key: &str) -> Result<Side, TokenizerError> {
        if let Some(side) = self.config.get(key).filter(|side| !side.is_null()) {
            return match side.as_str() {
                Some("right") => Ok(Side::Right),
                Some("left") => Ok(Side::Left),
                _ => Err(TokenizerError::file(CONFIG, key, format!("expected a side, found {side}"))),
            };
        }
        let Some(direction) = self.root.get(part)? else { return Ok(Side::Right) };
        match direction.get("direction")?.map(|direction| direction.string()).transpose()? {
            None | Some("Right") => Ok(Side::Right),
            Some("Left") => Ok(Side::Left),
            Some(other) => Err(direction.error(format!("unknown direction `{other}`"))),
        }
    }
}

/// The special token that a class of tokenizers has by default.
fn class_token(class: &str, name: &str) -> Option<&'static str> {
    let tokens = match class {
        // These two have tokens by default, but add none to a vocabulary.
        "NllbTokenizer" => added::of_class("XLMRobertaTokenizer"),
        "SiglipTokenizer" => &[("pad_token", "</s>"), ("eos_token", "</s>")],
        _ => added::of_class(class),
    };
    tokens.iter().find(|(key, _)| *key == name).map(|(_, token)| *token)
}
