//! From a transformers 5 `config.json` to a [`TextModel`].

use clipway_formats::{FormatError, Json, JsonLimits, shown};

use super::{Family, Mt5Sizes, Tables, TextModel, modern_bert};
use crate::config::limits;
use crate::config::section::Section;
use crate::graph::Activation;
use crate::problems::{Problems, lines};

/// A `config.json` that describes no supported text model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextModelError {
    /// The file is malformed.
    #[error(transparent)]
    Malformed(#[from] FormatError),
    /// All unknown keys and all values that are out of range or inconsistent.
    #[error("the text model's config is not supported:{}", lines(.0))]
    Problems(Vec<String>),
    /// A kind of model that is not supported as a text tower.
    #[error(
        "a text model of the kind `{kind}` is not supported; BERT, RoBERTa, XLM-RoBERTa, ModernBERT, mT5 and M2M-100 \
         are"
    )]
    Kind {
        /// The `model_type`, escaped and shortened.
        kind: String,
    },
}

impl TextModelError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            TextModelError::Malformed(cause) => cause.code.name(),
            TextModelError::Problems(_) => "contradiction",
            TextModelError::Kind { .. } => "unsupported",
        }
    }
}

/// Activations by their names in transformers; some functions have several names.
pub(super) const ACTIVATIONS: [(&str, Activation); 12] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

/// PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Keys shared by all kinds.
const COMMON_KEYS: [&str; 7] = [
    "model_type",
    "vocab_size",
    "pad_token_id",
    "eos_token_id",
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
];

/// Keys of BERT and its relatives, including those without effect on the tokens.
const BERT_KEYS: [&str; 20] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "max_position_embeddings",
    "type_vocab_size",
    "position_embedding_type",
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "classifier_dropout",
    "directionality",
    "output_past",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "gradient_checkpointing",
];

/// Keys of mT5, including those without effect on the encoder.
const MT5_KEYS: [&str; 17] = [
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_heads",
    "layer_norm_epsilon",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "feed_forward_proj",
    "dense_act_fn",
    "is_gated_act",
    "classifier_dropout",
    "dropout_rate",
    "n_positions",
    "num_decoder_layers",
    "output_past",
    "scalable_attention",
];

/// Keys of M2M-100, including those without effect on the encoder.
const M2M100_KEYS: [&str; 17] = [
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "activation_function",
    "scale_embedding",
    "max_position_embeddings",
    "activation_dropout",
    "classifier_dropout",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "decoder_layerdrop",
    "decoder_layers",
    "encoder_layerdrop",
    "init_std",
    "normalize_before",
    "num_hidden_layers",
];

/// Reads a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<TextModel>, TextModelError> {
    let limits = JsonLimits { bytes: 1 << 20, depth: 16, values: 10_000, ..JsonLimits::CONFIG };
    read(&Json::parse(bytes, limits)?)
}

/// Reads a document.
pub(super) fn read(document: &Json) -> Result<Option<TextModel>, TextModelError> {
    let root = document.root();
    let model_type = match root.get("model_type")? {
        Some(value) => value.string()?.to_owned(),
        None => return Ok(None),
    };
    let mut problems = Problems::default();
    let open = |keys: &[&str], problems: &mut Problems| {
        let known: Vec<&str> = COMMON_KEYS.iter().chain(keys).copied().collect();
        Section::new(Some(document.root()), &known, problems)
    };
    let model = match model_type.as_str() {
        "bert" | "roberta" | "xlm-roberta" => {
            let section = open(&BERT_KEYS, &mut problems);
            read_bert(&section, &model_type, &mut problems)
        }
        "mt5" => read_mt5(&open(&MT5_KEYS, &mut problems), &mut problems),
        "modernbert" => modern_bert::read(&open(&modern_bert::KEYS, &mut problems), &mut problems),
        "m2m_100" => read_m2m100(&open(&M2M100_KEYS, &mut problems), &mut problems),
        _ => return Ok(None),
    };
    problems.none_or(TextModelError::Problems)?;
    Ok(Some(model))
}

