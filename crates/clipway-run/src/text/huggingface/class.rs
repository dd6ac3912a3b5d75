//! The `tokenizer.json` that a class of transformers 5.24 builds from a folder's files.
//!
//! Some classes use only the vocabulary of a `tokenizer.json` and build the rest themselves; others use the file as it
//! is. What is built here is again a complete `tokenizer.json`, so it can be checked, run and stored like any other.

use std::borrow::Cow;

use clipway_formats::shown;
use serde_json::{Map, Value, json};

use super::check::{FILE, parse};
use super::files::{CONFIG, TokenizerFiles, parse_config};
use super::json::Node;
use super::{added, json as strict, slow};
use crate::text::TokenizerError;
use crate::text::clip::{clip_normalizer, clip_pre_tokenizer};

/// A `tokenizer.json`: its bytes and their contents.
#[derive(Debug)]
pub struct Backend<'a> {
    /// The file.
    pub bytes: Cow<'a, [u8]>,
    /// The same, parsed.
    pub value: Value,
}

/// The class that transformers uses for a folder, without the `Fast` suffix: the named one, otherwise that of the model
/// type. Empty if neither is known: the files are then used as they are.
pub fn of(files: &TokenizerFiles) -> Result<String, TokenizerError> {
    let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let model = match files.model {
        Some(bytes) => strict::parse(bytes, "config.json")?,
        None => Value::Null,
    };
    let named = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let class = named(config.get("tokenizer_class")).or_else(|| named(model.get("tokenizer_class")));
    let class = class.unwrap_or_else(|| {
        let class = match model.get("model_type").and_then(Value::as_str) {
            Some("clip") => "CLIPTokenizer",
            Some("siglip") => "SiglipTokenizer",
            // Only BERT's kind has its words in a file of their own.
            _ if files.words.is_some() && !files.has_other_vocabulary() => "BertTokenizer",
            _ => "",
        };
        class.to_owned()
    });
    Ok(class.strip_suffix("Fast").map(str::to_owned).unwrap_or(class))
}

/// The `tokenizer.json` that a class builds from the files; `None` without a vocabulary.
///
/// # Errors
/// [`TokenizerError::File`] for a file that is malformed or of an unsupported kind.
pub fn backend<'a>(files: &TokenizerFiles<'a>, class: &str) -> Result<Option<Backend<'a>>, TokenizerError> {
    let builds = match class {
        "SiglipTokenizer" if files.sentence_piece.is_some() => {
            return super::sentence_piece::siglip(files).map(Some);
        }
        "CLIPTokenizer" => Some(clip as Build),
        "GemmaTokenizer" => Some(gemma as Build),
        "Siglip2Tokenizer" => Some(siglip2 as Build),
        _ => None,
    };
    let Some(bytes) = files.tokenizer else { return without_file(files, class, builds) };
    let value = parse(bytes)?;
    let kind = kind(&value);
    check_kind(class, kind)?;
    let Some(build) = builds.or_else(|| super::builds::of(class, kind)) else {
        return added::completed(bytes, value, files).map(Some);
    };
    let source = Source::of(&value)?;
    let mut built = build(source, files)?;
    for key in ["truncation", "padding"] {
        built[key] = value.get(key).cloned().unwrap_or(Value::Null);
    }
    added::add(&mut built, value.get("added_tokens"), files, class)?;
    if reads_alike(&built, &value) {
        return Ok(Some(Backend { bytes: Cow::Borrowed(bytes), value }));
    }
    Ok(Some(Backend { bytes: Cow::Owned(built.to_string().into_bytes()), value: built }))
}

