//! Tokens that a folder's files add to a vocabulary.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::check::FILE;
use super::class::Backend;
use super::files::{CONFIG, TokenizerFiles, parse_config, settings};
use super::json as strict;
use crate::text::TokenizerError;

/// Keys that name special tokens.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The spelling of a special token, from the files or the class.
///
/// # Errors
/// [`TokenizerError::File`] if the configuration says that there is none: no class builds that.
pub fn named(files: &TokenizerFiles, name: &str, default: &str) -> Result<String, TokenizerError> {
    match settings(files)?.get(name) {
        Some(Value::Null) => {
            Err(TokenizerError::file(CONFIG, name, "it is null, but the tokenizer's class needs this token"))
        }
        stated => Ok(stated.and_then(spelling).unwrap_or_else(|| default.to_owned())),
    }
}

/// Default special tokens of a class, those of its constructor, each with the key that replaces it.
pub fn of_class(class: &str) -> &'static [(&'static str, &'static str)] {
    match class {
        "CLIPTokenizer" => &[
            ("bos_token", "<|startoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
            ("pad_token", "<|endoftext|>"),
        ],
        "GemmaTokenizer" | "Siglip2Tokenizer" => &[
            ("pad_token", "<pad>"),
            ("eos_token", "<eos>"),
            ("bos_token", "<bos>"),
            ("unk_token", "<unk>"),
            ("mask_token", "<mask>"),
        ],
        "BertTokenizer"
        | "DistilBertTokenizer"
        | "ElectraTokenizer"
        | "LxmertTokenizer"
        | "MobileBertTokenizer" => &[
            ("pad_token", "[PAD]"),
            ("unk_token", "[UNK]"),
            ("cls_token", "[CLS]"),
            ("sep_token", "[SEP]"),
            ("mask_token", "[MASK]"),
        ],
        "RobertaTokenizer" | "BartTokenizer" | "LEDTokenizer" | "MvpTokenizer" | "XLMRobertaTokenizer" => &[
            ("bos_token", "<s>"),
            ("cls_token", "<s>"),
            ("eos_token", "</s>"),
            ("sep_token", "</s>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        "T5Tokenizer" => &[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")],
        _ => &[],
    }
}

/// The special tokens stated by the files: those of the known names, of other names that end in `_token`, and further ones.
pub fn special(settings: &Map<String, Value>) -> Vec<String> {
    let known = NAMES.into_iter().filter_map(|name| settings.get(name)).filter_map(spelling);
    let is_other = |key: &str| key.ends_with("_token") && !NAMES.contains(&key);
    let others = settings.iter().filter(|(key, _)| is_other(key)).filter_map(|(_, value)| spelling(value));
    let further = ["extra_special_tokens", "additional_special_tokens"];
    let is_empty = |value: &&Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => true,
    };
    let further = further.into_iter().find_map(|key| settings.get(key).filter(|value| !is_empty(value)));
    let further: Vec<&Value> = match further {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(Value::Object(members)) => members.values().collect(),
        _ => Vec::new(),
    };
    known.chain(others).chain(further.into_iter().filter_map(spelling)).collect()
}

/// The spelling of a token, given as a string or with options.
pub fn spelling(value: &Value) -> Option<String> {
    match value {
        Value::String(token) => Some(token.clone()),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// A file used as it is, with the tokens added by the files beside it.
pub fn completed<'a>(
    bytes: &'a [u8],
    mut value: Value,
    files: &TokenizerFiles,
) -> Result<Backend<'a>, TokenizerError> {
    let before = value.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    let own = value.get("added_tokens").cloned();
    add(&mut value, own.as_ref(), files, "")?;
    let after = value.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    let bytes = match before == after {
        true => Cow::Borrowed(bytes),
        false => Cow::Owned(value.to_string().into_bytes()),
    };
    Ok(Backend { bytes, value })
}

