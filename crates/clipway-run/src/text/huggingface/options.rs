//! From open_clip's configuration and the files of a tokeniser to the rules that are stored.

use serde_json::{Map, Value};

use super::FILE;
use super::json::{self, Node};
use super::vocabulary::Vocabulary;
use crate::text::rules::check as check_rules;
use crate::text::{Clean, JsonRules, Side, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules};

/// The names by which errors call the other files.
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";

/// open_clip's context length where a config gives none.
const DEFAULT_CONTEXT_LENGTH: usize = 77;

/// The source language of NLLB's tokeniser where none is given.
const DEFAULT_LANGUAGE: &str = "eng_Latn";

/// Where a model's tokeniser comes from, as `text_cfg` of an open_clip config says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// CLIP's own, by these rules.
    Clip(TokenizerRules),
    /// A Hugging Face tokeniser.
    HuggingFace {
        /// The value of `hf_tokenizer_name`.
        name: String,
        /// The options that go with it.
        options: HuggingFaceOptions,
    },
}

/// open_clip's options for a Hugging Face tokeniser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuggingFaceOptions {
    /// How many ids a text becomes.
    pub context_length: usize,
    /// How a text is cleaned.
    pub clean: Clean,
    /// Whether separators are replaced by 0.
    pub strip_sep_token: bool,
    /// The source language, for tokenisers that know several. It must be one of theirs, but changes no id: under
    /// open_clip the tokeniser returns to the language of its own configuration before every text.
    pub language: Option<String>,
    /// Whether `tokenizer_mode` is `clips`.
    pub clips: bool,
}

/// The files of a Hugging Face tokeniser, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`, which older folders have besides.
    pub special_tokens_map: Option<&'a [u8]>,
}

impl Default for HuggingFaceOptions {
    fn default() -> Self {
        HuggingFaceOptions {
            context_length: DEFAULT_CONTEXT_LENGTH,
            clean: Clean::Whitespace,
            strip_sep_token: false,
            language: None,
            clips: false,
        }
    }
}

impl TokenizerSource {
    /// Reads what `text_cfg` of an open_clip config says of the tokeniser; its other keys are left alone.
    ///
    /// # Errors
    /// [`TokenizerError::Rule`] for a value of the wrong kind and for an unknown key of `tokenizer_kwargs`.
    pub fn from_text_config(config: &Map<String, Value>) -> Result<Self, TokenizerError> {
        let mut options = HuggingFaceOptions::default();
        if let Some(length) = config.get("context_length") {
            options.context_length = length
                .as_u64()
                .and_then(|length| usize::try_from(length).ok())
                .ok_or_else(|| unexpected("context_length", "a whole number", length))?;
        }
        match config.get("tokenizer_mode") {
            None | Some(Value::Null) => {}
            Some(Value::String(mode)) if mode.is_empty() => {}
            Some(Value::String(mode)) if mode == "clips" => options.clips = true,
            Some(other) => return Err(unexpected("tokenizer_mode", "`clips`", other)),
        }
        let name = match config.get("hf_tokenizer_name") {
            None | Some(Value::Null) => "",
            Some(Value::String(name)) => name,
            Some(other) => return Err(unexpected("hf_tokenizer_name", "a string", other)),
        };
        if name.is_empty() {
            options.clean = Clean::Lower;
        }
        match config.get("tokenizer_kwargs") {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (key, value) in entries {
                    options.set(key, value, name.is_empty())?;
                }
            }
            Some(other) => return Err(unexpected("tokenizer_kwargs", "an object", other)),
        }
        if !name.is_empty() {
            return Ok(TokenizerSource::HuggingFace { name: name.to_owned(), options });
        }
        let rules = TokenizerRules::clip(options.context_length, options.clean);
        check_rules(&rules)?;
        Ok(TokenizerSource::Clip(rules))
    }
}