/// The `tokenizer.json` that a class builds from a vocabulary in files of its own; `None` without one.
fn without_file<'a>(
    files: &TokenizerFiles<'a>,
    class: &str,
    builds: Option<Build>,
) -> Result<Option<Backend<'a>>, TokenizerError> {
    let (model, build) = match (files.vocabulary, files.merges, files.words, builds) {
        (Some(vocabulary), Some(merges), _, Some(build)) => (slow::byte_pairs(vocabulary, merges)?, build),
        (_, _, Some(words), _) => match super::builds::of(class, "WordPiece") {
            Some(build) => (slow::word_pieces(words)?, build),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let [post_processor, charsmap, added] = [const { Value::Null }; 3];
    let mut value = build(Source { model, post_processor, charsmap, added }, files)?;
    added::add(&mut value, None, files, class)?;
    Ok(Some(Backend { bytes: Cow::Owned(value.to_string().into_bytes()), value }))
}

/// The kind of model in a `tokenizer.json`. Files of older versions do not state it for byte pairs.
fn kind(file: &Value) -> &str {
    let stated = file.pointer("/model/type").and_then(Value::as_str);
    let default = if file.pointer("/model/merges").is_some() { "BPE" } else { "" };
    stated.unwrap_or(default)
}

/// Refuses a class that builds another kind of model than the file has: the two belong to different tokenizers.
fn check_kind(class: &str, found: &str) -> Result<(), TokenizerError> {
    let expected = match class {
        "CLIPTokenizer" | "GemmaTokenizer" | "Siglip2Tokenizer" => Some("BPE"),
        "SiglipTokenizer" => Some("Unigram"),
        _ => super::builds::kind(class),
    };
    match expected.filter(|expected| *expected != found) {
        Some(expected) => Err(TokenizerError::file(
            FILE,
            "model.type",
            format!("the class `{class}` builds a {expected} model, but this one is `{}`", shown(found)),
        )),
        None => Ok(()),
    }
}

/// Builds a `tokenizer.json` around a vocabulary.
pub type Build = fn(Source, &TokenizerFiles) -> Result<Value, TokenizerError>;

/// What a class uses from a `tokenizer.json`.
pub struct Source {
    /// `vocab` and, of byte pairs, `merges`.
    pub model: Map<String, Value>,
    /// What puts special tokens around a text.
    pub post_processor: Value,
    /// The normalizer's character map, if it has one.
    pub charsmap: Value,
    /// Tokens beside the vocabulary.
    pub added: Value,
}

impl Source {
    fn of(file: &Value) -> Result<Source, TokenizerError> {
        let model = Node::root(file, FILE).need("model")?;
        let mut kept = Map::new();
        let has_merges = model.value.get("merges").is_some();
        for key in ["vocab", "merges"].into_iter().filter(|key| *key == "vocab" || has_merges) {
            kept.insert(key.to_owned(), model.need(key)?.value.clone());
        }
        let post_processor = file.get("post_processor").cloned().unwrap_or(Value::Null);
        let normalizer = file.get("normalizer").cloned().unwrap_or(Value::Null);
        let steps = normalizer.get("normalizers").and_then(Value::as_array).cloned();
        let mut steps = steps.unwrap_or_else(|| vec![normalizer]).into_iter();
        let charsmap = steps.find(|step| step["type"] == "Precompiled").unwrap_or(Value::Null);
        let added = file.get("added_tokens").cloned().unwrap_or_default();
        Ok(Source { model: kept, post_processor, charsmap, added })
    }

    /// The id of a token of the vocabulary, or of one beside it.
    pub fn id(&self, token: &str) -> Result<u64, TokenizerError> {
        let vocabulary = self.model.get("vocab").unwrap_or(&Value::Null);
        let mut beside = self.added.as_array().into_iter().flatten();
        let beside = beside.find(|added| added["content"] == token).and_then(|added| added["id"].as_u64());
        let missing = || TokenizerError::file(FILE, "model.vocab", format!("`{token}` is missing"));
        added::id_in(vocabulary, token).or(beside).ok_or_else(missing)
    }

    /// The post-processor that puts these tokens before and after a text.
    pub fn template(&self, before: &[&str], after: &[&str]) -> Result<Value, TokenizerError> {
        let mut special = Map::new();
        for token in before.iter().chain(after) {
            special.insert(
                (*token).to_owned(),
                json!({ "id": token, "ids": [self.id(token)?], "tokens": [token] }),
            );
        }
        let piece = |token: &&str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        let around = |id: &str| -> Vec<Value> {
            before.iter().map(piece).chain([text(id)]).chain(after.iter().map(piece)).collect()
        };
        let pair: Vec<Value> = around("A").into_iter().chain(around("B")).collect();
        Ok(
            json!({ "type": "TemplateProcessing", "single": around("A"), "pair": pair, "special_tokens": special }),
        )
    }
}

/// transformers' `CLIPTokenizer`.
fn clip(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let token = |name: &str, default: &str| added::named(files, name, default);
    let (begin, end) = (token("bos_token", "<|startoftext|>")?, token("eos_token", "<|endoftext|>")?);
    let unknown = token("unk_token", "<|endoftext|>")?;
    let id = |token: &str| {
        let id = source.model.get("vocab").and_then(|vocab| vocab.get(token)).cloned();
        id.ok_or_else(|| TokenizerError::file(FILE, "model.vocab", format!("`{token}` is missing")))
    };
    let post_processor = json!({
        "type": "RobertaProcessing",
        "sep": [end, id(&end)?],
        "cls": [begin, id(&begin)?],
        "trim_offsets": false,
        "add_prefix_space": false,
    });
    let model = with_defaults(
        source.model,
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        }),
    );
    Ok(whole(clip_normalizer(), clip_pre_tokenizer(), post_processor, model))
}