fn read_bert(section: &Section<'_>, model_type: &str, problems: &mut Problems) -> TextModel {
    let tables = Tables {
        positions: section.integer("max_position_embeddings", 512, 1..=limits::TOKENS, problems),
        types: section.integer("type_vocab_size", 2, 1..=limits::TOKENS, problems),
    };
    let (family, vocabulary, padding) = match model_type {
        "bert" => (Family::Bert(tables), 30522, 0),
        "roberta" => (Family::Roberta(tables), 50265, 1),
        _ => (Family::XlmRoberta(tables), 30522, 1),
    };
    section.word("position_embedding_type", (), &[("absolute", ())], problems);
    encoder_decoder(section, false, problems);
    let model = TextModel {
        family,
        width: section.integer("hidden_size", 768, 1..=limits::WIDTH, problems),
        layers: section.integer("num_hidden_layers", 12, 1..=limits::LAYERS, problems),
        heads: section.integer("num_attention_heads", 12, 1..=limits::WIDTH, problems),
        mlp_width: section.integer("intermediate_size", 3072, 1..=limits::WIDTH, problems),
        activation: section.word("hidden_act", Activation::Gelu, &ACTIVATIONS, problems),
        epsilon: section.number("layer_norm_eps", 1e-12, 0.0..=1.0, problems),
        ..common(section, [vocabulary, padding], family, problems)
    };
    heads_divide(&model, section, "num_attention_heads", problems);
    if model.most_tokens() == Some(0) {
        problems.add(section, "max_position_embeddings", "no positions are left besides padding's");
    }
    model
}

fn read_mt5(section: &Section<'_>, problems: &mut Problems) -> TextModel {
    // The first word says whether the MLP is gated, the last is the activation; `gated-gelu` means its tanh form.
    let said = section.text("feed_forward_proj", "gated-gelu", problems);
    let (gated, name) = match said.split_once('-') {
        Some(("gated", "gelu")) => (true, "gelu_new"),
        Some(("gated", name)) => (true, name),
        _ => (false, said.as_str()),
    };
    let activation = ACTIVATIONS.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation);
    let activation = activation.unwrap_or_else(|| {
        problems.add(section, "feed_forward_proj", format!("unknown value `{}`", shown(&said)));
        Activation::GeluTanh
    });
    encoder_decoder(section, true, problems);
    let sizes = Mt5Sizes {
        head_width: section.integer("d_kv", 64, 1..=limits::WIDTH, problems),
        // transformers writes these two beside the first, and they take precedence.
        gated: section.boolean("is_gated_act", gated, problems),
        buckets: section.integer("relative_attention_num_buckets", 32, 4..=limits::TOKENS, problems),
        reach: section.integer("relative_attention_max_distance", 128, 2..=limits::TOKENS, problems),
    };
    let model = TextModel {
        width: section.integer("d_model", 512, 1..=limits::WIDTH, problems),
        layers: section.integer("num_layers", 8, 1..=limits::LAYERS, problems),
        heads: section.integer("num_heads", 6, 1..=limits::WIDTH, problems),
        mlp_width: section.integer("d_ff", 1024, 1..=limits::WIDTH, problems),
        activation: section.word("dense_act_fn", activation, &ACTIVATIONS, problems),
        epsilon: section.number("layer_norm_epsilon", 1e-6, 0.0..=1.0, problems),
        ..common(section, [250_112, 0], Family::Mt5(sizes), problems)
    };
    let Mt5Sizes { head_width, buckets, reach, .. } = sizes;
    if model.heads * head_width > limits::WIDTH {
        problems.add(section, "d_kv", format!("{} heads of width {head_width} are too wide", model.heads));
    }
    if reach <= buckets / 4 {
        let cause = format!("{buckets} buckets reach further than {reach}");
        problems.add(section, "relative_attention_max_distance", cause);
    }
    model
}

fn read_m2m100(section: &Section<'_>, problems: &mut Problems) -> TextModel {
    encoder_decoder(section, true, problems);
    let family = Family::M2m100 { scale_embedding: section.boolean("scale_embedding", true, problems) };
    let model = TextModel {
        width: section.integer("d_model", 1024, 1..=limits::WIDTH, problems),
        layers: section.integer("encoder_layers", 12, 1..=limits::LAYERS, problems),
        heads: section.integer("encoder_attention_heads", 16, 1..=limits::WIDTH, problems),
        mlp_width: section.integer("encoder_ffn_dim", 4096, 1..=limits::WIDTH, problems),
        activation: section.word("activation_function", Activation::Relu, &ACTIVATIONS, problems),
        epsilon: EPSILON,
        ..common(section, [128_112, 1], family, problems)
    };
    heads_divide(&model, section, "encoder_attention_heads", problems);
    // Sinusoids need at least two sines and two cosines.
    if model.width < 4 {
        problems.add(section, "d_model", format!("expected at least 4, found {}", model.width));
    }
    let layers = section.integer("num_hidden_layers", model.layers, 1..=limits::LAYERS, problems);
    problems.compare_keys(section, ["num_hidden_layers", "encoder_layers"], [layers, model.layers]);
    model
}