impl HuggingFaceOptions {
    /// Sets one entry of `tokenizer_kwargs`, for CLIP's own tokeniser or for another.
    fn set(&mut self, key: &str, value: &Value, clip: bool) -> Result<(), TokenizerError> {
        let rule = format!("tokenizer_kwargs.{key}");
        match (key, value) {
            ("clean", Value::String(name)) => {
                self.clean = Clean::from_name(name)
                    .ok_or_else(|| unexpected(&rule, "`lower`, `whitespace` or `canonicalize`", value))?;
            }
            ("strip_sep_token", Value::Bool(strip)) if !clip => self.strip_sep_token = *strip,
            ("language", Value::String(language)) if !clip => self.language = Some(language.clone()),
            ("language", Value::Null) if !clip => self.language = None,
            // These leave everything as it is.
            ("reduction_mask", Value::String(mask)) if clip && mask.is_empty() => {}
            ("additional_special_tokens", Value::Null) if clip => {}
            ("reduction_mask", _) if clip => {
                return Err(TokenizerError::rule(rule, "masking drops random tokens and is not supported"));
            }
            _ => return Err(TokenizerError::rule(rule, format!("the value {value} is not supported"))),
        }
        Ok(())
    }

    /// Finds the rules for a tokeniser: its padding, its sides and its special ids.
    ///
    /// # Errors
    /// [`TokenizerError::File`] if a file is unsound or names code, [`TokenizerError::Rule`] if an option needs
    /// a token that the tokeniser does not have.
    pub fn rules(&self, files: &TokenizerFiles) -> Result<TokenizerRules, TokenizerError> {
        let tokenizer = super::parse(files.tokenizer)?;
        let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
        let map =
            files.special_tokens_map.map(|bytes| parse_config(bytes, SPECIAL_TOKENS_MAP)).transpose()?;
        let root = Node::root(&tokenizer, FILE);
        let (vocabulary, _) = super::check(&root)?;
        let lookup = Lookup { root, vocabulary, config, map: map.unwrap_or_default() };
        let mode = self.mode(&lookup)?;
        let rules = JsonRules {
            pad_id: lookup.id("pad_token")?,
            padding_side: if self.clips { Side::Right } else { lookup.side("padding", "padding_side")? },
            truncation_side: if self.clips {
                Side::Right
            } else {
                lookup.side("truncation", "truncation_side")?
            },
            stripped_id: match self.strip_sep_token && !self.clips {
                true => Some(lookup.id("sep_token")?),
                false => None,
            },
            mode,
            language: lookup.language(self),
        };
        let rules = TokenizerRules {
            context_length: self.context_length,
            clean: self.clean,
            kind: TokenizerKind::TokenizerJson(rules),
        };
        check_rules(&rules)?;
        Ok(rules)
    }

    /// Finds which special ids stand round a text.
    fn mode(&self, lookup: &Lookup) -> Result<TokenizerMode, TokenizerError> {
        if self.language.is_some() && !lookup.is_nllb() {
            return Err(TokenizerError::rule("language", "this tokeniser has no source language"));
        }
        if self.clips {
            return Ok(TokenizerMode::Clips {
                begin_id: lookup.id("bos_token")?,
                end_id: lookup.id("eos_token")?,
                class_id: lookup.id("cls_token")?,
            });
        }
        let Some(language) = lookup.language(self) else { return Ok(TokenizerMode::PostProcessor) };
        if let Some(asked) = &self.language {
            lookup.language_id(asked)?;
        }
        let (language, end) = (lookup.language_id(&language)?, lookup.id("eos_token")?);
        Ok(match lookup.flag("legacy_behaviour")?.unwrap_or(false) {
            true => TokenizerMode::Template { prefix: vec![], suffix: vec![end, language] },
            false => TokenizerMode::Template { prefix: vec![language], suffix: vec![end] },
        })
    }
}

/// The files of a tokeniser, parsed and checked.
struct Lookup<'a> {
    root: Node<'a>,
    vocabulary: Vocabulary<'a>,
    config: Map<String, Value>,
    map: Map<String, Value>,
}

