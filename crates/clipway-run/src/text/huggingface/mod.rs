//! Tokenizers described by a `tokenizer.json`, with open_clip's rules on top.
//!
//! The file is untrusted: it is checked completely before the tokenizers library sees it, and a panic in that library
//! becomes an error.

mod charsmap;
mod added;
mod budget;
mod builds;
mod check;
mod class;
mod contained;
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
mod split;
mod template;
pub mod tiktoken;
mod vocabulary;

use clipway_model::config::HuggingFaceOptions;

use super::filled::Filled;
use super::{Clean, JsonRules, Side, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules, clean};
use charsmap::Charsmap;
use check::{check, load, parse};
use contained::contained;
use growth::TextGrowth;
use json::Node;
use split::{Part, SplitTokens};
use template::Template;
use vocabulary::Vocabulary;

pub use check::FILE;
pub use class::Backend;
pub use files::{CONFIG, TokenizerFiles, check_tokenizer_file};
pub use sentence_piece::{Fields, Wire};
pub use vocabulary::Highest;

/// Which library's reading of a folder's texts to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader<'a> {
    /// open_clip's `HFTokenizer`, with the options of its config.
    OpenClip(&'a HuggingFaceOptions),
    /// transformers' `AutoTokenizer`, for rows of this many ids.
    Transformers {
        /// Context length.
        context_length: usize,
    },
}

/// Reads a folder's tokenizer like a library: the `tokenizer.json` that its class builds, and the rules for its ids.
/// `None` if the folder has no vocabulary.
///
/// # Errors
/// [`TokenizerError::File`] if a file is invalid or names code, [`TokenizerError::Rule`] if an option needs a token
/// that the tokenizer lacks.
pub fn read<'a>(
    files: &TokenizerFiles<'a>,
    reader: Reader<'_>,
) -> Result<Option<(Backend<'a>, TokenizerRules)>, TokenizerError> {
    let class = class::of(files)?;
    files::check_options(files)?;
    let Some(backend) = class::backend(files, &class)? else { return Ok(None) };
    let rules = match reader {
        Reader::OpenClip(options) => open_clip::rules(options, &backend.value, files, &class),
        Reader::Transformers { context_length } => {
            transformers::rules(context_length, &backend.value, files, &class)
        }
    };
    Ok(Some((backend, rules?)))
}

/// The `tokenizer_config.json` of a folder, with the class and the sides that the rules follow made explicit, so that
/// no library uses its own defaults. A file that states both is unchanged.
///
/// # Errors
/// The errors of [`read`].
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

/// transformers classes that pad on the left by default.
const PAD_LEFT: [&str; 5] =
    ["CodeLlamaTokenizer", "CohereTokenizer", "GemmaTokenizer", "LlamaTokenizer", "Siglip2Tokenizer"];