/// Settings of all kinds, with defaults for vocabulary and padding; sizes are still to be filled in.
pub(super) fn common(
    section: &Section<'_>,
    [vocabulary, padding]: [usize; 2],
    family: Family,
    problems: &mut Problems,
) -> TextModel {
    let vocab_size = section.integer("vocab_size", vocabulary, 1..=limits::VOCABULARY, problems);
    if section.is_null("pad_token_id") {
        problems.add(section, "pad_token_id", "required: open_clip hides the tokens with this id");
    }
    TextModel {
        family,
        vocab_size,
        width: 0,
        layers: 0,
        heads: 0,
        mlp_width: 0,
        activation: Activation::Gelu,
        epsilon: EPSILON,
        pad_id: section.integer("pad_token_id", padding, 0..=vocab_size - 1, problems),
    }
}

/// Refuses decoders, and models whose other half open_clip assumes or ignores.
pub(super) fn encoder_decoder(section: &Section<'_>, is_pair: bool, problems: &mut Problems) {
    for key in ["is_decoder", "add_cross_attention"] {
        if section.boolean(key, false, problems) {
            problems.add(section, key, "a text tower must be an encoder on its own");
        }
    }
    if section.boolean("is_encoder_decoder", is_pair, problems) != is_pair {
        problems.add(section, "is_encoder_decoder", format!("open_clip supports only {is_pair} here"));
    }
}

pub(super) fn heads_divide(model: &TextModel, section: &Section<'_>, key: &str, problems: &mut Problems) {
    let TextModel { width, heads, .. } = *model;
    if heads > 0 && !width.is_multiple_of(heads) {
        problems.add(section, key, format!("{heads} does not divide the width {width}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> String {
        match parse(json.as_bytes()) {
            Err(error) => error.to_string(),
            Ok(model) => format!("{model:?}"),
        }
    }

    /// The defaults come from the config classes of transformers 5.24.
    #[test]
    fn defaults_are_those_of_transformers() {
        let read = |json: &str| parse(json.as_bytes()).expect("right").expect("a text model");
        let roberta = read(r#"{"model_type": "roberta", "hidden_dropout_prob": 0.1}"#);
        let tables = Tables { positions: 512, types: 2 };
        assert_eq!(roberta.family, Family::Roberta(tables));
        assert_eq!((roberta.vocab_size, roberta.pad_id, roberta.epsilon), (50265, 1, 1e-12));
        assert_eq!(roberta.most_tokens(), Some(510));
        let mt5 = read(r#"{"model_type": "mt5", "feed_forward_proj": "relu"}"#);
        assert_eq!(
            mt5.family,
            Family::Mt5(Mt5Sizes { head_width: 64, gated: false, buckets: 32, reach: 128 })
        );
        assert_eq!((mt5.activation, mt5.heads, mt5.mlp_width), (Activation::Relu, 6, 1024));
        assert_eq!(read(r#"{"model_type": "mt5"}"#).activation, Activation::GeluTanh);
        let m2m = read(r#"{"model_type": "m2m_100", "scale_embedding": false}"#);
        assert_eq!(m2m.family, Family::M2m100 { scale_embedding: false });
        assert_eq!((m2m.vocab_size, m2m.most_tokens()), (128_112, None));
    }

    #[test]
    fn other_kinds_are_none() {
        assert_eq!(parse(br#"{"model_type": "clip", "text_config": {}}"#), Ok(None));
        assert_eq!(parse(b"{}"), Ok(None));
    }

    #[test]
    fn all_problems_are_told_together() {
        let found = problems(
            r#"{"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3, "hidden_sice": 1,
            "position_embedding_type": "relative_key", "is_decoder": true, "pad_token_id": null}"#,
        );
        for expected in [
            "hidden_sice",
            "`hidden_size`",
            "3 does not divide",
            "relative_key",
            "is_decoder",
            "pad_token_id",
        ] {
            assert!(found.contains(expected), "{expected}: {found}");
        }
        let check =
            |json: &str, expected: &str| assert!(problems(json).contains(expected), "{}", problems(json));
        check(
            r#"{"model_type": "mt5", "feed_forward_proj": "gated-silu-x"}"#,
            "unknown value `gated-silu-x`",
        );
        check(r#"{"model_type": "mt5", "relative_attention_max_distance": 8}"#, "32 buckets");
        check(r#"{"model_type": "mt5", "is_encoder_decoder": false}"#, "is_encoder_decoder");
        check(r#"{"model_type": "m2m_100", "num_hidden_layers": 3}"#, "num_hidden_layers");
        check(r#"{"model_type": "bert", "pad_token_id": 40000}"#, "pad_token_id");
        check(r#"{"model_type": "roberta", "max_position_embeddings": 2}"#, "no positions are left");
    }
}