impl Lookup<'_> {
    /// Finds the id of a special token.
    fn id(&self, name: &str) -> Result<u32, TokenizerError> {
        let token = self
            .token(name)
            .ok_or_else(|| TokenizerError::rule(name, "the tokeniser's files do not name this token"))?;
        self.vocabulary
            .id(&token)
            .ok_or_else(|| TokenizerError::rule(name, format!("`{token}` is not in the vocabulary")))
    }

    /// Finds what a special token is called: by the configuration, by the file's own padding, or by the
    /// tokeniser's class.
    fn token(&self, name: &str) -> Option<String> {
        let named = |map: &Map<String, Value>| match map.get(name)? {
            Value::String(token) => Some(token.clone()),
            Value::Object(token) => Some(token.get("content")?.as_str()?.to_owned()),
            _ => None,
        };
        let padding = || {
            let padding = self.root.get("padding").ok().flatten().filter(|_| name == "pad_token")?;
            Some(padding.get("pad_token").ok().flatten()?.string().ok()?.to_owned())
        };
        let by_class = || class_token(self.class(), name).map(str::to_owned);
        named(&self.config).or_else(|| named(&self.map)).or_else(padding).or_else(by_class)
    }

    /// The tokeniser's class, without the ending of the fast ones.
    fn class(&self) -> &str {
        let class = self.config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        class.strip_suffix("Fast").unwrap_or(class)
    }

    fn is_nllb(&self) -> bool {
        self.class() == "NllbTokenizer"
    }

    /// The source language that is in force, for tokenisers that have one.
    fn language(&self, options: &HuggingFaceOptions) -> Option<String> {
        if !self.is_nllb() || options.clips {
            return None;
        }
        let configured = self.config.get("src_lang").and_then(Value::as_str);
        Some(configured.unwrap_or(DEFAULT_LANGUAGE).to_owned())
    }

    /// Finds the id of a language.
    fn language_id(&self, language: &str) -> Result<u32, TokenizerError> {
        let missing = || TokenizerError::rule("language", format!("`{language}` is not in the vocabulary"));
        self.vocabulary.id(language).ok_or_else(missing)
    }

    /// Reads a truth value of the configuration.
    fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => {
                Err(TokenizerError::file(CONFIG, key, format!("expected true or false, found {other}")))
            }
        }
    }

    /// Reads a side of the configuration; where it says nothing, that of the `tokenizer.json`.
    fn side(&self, part: &str, key: &str) -> Result<Side, TokenizerError> {
        if let Some(side) = self.config.get(key).filter(|side| !side.is_null()) {
            return match side.as_str() {
                Some("right") => Ok(Side::Right),
                Some("left") => Ok(Side::Left),
                _ => Err(TokenizerError::file(CONFIG, key, format!("expected a side, found {side}"))),
            };
        }
        let Some(part) = self.root.get(part)? else { return Ok(Side::Right) };
        match part.get("direction")?.map(|direction| direction.string()).transpose()? {
            None | Some("Right") => Ok(Side::Right),
            Some("Left") => Ok(Side::Left),
            Some(other) => Err(part.error(format!("the direction `{other}` is unknown"))),
        }
    }
}

/// The special tokens that a class of tokenisers has by default.
fn class_token(class: &str, name: &str) -> Option<&'static str> {
    let tokens: [&str; 5] = match class {
        "BertTokenizer" => ["[PAD]", "[SEP]", "[CLS]", "", ""],
        "XLMRobertaTokenizer" | "RobertaTokenizer" | "NllbTokenizer" => {
            ["<pad>", "</s>", "<s>", "<s>", "</s>"]
        }
        "T5Tokenizer" => ["<pad>", "", "", "", "</s>"],
        "GemmaTokenizer" => ["<pad>", "", "", "<bos>", "<eos>"],
        "CLIPTokenizer" => ["<|endoftext|>", "", "", "<|startoftext|>", "<|endoftext|>"],
        _ => return None,
    };
    let place = ["pad_token", "sep_token", "cls_token", "bos_token", "eos_token"]
        .iter()
        .position(|&key| key == name)?;
    Some(tokens[place]).filter(|token| !token.is_empty())
}

/// Parses a configuration, which must name no code.
pub fn parse_config(bytes: &[u8], file: &'static str) -> Result<Map<String, Value>, TokenizerError> {
    match json::parse(bytes, file)? {
        Value::Object(config) if config.contains_key("auto_map") => Err(TokenizerError::file(
            file,
            "auto_map",
            "the tokeniser needs code of its own, which is never run",
        )),
        Value::Object(config) => Ok(config),
        _ => Err(TokenizerError::file(file, "top level", "expected an object")),
    }
}

/// Makes the error of a configured value that does not fit.
fn unexpected(rule: &str, expected: &str, found: &Value) -> TokenizerError {
    TokenizerError::rule(rule, format!("expected {expected}, found {found}"))
}
