//! Tokenizer keys of `text_cfg`. This is their only reader.

use clipway_formats::{Code, FormatError, JsonCursor};

use super::fields::{Fields, word};
use crate::contract::{Clean, TokenizerRules};

/// The config's tokenizer settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// `hf_tokenizer_name`; `None` for CLIP's own.
    pub name: Option<String>,
    /// Whether `tokenizer_mode` is `clips`.
    pub clips: bool,
    /// `tokenizer_kwargs.clean`, if given.
    pub cleaning: Option<Clean>,
    /// `tokenizer_kwargs.strip_sep_token`: whether the separator token is replaced with 0.
    pub strip_separator: bool,
    /// `tokenizer_kwargs.language`: the source language, for NLLB's tokenizer.
    pub language: Option<String>,
}

/// Where a model's tokenizer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// CLIP's own, with these rules.
    Clip(TokenizerRules),
    /// A Hugging Face tokenizer.
    HuggingFace {
        /// The value of `hf_tokenizer_name`.
        name: String,
        /// Its options.
        options: HuggingFaceOptions,
    },
}

/// open_clip's options for a Hugging Face tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuggingFaceOptions {
    /// Context length: how many ids a text becomes.
    pub context_length: usize,
    /// How a text is cleaned.
    pub clean: Clean,
    /// Whether separators are replaced with 0.
    pub strip_sep_token: bool,
    /// The source language, for tokenizers with several. It must be one of theirs, but changes no id: under open_clip,
    /// the tokenizer returns to its configured language before every text.
    pub language: Option<String>,
    /// Whether `tokenizer_mode` is `clips`.
    pub clips: bool,
}

impl Default for HuggingFaceOptions {
    fn default() -> Self {
        HuggingFaceOptions {
            context_length: 77,
            clean: Clean::Whitespace,
            strip_sep_token: false,
            language: None,
            clips: false,
        }
    }
}

/// Arguments of open_clip's wrapper for Hugging Face tokenizers.
const HUGGING_FACE_KEYS: [&str; 3] = ["clean", "strip_sep_token", "language"];

/// Arguments of open_clip's own tokenizer.
const CLIP_KEYS: [&str; 3] = ["clean", "reduction_mask", "additional_special_tokens"];

/// open_clip's cleaning functions.
const CLEANINGS: [Clean; 3] = [Clean::Lower, Clean::Whitespace, Clean::Canonicalize];

impl TokenizerConfig {
    /// Reads the keys of `text_cfg`. Refuses what open_clip refuses, and whatever makes token ids random.
    pub(super) fn read(fields: &Fields<'_>) -> Result<TokenizerConfig, FormatError> {
        let name = match fields.value("hf_tokenizer_name")? {
            Some(value) if value.string() == Ok("") => None,
            _ => fields.model_name("hf_tokenizer_name")?,
        };
        let clips = match fields.value("tokenizer_mode")? {
            Some(mode) if mode.string() != Ok("") => word(&mode, &[("clips", true)])?,
            _ => false,
        };
        let config = TokenizerConfig { name, clips, ..TokenizerConfig::default() };
        let Some(arguments) = fields.value("tokenizer_kwargs")? else { return Ok(config) };
        match config.name {
            Some(_) => config.with_hugging_face_arguments(arguments),
            None => config.with_clip_arguments(arguments),
        }
    }

    fn with_hugging_face_arguments(self, arguments: JsonCursor<'_>) -> Result<TokenizerConfig, FormatError> {
        let fields = Fields::new(arguments, &HUGGING_FACE_KEYS)?;
        Ok(TokenizerConfig {
            cleaning: cleaning(&fields)?,
            strip_separator: fields.boolean("strip_sep_token", false)?,
            language: fields.optional_string("language")?,
            ..self
        })
    }

    fn with_clip_arguments(self, arguments: JsonCursor<'_>) -> Result<TokenizerConfig, FormatError> {
        let fields = Fields::new(arguments, &CLIP_KEYS)?;
        if let Some(mask) = fields.value("reduction_mask")?.filter(|mask| mask.string() != Ok("")) {
            return Err(mask.error(
                Code::Unsupported,
                "a reduction mask drops random tokens, so a text has no fixed ids",
            ));
        }
        if let Some(tokens) = fields.value("additional_special_tokens")?
            && tokens.items()?.next().is_some()
        {
            let cause = "tokens added to CLIP's own vocabulary are not supported";
            return Err(tokens.error(Code::Unsupported, cause));
        }
        Ok(TokenizerConfig { cleaning: cleaning(&fields)?, ..self })
    }

    /// Where the tokenizer comes from, and its rules for texts of `context_length` tokens.
    pub(super) fn source(&self, context_length: usize) -> TokenizerSource {
        let Some(name) = &self.name else {
            let clean = self.cleaning.unwrap_or(Clean::Lower);
            return TokenizerSource::Clip(TokenizerRules::clip(context_length, clean));
        };
        let options = HuggingFaceOptions {
            context_length,
            clean: self.cleaning.unwrap_or(Clean::Whitespace),
            strip_sep_token: self.strip_separator,
            language: self.language.clone(),
            clips: self.clips,
        };
        TokenizerSource::HuggingFace { name: name.clone(), options }
    }
}

/// The cleaning function named by the arguments; open_clip refuses `null`.
fn cleaning(fields: &Fields<'_>) -> Result<Option<Clean>, FormatError> {
    fields
        .given("clean")?
        .map(|value| word(&value, &CLEANINGS.map(|clean| (clean.name(), clean))))
        .transpose()
}
