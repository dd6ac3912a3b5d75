//! Objects of transformers' JSON files, read strictly. Problems are collected instead of ending the read.

use std::ops::RangeInclusive;

use clipway_formats::{Code, FormatError, JsonCursor, shown};

use crate::nearest::nearest;
use crate::problems::Problems;

/// Keys that any transformers config may have and that do not affect the outputs of `CLIPModel`: initialization,
/// training, text generation, bookkeeping.
const WITHOUT_EFFECT: [&str; 77] = [
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_composition",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "logit_bias_init_value",
    "logit_scale_init_value",
    "num_labels",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
    "vision_feature_layer",
    "vision_use_head",
    "language",
    "license",
    "library_name",
    "tags",
];

/// An object of a file; if absent, every value is a default.
pub(crate) struct Section<'a> {
    at: Option<JsonCursor<'a>>,
}

impl Problems {
    /// The value, or the default and a problem.
    pub(crate) fn or<T>(&mut self, default: T, value: Result<T, FormatError>) -> T {
        value.unwrap_or_else(|error| {
            self.push(error.to_string());
            default
        })
    }

    /// Adds a problem at a key of a section.
    pub(crate) fn add(&mut self, section: &Section<'_>, key: &str, cause: impl std::fmt::Display) {
        let path = section.at.as_ref().map_or("$", |at| at.path());
        self.push(format!("`{path}.{key}`: {cause}"));
    }

    /// Adds a problem if two keys disagree.
    pub(crate) fn compare_keys(&mut self, section: &Section<'_>, keys: [&str; 2], said: [usize; 2]) {
        if said[0] != said[1] {
            self.add(section, keys[0], format!("{}, but `{}` is {}", said[0], keys[1], said[1]));
        }
    }

    /// Adds a problem if a key disagrees with the weights; `None` if they do not show the value.
    pub(crate) fn compare(&mut self, section: &Section<'_>, key: &str, said: usize, found: Option<usize>) {
        if let Some(found) = found.filter(|found| *found != said) {
            self.add(section, key, format!("{said}, but the weights have {found}"));
        }
    }
}

impl<'a> Section<'a> {
    /// An object with the known keys and those without effect. Any other key whose value is not `null` is a problem,
    /// and so is a value that is not an object.
    pub(crate) fn new(at: Option<JsonCursor<'a>>, known: &[&str], problems: &mut Problems) -> Section<'a> {
        let Some(at) = at.filter(|at| !at.is_null()) else { return Section { at: None } };
        match at.members() {
            Err(error) => {
                problems.push(error.to_string());
                return Section { at: None };
            }
            Ok(members) => {
                for (key, value) in members {
                    if known.contains(&key) || WITHOUT_EFFECT.contains(&key) || value.is_null() {
                        continue;
                    }
                    let cause = match nearest(key, known) {
                        _ if key == "quantization_config" => {
                            "the weights are quantized; save the model without quantization".to_owned()
                        }
                        Some(name) => format!("unknown key; the nearest known key is `{name}`"),
                        None => "unknown key".to_owned(),
                    };
                    problems.push(value.error(Code::UnknownKey, cause).to_string());
                }
            }
        }
        Section { at: Some(at) }
    }

    /// The value of a key; `None` if missing or `null`.
    pub(crate) fn value(&self, key: &str) -> Option<JsonCursor<'a>> {
        let value = self.at.as_ref().and_then(|at| at.get(key).ok().flatten());
        value.filter(|value| !value.is_null())
    }

    /// An integer in a range.
    pub(crate) fn integer(
        &self,
        key: &str,
        default: usize,
        range: RangeInclusive<usize>,
        problems: &mut Problems,
    ) -> usize {
        let (least, most) = (*range.start(), *range.end());
        self.value(key).map_or(default, |value| problems.or(default, value.integer(least, most)))
    }

    /// A number in a range.
    pub(crate) fn number(
        &self,
        key: &str,
        default: f64,
        range: RangeInclusive<f64>,
        problems: &mut Problems,
    ) -> f64 {
        let Some(value) = self.value(key) else { return default };
        let number = value.number().and_then(|number| match range.contains(&number) {
            true => Ok(number),
            false => {
                let (least, most) = (range.start(), range.end());
                Err(value.error(Code::BadValue, format!("expected {least} to {most}, found {number}")))
            }
        });
        problems.or(default, number)
    }

    /// A boolean.
    pub(crate) fn boolean(&self, key: &str, default: bool, problems: &mut Problems) -> bool {
        self.value(key).map_or(default, |value| problems.or(default, value.boolean()))
    }

    /// Whether a key is present with the value `null`.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.at.as_ref().and_then(|at| at.get(key).ok().flatten()).is_some_and(|value| value.is_null())
    }

    /// A string.
    pub(crate) fn text(&self, key: &str, default: &str, problems: &mut Problems) -> String {
        let value = self.value(key).map(|value| value.string().map(str::to_owned));
        value.map_or(default.to_owned(), |text| problems.or(default.to_owned(), text))
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &self,
        key: &str,
        default: T,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> T {
        let Some(value) = self.value(key) else { return default };
        let meant = value.string().and_then(|found| {
            words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning).ok_or_else(|| {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                let cause = format!("expected {}, found `{}`", words.join(" or "), shown(found));
                value.error(Code::BadValue, cause)
            })
        });
        problems.or(default, meant)
    }

    /// A side or `[height, width]`.
    pub(crate) fn sides(
        &self,
        key: &str,
        default: usize,
        most: usize,
        problems: &mut Problems,
    ) -> [usize; 2] {
        let Some(value) = self.value(key) else { return [default; 2] };
        let sides = match value.items().map(|items| items.collect::<Vec<_>>()) {
            Err(_) => value.integer(1, most).map(|side| [side; 2]),
            Ok(items) => match &items[..] {
                [height, width] => {
                    height.integer(1, most).and_then(|height| Ok([height, width.integer(1, most)?]))
                }
                _ => Err(value.error(Code::BadValue, "expected a side or [height, width]")),
            },
        };
        problems.or([default; 2], sides)
    }
}