/// Adds tokens to a `tokenizer.json` like transformers: those listed by the configuration, otherwise those of the
/// `tokenizer.json` itself and of `added_tokens.json`, and the named special tokens. A token in the vocabulary keeps
/// its id, any other gets the next one.
pub fn add(
    value: &mut Value,
    own: Option<&Value>,
    files: &TokenizerFiles,
    class: &str,
) -> Result<(), TokenizerError> {
    let mut list = listed(own, files)?;
    let vocabulary = value.get("model").and_then(|model| model.get("vocab")).unwrap_or(&Value::Null);
    let settings = settings(files)?;
    let mut missing = special(&settings);
    let defaults = of_class(class).iter().filter(|(name, _)| settings.get(*name).is_none());
    missing.extend(defaults.map(|(_, token)| (*token).to_owned()).filter(|token| {
        // A token outside the vocabulary has no row in the model, and no text names it.
        id_in(vocabulary, token).is_some()
    }));
    for content in missing {
        if !list.iter().any(|token| content_of(token) == content) {
            list.push(plain(&content, true));
        }
    }
    let size = match vocabulary {
        Value::Object(entries) => entries.len(),
        Value::Array(pieces) => pieces.len(),
        _ => 0,
    };
    let mut next = size as u64;
    for token in &mut list {
        let content = content_of(token).to_owned();
        let id = id_in(vocabulary, &content).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        if token.get("id").is_some_and(|stated| *stated != json!(id)) {
            let cause = format!("`{content}` would have id {id} in transformers");
            return Err(TokenizerError::file(FILE, "added_tokens", cause));
        }
        token.insert("id".to_owned(), json!(id));
    }
    list.sort_by_key(|token| token.get("id").and_then(Value::as_u64));
    if let Value::Object(members) = value {
        let list = list.into_iter().map(Value::Object).collect();
        members.insert("added_tokens".to_owned(), Value::Array(list));
    }
    Ok(())
}

/// An added token with its options.
type Token = Map<String, Value>;

/// The tokens listed by files, in the order in which transformers adds them: those of the configuration, by id, then all
/// others, by id.
fn listed(own: Option<&Value>, files: &TokenizerFiles) -> Result<Vec<Token>, TokenizerError> {
    let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let mut tokens = BTreeMap::new();
    if let Some(Value::Object(decoder)) = config.get("added_tokens_decoder") {
        for (id, token) in decoder {
            if let (Ok(id), Value::Object(token)) = (id.parse(), token) {
                tokens.insert((Listed::First, id), token.clone());
            }
        }
    } else if let Some(bytes) = files.added_tokens {
        let Value::Object(ids) = strict::parse(bytes, "added_tokens.json")? else {
            return Err(TokenizerError::file("added_tokens.json", "top level", "expected an object"));
        };
        let numbered = ids
            .iter()
            .filter_map(|(content, id)| Some(((Listed::Then, id.as_u64()?), plain(content, false))));
        tokens.extend(numbered);
    }
    for token in own.and_then(Value::as_array).into_iter().flatten() {
        if let (Some(id), Value::Object(token)) = (token.get("id").and_then(Value::as_u64), token) {
            let is_first = tokens.contains_key(&(Listed::First, id));
            let place = if is_first { Listed::First } else { Listed::Then };
            let kept = tokens.entry((place, id)).or_insert_with(|| token.clone());
            kept.insert("id".to_owned(), json!(id));
        }
    }
    Ok(tokens.into_values().collect())
}

/// When a token is added.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    First,
    Then,
}

/// The id of a token in a model's vocabulary.
pub fn id_in(vocabulary: &Value, token: &str) -> Option<u64> {
    match vocabulary {
        Value::Object(entries) => entries.get(token).and_then(Value::as_u64),
        Value::Array(pieces) => {
            let place = pieces.iter().position(|piece| piece.get(0).and_then(Value::as_str) == Some(token));
            place.map(|place| place as u64)
        }
        _ => None,
    }
}

fn content_of(token: &Token) -> &str {
    token.get("content").and_then(Value::as_str).unwrap_or_default()
}

/// An added token without options.
fn plain(content: &str, special: bool) -> Token {
    let mut token = Token::new();
    token.insert("content".to_owned(), content.into());
    for flag in ["single_word", "lstrip", "rstrip"] {
        token.insert(flag.to_owned(), false.into());
    }
    token.insert("normalized".to_owned(), (!special).into());
    token.insert("special".to_owned(), special.into());
    token
}