/// transformers' `GemmaTokenizer`, which keeps capitals.
fn gemma(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    space_marks(source, files, json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" }))
}

/// transformers' `Siglip2Tokenizer`: Gemma's, lower-cased.
fn siglip2(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let marks = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let lower = json!({ "type": "Lowercase" });
    space_marks(source, files, json!({ "type": "Sequence", "normalizers": [lower, marks] }))
}

fn space_marks(source: Source, files: &TokenizerFiles, normalizer: Value) -> Result<Value, TokenizerError> {
    let unknown = added::named(files, "unk_token", "<unk>")?;
    let model = with_defaults(
        source.model,
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        }),
    );
    let pre_tokenizer = json!({
        "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious", "invert": false,
    });
    Ok(whole(normalizer, pre_tokenizer, source.post_processor, model))
}

/// Puts the vocabulary into a model object.
pub fn with_defaults(vocabulary: Map<String, Value>, mut model: Value) -> Value {
    if let Value::Object(members) = &mut model {
        members.extend(vocabulary);
    }
    model
}

pub fn whole(normalizer: Value, pre_tokenizer: Value, post_processor: Value, model: Value) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": null,
        "model": model,
    })
}

/// Whether a file gives the same ids as what a class builds from it, judging by what encoding uses.
fn reads_alike(built: &Value, file: &Value) -> bool {
    let same = |key: &str| built.get(key) == file.get(key);
    let model = |value: &Value| {
        let mut model = value.get("model").cloned().unwrap_or_default();
        if let Some(members) = model.as_object_mut() {
            members.remove("dropout");
            // A missing key has its default.
            for key in ["fuse_unk", "byte_fallback", "ignore_merges"] {
                members.entry(key).or_insert(Value::Bool(false));
            }
            for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
                members.entry(key).or_insert(Value::Null);
            }
            members.entry("type").or_insert(json!("BPE"));
        }
        model
    };
    let ends = |value: &Value| value.get("post_processor").cloned().unwrap_or_default();
    ["added_tokens", "normalizer", "pre_tokenizer"].into_iter().all(same)
        && same_ends(&ends(built), &ends(file))
        && model(built) == model(file)
}

/// Whether two post-processors put the same tokens around one text.
fn same_ends(one: &Value, other: &Value) -> bool {
    let single =
        |value: &Value| (value["type"].clone(), value["single"].clone(), value["special_tokens"].clone());
    one == other || one["type"] == "TemplateProcessing" && single(one) == single(other)
}
