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
    /// The encoding of OpenAI's tiktoken, which goes before the others. open_clip 3.3.0 has no such tokenizer.
    pub tiktoken: Option<TiktokenConfig>,
}

/// `tokenizer_type: tiktoken`: an encoding of OpenAI's tiktoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TiktokenConfig {
    /// `tiktoken_name`.
    pub encoding: Encoding,
    /// `tokenizer_kwargs.add_bos`: whether a text begins with a token.
    pub add_begin: bool,
    /// `tokenizer_kwargs.add_eos`: whether a text ends with a token.
    pub add_end: bool,
}

/// An encoding of tiktoken. Its tokens are runs of bytes, in the order in which they are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `gpt2`, and `r50k_base`, which is the same.
    R50k,
    /// `p50k_base`: the same with more runs of spaces.
    P50k,
    /// `cl100k_base`.
    Cl100k,
    /// `o200k_base`.
    O200k,
}

/// The names of encodings. Of several for one, the last is the usual one.
const ENCODINGS: [(&str, Encoding); 5] = [
    ("gpt2", Encoding::R50k),
    ("r50k_base", Encoding::R50k),
    ("p50k_base", Encoding::P50k),
    ("cl100k_base", Encoding::Cl100k),
    ("o200k_base", Encoding::O200k),
];

impl Encoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        ENCODINGS.iter().rev().find(|(_, encoding)| *encoding == self).map_or("", |(name, _)| name)
    }

    /// Number of tokens that texts are made of.
    pub fn tokens(self) -> u32 {
        match self {
            Encoding::R50k => 50_256,
            Encoding::P50k => 50_280,
            Encoding::Cl100k => 100_256,
            Encoding::O200k => 199_998,
        }
    }

    /// The ids that open_clip gives the end of a text, padding, and its beginning: those after all that the encoding has,
    /// its special tokens among them.
    pub fn end_padding_begin(self) -> [u32; 3] {
        let all = match self {
            Encoding::R50k => 50_257,
            Encoding::P50k => 50_281,
            Encoding::Cl100k => 100_277,
            Encoding::O200k => 200_019,
        };
        [all, all + 1, all + 2]
    }
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
    /// An encoding of tiktoken.
    Tiktoken {
        /// The encoding.
        config: TiktokenConfig,
        /// Context length: how many ids a text becomes.
        context_length: usize,
        /// How a text is cleaned.
        clean: Clean,
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

/// Arguments of open_clip's wrapper for tiktoken.
const TIKTOKEN_ARGUMENTS: [&str; 3] = ["clean", "add_bos", "add_eos"];

/// Keys that choose it. open_clip 3.3.0 has neither.
pub(super) const TIKTOKEN_KEYS: [&str; 2] = ["tokenizer_type", "tiktoken_name"];

/// open_clip's cleaning functions; 3.3.0 has not the last one.
const CLEANINGS: [Clean; 4] =
    [Clean::Lower, Clean::Whitespace, Clean::Canonicalize, Clean::WhitespaceUnderscore];

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
        let encoding = fields.word(TIKTOKEN_KEYS[1], Encoding::Cl100k, &ENCODINGS)?;
        if fields.word(TIKTOKEN_KEYS[0], false, &[("", false), ("tiktoken", true)])? {
            return config.with_tiktoken(encoding, fields);
        }
        let Some(arguments) = fields.value("tokenizer_kwargs")? else { return Ok(config) };
        match config.name {
            Some(_) => config.with_hugging_face_arguments(arguments),
            None => config.with_clip_arguments(arguments),
        }
    }

    fn with_tiktoken(self, encoding: Encoding, fields: &Fields<'_>) -> Result<TokenizerConfig, FormatError> {
        let mut tiktoken = TiktokenConfig { encoding, add_begin: true, add_end: true };
        let Some(at) = fields.value("tokenizer_kwargs")? else {
            return Ok(TokenizerConfig { tiktoken: Some(tiktoken), ..self });
        };
        let arguments = Fields::new(at.clone(), &TIKTOKEN_ARGUMENTS)?;
        tiktoken.add_begin = arguments.boolean("add_bos", true)?;
        tiktoken.add_end = arguments.boolean("add_eos", true)?;
        if !tiktoken.add_begin && !tiktoken.add_end {
            let cause = "with neither `add_bos` nor `add_eos`, an empty text has no token";
            return Err(at.error(Code::Unsupported, cause));
        }
        // This wrapper takes `null` for no cleaning.
        let cleaning = if arguments.value("clean")?.is_some() { cleaning(&arguments)? } else { None };
        Ok(TokenizerConfig { tiktoken: Some(tiktoken), cleaning, ..self })
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
        if let Some(config) = self.tiktoken {
            let clean = self.cleaning.unwrap_or(Clean::Nothing);
            return TokenizerSource::Tiktoken { config, context_length, clean };
        }
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