/// The class of a folder, if it pads on the left by default and no file states a side. The right side is used.
///
/// # Errors
/// As [`read`].
pub fn assumes_right(files: &TokenizerFiles) -> Result<Option<String>, TokenizerError> {
    let class = class::of(files)?;
    if !PAD_LEFT.contains(&class.as_str()) {
        return Ok(None);
    }
    let config =
        files.config.map(|bytes| files::parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let file = files.tokenizer.map(parse).transpose()?.unwrap_or_default();
    let is_stated = config.get("padding_side").is_some_and(|side| !side.is_null());
    Ok((!is_stated && file["padding"].is_null()).then_some(class))
}

/// Whether the class of a folder is CLIP's, or none is known.
///
/// # Errors
/// As [`read`].
pub fn is_clip_class(files: &TokenizerFiles) -> Result<bool, TokenizerError> {
    Ok(matches!(class::of(files)?.as_str(), "" | "CLIPTokenizer"))
}

/// The class of a folder, if it is unknown how it builds its tokenizer. The `tokenizer.json` is used as it is.
///
/// # Errors
/// As [`read`].
pub fn follows_file(files: &TokenizerFiles) -> Result<Option<String>, TokenizerError> {
    // Only a SentencePiece model makes transformers' `SiglipTokenizer`.
    let is_followed = |class: &String| match class.as_str() {
        "SiglipTokenizer" => files.sentence_piece.is_none(),
        class => !builds::is_known(class),
    };
    Ok(Some(class::of(files)?).filter(|class| files.tokenizer.is_some() && is_followed(class)))
}

/// A `tokenizer.json`, what happens to a text before it, and to its ids after it.
#[derive(Debug)]
pub struct JsonTokenizer {
    library: tokenizers::Tokenizer,
    clean: Clean,
    split: Option<Split>,
    rules: JsonRules,
    template: Template,
    highest: Highest,
    growth: TextGrowth,
}

/// What transformers' `SiglipTokenizer` does before and around SentencePiece.
#[derive(Debug)]
struct Split {
    tokens: SplitTokens,
    /// The character map, applied as in SentencePiece.
    charsmap: Option<Charsmap>,
    /// Number of ids of what leads a part that does not begin the text.
    lead: usize,
}

impl JsonTokenizer {
    /// Checks a `tokenizer.json` and creates a tokenizer from it.
    pub fn new(
        bytes: &[u8],
        rules: JsonRules,
        context_length: usize,
        clean: Clean,
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
        let library = load(bytes, &vocabulary)?;
        let mut made = JsonTokenizer { library, clean, split: None, rules, template, highest, growth };
        if clean == Clean::Siglip {
            let (charsmap, tokens) = (take_charsmap(&mut value)?, SplitTokens::take(&mut value)?);
            made.library =
                load(value.to_string().as_bytes(), &Vocabulary::check(&Node::root(&value, FILE))?)?;
            let lead = made.ids(&tokens.lead(), charsmap.as_ref())?.len();
            made.split = Some(Split { tokens, charsmap, lead });
        }
        Ok(made)
    }

    /// The highest ids of the vocabulary.
    pub fn highest(&self) -> Highest {
        self.highest
    }

    /// The special ids after a text.
    pub fn suffix(&self) -> &[u32] {
        &self.template.suffix
    }

    /// The ids of a cleaned text.
    fn ids(&self, text: &str, charsmap: Option<&Charsmap>) -> Result<Vec<u32>, TokenizerError> {
        self.growth.check(text, charsmap, &self.library)?;
        let mapped = charsmap.map(|charsmap| charsmap.normalize(text));
        let text = mapped.as_deref().unwrap_or(text);
        let encoding = contained(|| self.library.encode_fast(text, false))
            .map_err(|cause| TokenizerError::Encode { cause })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text that is split at tokens before it is cleaned; no more parts than a row of `most` ids can use.
    fn split_ids(&self, split: &Split, text: &str, most: usize) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let text = clean::marked(text);
        for (place, part) in split.tokens.parts(&text).into_iter().enumerate() {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => {
                    let cleaned = split.tokens.cleaned(text, place == 0);
                    let found = self.ids(&cleaned, split.charsmap.as_ref())?;
                    let lead = if place > 0 && found.len() >= split.lead { split.lead } else { 0 };
                    ids.extend(&found[lead..]);
                }
            }
            if ids.len() > most && self.rules.truncation_side == Side::Right {
                break;
            }
        }
        Ok(ids)
    }

    /// The ids of a text without special ones around it; if it is split at tokens, no more parts than `most` ids need.
    pub fn text_ids(&self, text: &str, most: usize) -> Result<Vec<u32>, TokenizerError> {
        match &self.split {
            Some(split) => self.split_ids(split, text, most),
            None => self.ids(&clean::apply(self.clean, text), None),
        }
    }

    /// Fills a row of ids, `[context_length]`, from a text, and returns whether it was truncated.
    pub fn encode_into(&self, text: &str, row: &mut [i64]) -> Result<Filled, TokenizerError> {
        let ids = self.text_ids(text, row.len())?;
        let ids = ids.as_slice();
        let Template { prefix, suffix } = &self.template;
        let special = prefix.len() + suffix.len();
        let room = match self.rules.mode {
            // One position is reserved for the class token at the end.
            TokenizerMode::Clips { .. } => row.len().saturating_sub(special + 1),
            _ => row.len().min(self.rules.longest.unwrap_or(usize::MAX)).saturating_sub(special),
        };
        let truncated = ids.len() > room;
        let kept = match self.rules.truncation_side {
            _ if !truncated => ids,
            Side::Right => &ids[..room],
            Side::Left => &ids[ids.len() - room..],
        };
        // A text that ends with the end token gets no second one.
        let has_end = self.split.is_some() && !suffix.is_empty() && kept.ends_with(suffix);
        let suffix = if has_end { &[] } else { suffix.as_slice() };
        let special = prefix.len() + suffix.len();
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

/// Removes the character map from a normalizer that starts with one.
fn take_charsmap(file: &mut serde_json::Value) -> Result<Option<Charsmap>, TokenizerError> {
    let steps = file.pointer_mut("/normalizer/normalizers").and_then(serde_json::Value::as_array_mut);
    let Some(steps) = steps.filter(|steps| steps.first().is_some_and(|first| first["type"] == "Precompiled"))
    else {
        return Ok(None);
    };
    let first = steps.remove(0);
    Charsmap::read(&Node::root(&first, FILE).need("precompiled_charsmap")?).map(Some)
}
