//! The `tokenizer.json` that transformers' classes for BERT, RoBERTa, GPT-2, XLM-RoBERTa and T5 make of a vocabulary.
//!
//! Like CLIP's class they take no normalizer and no pre-tokenizer from a file: the configuration's options decide.

use serde_json::{Map, Value, json};

use super::added;
use super::class::{Build, Source, whole, with_defaults};
use super::files::{CONFIG, TokenizerFiles, parse_config};
use crate::text::TokenizerError;

/// The build of a class, where it is one of these and the file's model is of its kind.
pub fn of(class: &str, model: &str) -> Option<Build> {
    build(class).filter(|(kind, _)| *kind == model).map(|(_, build)| build)
}

/// The kind of model that a class builds, where it is one of these.
pub fn kind(class: &str) -> Option<&'static str> {
    build(class).map(|(kind, _)| kind)
}

fn build(class: &str) -> Option<(&'static str, Build)> {
    let (kind, build): (&str, Build) = match class {
        "BertTokenizer"
        | "DistilBertTokenizer"
        | "ElectraTokenizer"
        | "LxmertTokenizer"
        | "MobileBertTokenizer" => ("WordPiece", bert),
        "RobertaTokenizer" | "BartTokenizer" | "LEDTokenizer" | "MvpTokenizer" => ("BPE", roberta),
        "GPT2Tokenizer" => ("BPE", gpt2),
        "XLMRobertaTokenizer" => ("Unigram", xlm_roberta),
        "T5Tokenizer" => ("Unigram", t5),
        _ => return None,
    };
    Some((kind, build))
}

/// Whether transformers' reading of a class is followed for any file: it is built here, or takes the file as it is.
pub fn is_known(class: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "",
        "CLIPTokenizer",
        "GemmaTokenizer",
        "PreTrainedTokenizer",
        "Siglip2Tokenizer",
        "SiglipTokenizer",
        "TokenizersBackend",
    ];
    OTHERS.contains(&class) || kind(class).is_some()
}

fn bert(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let options = Options::of(files)?;
    let unknown = added::named(files, "unk_token", "[UNK]")?;
    let (class, separator) =
        (added::named(files, "cls_token", "[CLS]")?, added::named(files, "sep_token", "[SEP]")?);
    let post_processor = source.template(&[&class], &[&separator])?;
    let normalizer = json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": options.flag("tokenize_chinese_chars", true)?,
        "strip_accents": options.value("strip_accents"),
        "lowercase": options.flag("do_lower_case", true)?,
    });
    let model = json!({
        "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    });
    let pre_tokenizer = json!({ "type": "BertPreTokenizer" });
    Ok(whole(normalizer, pre_tokenizer, post_processor, with_defaults(source.model, model)))
}

fn roberta(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let (class, separator) =
        (added::named(files, "cls_token", "<s>")?, added::named(files, "sep_token", "</s>")?);
    let options = Options::of(files)?;
    let post_processor = json!({
        "type": "RobertaProcessing",
        "sep": [separator, source.id(&separator)?],
        "cls": [class, source.id(&class)?],
        "trim_offsets": options.flag("trim_offsets", true)?,
        "add_prefix_space": options.flag("add_prefix_space", false)?,
    });
    byte_level(source, &options, post_processor)
}

fn gpt2(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let post_processor = source.post_processor.clone();
    byte_level(source, &Options::of(files)?, post_processor)
}

fn byte_level(source: Source, options: &Options, post_processor: Value) -> Result<Value, TokenizerError> {
    let pre_tokenizer = json!({
        "type": "ByteLevel", "add_prefix_space": options.flag("add_prefix_space", false)?, "trim_offsets": true,
        "use_regex": true,
    });
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
    });
    Ok(whole(Value::Null, pre_tokenizer, post_processor, with_defaults(source.model, model)))
}

fn xlm_roberta(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let (begin, end) = (added::named(files, "bos_token", "<s>")?, added::named(files, "eos_token", "</s>")?);
    let post_processor = source.template(&[&begin], &[&end])?;
    let scheme = if Options::of(files)?.flag("add_prefix_space", true)? { "always" } else { "never" };
    Ok(pieces(source, 3, scheme, post_processor))
}

fn t5(source: Source, files: &TokenizerFiles) -> Result<Value, TokenizerError> {
    let end = added::named(files, "eos_token", "</s>")?;
    let post_processor = source.template(&[], &[&end])?;
    Ok(pieces(source, 2, "always", post_processor))
}

/// A model of unigrams, with the character map of the file.
fn pieces(source: Source, unknown: u32, scheme: &str, post_processor: Value) -> Value {
    let pre_tokenizer = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "WhitespaceSplit" },
        { "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true },
    ] });
    let model = json!({ "type": "Unigram", "unk_id": unknown, "byte_fallback": false });
    let normalizer = source.charsmap.clone();
    whole(normalizer, pre_tokenizer, post_processor, with_defaults(source.model, model))
}

/// The options of a class in the configuration.
struct Options(Map<String, Value>);

impl Options {
    fn of(files: &TokenizerFiles) -> Result<Options, TokenizerError> {
        let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?;
        Ok(Options(config.unwrap_or_default()))
    }

    fn value(&self, key: &str) -> Value {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, TokenizerError> {
        match self.0.get(key) {
            None => Ok(default),
            // Python takes nothing for false.
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => {
                Err(TokenizerError::file(CONFIG, key, format!("expected true or false, found {other}")))
            }
        }
    }
}
