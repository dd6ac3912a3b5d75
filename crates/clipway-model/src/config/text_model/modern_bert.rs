//! From a `config.json` of ModernBERT, in the keys of transformers 4 and 5, to a [`TextModel`].

use std::ops::RangeInclusive;

use clipway_formats::{Code, FormatError, JsonCursor};

use super::read::{ACTIVATIONS, common, encoder_decoder, heads_divide};
use super::{Family, ModernBertSizes, TextModel};
use crate::config::fields::Fields;
use crate::config::limits;
use crate::config::section::Section;
use crate::graph::Activation;
use crate::problems::Problems;

/// Its keys, including those without effect on the tokens.
pub(super) const KEYS: [&str; 32] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_activation",
    "norm_eps",
    "norm_bias",
    "attention_bias",
    "mlp_bias",
    "local_attention",
    "layer_types",
    "global_attn_every_n_layers",
    "global_rope_theta",
    "local_rope_theta",
    ROPE,
    "max_position_embeddings",
    "classifier_activation",
    "classifier_bias",
    "classifier_dropout",
    "classifier_pooling",
    "cls_token_id",
    "decoder_bias",
    "deterministic_flash_attn",
    "embedding_dropout",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "mlp_dropout",
    "position_embedding_type",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_pred_ignore_index",
    "sparse_prediction",
];

/// Rotations by kind of layer.
const ROPE: &str = "rope_parameters";

/// Kinds of layers: those that see all tokens, and those that see near ones.
const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];

/// Bases of rotations.
const THETAS: RangeInclusive<f64> = 1.0..=1e12;

pub(super) fn read(section: &Section<'_>, problems: &mut Problems) -> TextModel {
    encoder_decoder(section, false, problems);
    let mut thetas = [0, 1].map(|kind| {
        let (key, default) = [("global_rope_theta", 160_000.0), ("local_rope_theta", 10_000.0)][kind];
        section.number(key, default, THETAS, problems) as f32
    });
    if let Some(rope) = section.value(ROPE) {
        thetas = problems.or(thetas, thetas_of(rope, thetas));
    }
    let layers = section.integer("num_hidden_layers", 22, 1..=limits::LAYERS, problems);
    let every = section.integer("global_attn_every_n_layers", 3, 1..=limits::LAYERS, problems);
    let global_every = match section.value("layer_types") {
        Some(kinds) => problems.or(every, pattern_of(&kinds, layers)),
        None => every,
    };
    let sizes = ModernBertSizes {
        global_every,
        reach: section.integer("local_attention", 128, 2..=limits::TOKENS, problems) / 2,
        thetas,
        norm_bias: section.boolean("norm_bias", false, problems),
        attention_bias: section.boolean("attention_bias", false, problems),
        mlp_bias: section.boolean("mlp_bias", false, problems),
    };
    let model = TextModel {
        layers,
        width: section.integer("hidden_size", 768, 1..=limits::WIDTH, problems),
        heads: section.integer("num_attention_heads", 12, 1..=limits::WIDTH, problems),
        mlp_width: section.integer("intermediate_size", 1152, 1..=limits::WIDTH, problems),
        activation: section.word("hidden_activation", Activation::Gelu, &ACTIVATIONS, problems),
        epsilon: section.number("norm_eps", 1e-5, 0.0..=1.0, problems),
        ..common(section, [50_368, 50_283], Family::ModernBert(sizes), problems)
    };
    heads_divide(&model, section, "num_attention_heads", problems);
    if !(model.width / model.heads).is_multiple_of(2) {
        let cause = format!("heads of {} cannot be rotated in pairs", model.width / model.heads);
        problems.add(section, "num_attention_heads", cause);
    }
    model
}

/// The base of each kind of layer; only plain rotations are read.
fn thetas_of(rope: JsonCursor<'_>, mut thetas: [f32; 2]) -> Result<[f32; 2], FormatError> {
    let rope = Fields::new(rope, &KINDS)?;
    for (kind, theta) in KINDS.into_iter().zip(&mut thetas) {
        let Some(rotation) = rope.value(kind)? else { continue };
        let rotation = Fields::new(rotation, &["rope_type", "rope_theta"])?;
        rotation.word("rope_type", (), &[("default", ())])?;
        *theta = rotation.number("rope_theta", f64::from(*theta), THETAS)? as f32;
    }
    Ok(thetas)
}

/// The distance of layers that see all tokens, from the list of kinds.
fn pattern_of(kinds: &JsonCursor<'_>, layers: usize) -> Result<usize, FormatError> {
    let mut sees_all = Vec::new();
    for kind in kinds.items()? {
        match KINDS.iter().position(|known| kind.string().is_ok_and(|found| found == *known)) {
            Some(place) => sees_all.push(place == 0),
            None => {
                return Err(kind.error(Code::BadValue, format!("expected `{}` or `{}`", KINDS[0], KINDS[1])));
            }
        }
    }
    if sees_all.len() != layers {
        let cause = format!("{} kinds for {layers} layers", sees_all.len());
        return Err(kinds.error(Code::BadValue, cause));
    }
    let every = sees_all.iter().skip(1).position(|all| *all).map_or(layers, |place| place + 1);
    let follows = sees_all.iter().enumerate().all(|(index, all)| *all == index.is_multiple_of(every));
    match follows {
        true => Ok(every),
        false => Err(kinds.error(
            Code::Unsupported,
            "only layers that see all tokens at equal distances, from the first, are supported",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(more: &str) -> Result<TextModel, String> {
        let json = format!(r#"{{"model_type": "modernbert"{more}}}"#);
        TextModel::parse(json.as_bytes())
            .map(|model| model.expect("a text model"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let model = parsed("").unwrap();
        assert_eq!((model.vocab_size, model.width, model.layers, model.pad_id), (50_368, 768, 22, 50_283));
        assert_eq!((model.mlp_width, model.activation, model.epsilon), (1152, Activation::Gelu, 1e-5));
        let Family::ModernBert(sizes) = model.family else { panic!("{model:?}") };
        assert_eq!((sizes.global_every, sizes.reach, sizes.thetas), (3, 64, [160_000.0, 10_000.0]));
        assert!(!sizes.norm_bias && !sizes.attention_bias && !sizes.mlp_bias);
    }

    #[test]
    fn both_spellings_of_rotations_and_layers_are_read() {
        let of = |more: &str| match parsed(more).unwrap().family {
            Family::ModernBert(sizes) => (sizes.global_every, sizes.thetas),
            other => panic!("{other:?}"),
        };
        let older = r#", "global_attn_every_n_layers": 2, "global_rope_theta": 9e4, "local_rope_theta": 500"#;
        assert_eq!(of(older), (2, [90_000.0, 500.0]));
        let newer = r#", "num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 9e4},
                                "sliding_attention": {"rope_theta": 500}}"#;
        assert_eq!(of(newer), (2, [90_000.0, 500.0]));
        let one = r#", "num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]"#;
        assert_eq!(of(one).0, 2);
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for (more, says) in [
            (
                r#", "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]"#,
                "equal distances",
            ),
            (r#", "num_hidden_layers": 2, "layer_types": ["full_attention"]"#, "1 kinds for 2 layers"),
            (r#", "num_hidden_layers": 1, "layer_types": ["linear"]"#, "expected `full_attention`"),
            (r#", "rope_parameters": {"full_attention": {"rope_type": "yarn"}}"#, "`default`"),
            (r#", "rope_parameters": {"full_attention": {"factor": 2}}"#, "unknown key"),
            // Whatever its place, and for all kinds at once.
            (
                r#", "rope_parameters": {"full_attention": {"rope_theta": 9e4, "rope_type": "yarn"}}"#,
                "`default`",
            ),
            (r#", "rope_parameters": {"full_attention": {"rope_theta": 9e4, "factor": 2}}"#, "unknown key"),
            (r#", "rope_parameters": {"rope_type": "yarn", "factor": 2}"#, "unknown key"),
            (
                r#", "rope_parameters": {"sliding_attention": {"rope_theta": 0}}"#,
                "expected a number from 1 to",
            ),
            (r#", "is_decoder": true"#, "is_decoder"),
            (r#", "add_cross_attention": true"#, "add_cross_attention"),
            (r#", "local_attention": 0"#, "local_attention"),
            (r#", "hidden_size": 18, "num_attention_heads": 6"#, "heads of 3 cannot be rotated"),
            (r#", "hidden_size": 20, "num_attention_heads": 6"#, "6 does not divide"),
        ] {
            let error = parsed(more).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
