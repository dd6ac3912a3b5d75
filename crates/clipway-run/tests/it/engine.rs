//! The engine on small models: every pass is exact, a sample does not depend on its batch, and bad input is refused.

use std::sync::Arc;

use clipway_model::architecture::{self, Model};
use clipway_model::config::ModelConfig;
use clipway_run::encoder::{Encoder, EncoderSettings};
use clipway_run::engine::{
    Elements, Engine, EngineError, EngineOptions, InstructionSet, Passes, Processor, StepTimes, WeightError,
    Weights,
};
use clipway_run::tower::TowerInput;
use clipway_testing::architecture_runner::FormulaWeights;
use clipway_testing::formula;

const VIT: &str = r#""image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8"#;
const TEXT: &str = r#""context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2"#;

/// Towers that together cover every option the passes look at.
pub const CONFIGS: [(&str, &str, &str); 11] = [
    ("plain", "", ""),
    ("layer scale", r#", "ls_init_value": 0.1"#, r#", "ls_init_value": 0.1"#),
    ("mean and end", r#", "pool_type": "avg", "no_ln_pre": true"#, r#", "pool_type": "eos", "eos_id": 5"#),
    ("norm after pool", r#", "final_ln_after_pool": true"#, r#", "pool_type": "last""#),
    (
        "attentional pool",
        r#", "attentional_pool": true, "attn_pooler_heads": 4"#,
        r#", "no_causal_mask": true"#,
    ),
    ("class token", "", r#", "embed_cls": true, "pad_id": 0"#),
    ("modern text, causal", "", MODERN_CAUSAL),
    ("modern text, both ways", "", MODERN_QUERY),
    (
        "modern text, mean",
        "",
        r#", "text_arch": "modern", "pad_id": 5, "attention_mode": "bidirectional", "pool_type": "mean", "mlp_type": "relu2""#,
    ),
    (SENSITIVE, r#", "timm_model_name": "fastvit_mci0", "timm_proj": null, "image_size": 128"#, ""),
    (
        "residual network",
        r#", "layers": [1, 1, 1, 1], "width": 16, "patch_size": null, "image_size": 64"#,
        "",
    ),
];

/// Texts that end early or never, with tokens before them.
const MODERN_CAUSAL: &str = r#", "text_arch": "modern", "pad_id": 5, "eos_id": 63, "reg_tokens": 2, "value_residual": true,
    "qk_norm": true, "attn_gated": true, "layers": 3"#;

/// A query that looks for what is not padding.
const MODERN_QUERY: &str = r#", "text_arch": "modern", "pad_id": 5, "attention_mode": "bidirectional", "pool_type": "map",
    "reg_tokens": 2, "norm_placement": "sandwich", "pre_norm": true, "ls_init_value": 0.1"#;

/// The tower of [`CONFIGS`] in which rounding errors grow from block to block.
pub const SENSITIVE: &str = "branches of one convolution";

pub fn model(vision: &str, text: &str) -> Model {
    // Later keys replace earlier ones.
    let merge = |base: &str, more: &str| {
        let base: serde_json::Value = serde_json::from_str(&format!("{{{base}{more}}}")).expect("JSON");
        base.to_string()
    };
    let custom = text.contains("embed_cls") || text.contains("rep_mixer");
    let config = format!(
        r#"{{"embed_dim": 24, "custom_text": {custom}, "vision_cfg": {}, "text_cfg": {}}}"#,
        merge(VIT, vision),
        merge(TEXT, text)
    );
    architecture::build(&ModelConfig::parse(config.as_bytes()).expect("a right config")).expect("supported")
}

pub fn processor() -> Processor {
    Processor::with_threads(2).expect("threads")
}

pub fn compile(model: &Model, image: bool, options: EngineOptions) -> Engine {
    let tower = if image { &model.image } else { &model.text };
    Engine::compile(tower, &model.parameters, &FormulaWeights, &processor(), options).expect("it compiles")
}

pub fn pixels(model: &Model, batch: usize) -> Vec<f32> {
    let mut pixels = Vec::new();
    for sample in 0..batch {
        let mut image = Vec::new();
        formula::image(sample, model.image_size, &mut image);
        pixels.extend(image);
    }
    pixels
}

/// Texts that end early, late, twice, immediately and never.
pub const IDS: [[i64; 12]; 6] = [
    [60, 3, 9, 5, 63, 0, 0, 0, 0, 0, 0, 0],
    [60, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 63],
    [60, 2, 63, 5, 63, 8, 1, 1, 0, 4, 0, 5],
    [63, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [9, 0, 3, 0, 2, 63, 0, 1, 0, 0, 0, 0],
];

fn worst(ours: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.0 && expected.iter().all(|value| value.is_finite()));
    ours.iter().zip(expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn features(model: &Model, passes: Passes) -> [Vec<f32>; 2] {
    let options = EngineOptions { passes, ..EngineOptions::default() };
    let images = compile(model, true, options).run_pixels(&pixels(model, 3)).expect("pixels");
    let texts = compile(model, false, options).run_tokens(IDS.as_flattened(), 12).expect("ids");
    [images, texts]
}

#[test]
fn every_pass_is_exact() {
    let all = Passes::ALL;
    let sets = [
        ("all", all),
        ("without ragged", Passes { ragged: false, ..all }),
        ("without hoist", Passes { hoist: false, ..all }),
        ("without join", Passes { join: false, ..all }),
        ("without affine", Passes { affine: false, ..all }),
        ("without branches", Passes { branches: false, ..all }),
        ("branches alone", Passes { branches: true, ..Passes::NONE }),
        ("without patches", Passes { patches: false, ..all }),
        ("without tables", Passes { tables: false, ..all }),
        ("without epilogue", Passes { epilogue: false, ..all }),
        ("ragged alone", Passes { ragged: true, ..Passes::NONE }),
        ("hoist alone", Passes { hoist: true, ..Passes::NONE }),
        ("epilogue alone", Passes { epilogue: true, ..Passes::NONE }),
    ];
    for (config, vision, text) in CONFIGS {
        let model = model(vision, text);
        let [images, texts] = features(&model, Passes::NONE);
        for (name, passes) in sets {
            let [ours, our_texts] = features(&model, passes);
            let errors = [worst(&ours, &images), worst(&our_texts, &texts)];
            // Folded biases and scales are added in another order, which costs a rounding. The deep tower, with scales
            // near 1 in every block, amplifies each rounding.
            let most = if config.starts_with("branches") { 5e-6 } else { 2e-6 };
            assert!(errors[0] <= most && errors[1] <= 1e-6, "{config}, {name}: {errors:?}");
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    for (config, vision, text) in CONFIGS {
        let model = model(vision, text);
        let image = compile(&model, true, EngineOptions::default());
        let pixels = pixels(&model, 19);
        let together = image.run_pixels(&pixels).expect("pixels");
        let one = pixels.len() / 19;
        for sample in [0, 7, 18] {
            let alone = image.run_pixels(&pixels[sample * one..(sample + 1) * one]).expect("pixels");
            assert_eq!(alone, together[sample * 24..(sample + 1) * 24], "{config}, image {sample}");
        }
        let text = compile(&model, false, EngineOptions::default());
        let together = text.run_tokens(IDS.as_flattened(), 12).expect("ids");
        for (sample, ids) in IDS.iter().enumerate() {
            let alone = text.run_tokens(ids, 12).expect("ids");
            assert_eq!(alone, together[sample * 24..(sample + 1) * 24], "{config}, text {sample}");
        }
    }
}

/// 30 images are four parts, of which three threads run one each and share the last.
#[test]
fn features_and_blocks_do_not_depend_on_the_threads() {
    let model = model("", "");
    let pixels = pixels(&model, 30);
    let run = |threads: usize| {
        let processor = Processor::with_threads(threads).expect("threads");
        let options = EngineOptions { blocks: true, ..EngineOptions::default() };
        let engine = Engine::compile(&model.image, &model.parameters, &FormulaWeights, &processor, options);
        let (features, blocks) =
            engine.expect("it compiles").run_pixels_with_blocks(&pixels).expect("pixels");
        (features, blocks.into_iter().map(|block| (block.name, block.values)).collect::<Vec<_>>())
    };
    let one = run(1);
    assert_eq!(one.0.len(), 30 * 24);
    for threads in [2, 3, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn what_follows_the_end_of_a_text_does_not_matter() {
    let engine = compile(&model("", ""), false, EngineOptions::default());
    let mut ids = IDS[0];
    let before = engine.run_tokens(&ids, 12).expect("ids");
    ids[5..].fill(17);
    assert_eq!(engine.run_tokens(&ids, 12).expect("ids"), before);
    assert_eq!(engine.run_tokens(&ids[..7], 7).expect("ids"), before);
    ids[4] = 18;
    assert!(engine.run_tokens(&ids, 12).expect("ids") != before);
}

#[test]
fn large_batches_of_many_lengths_agree_with_the_full_computation() {
    let model = model("", "");
    let mut ids = Vec::new();
    for text in 0..500_i64 {
        let length = 1 + (text * 7 % 11) as usize;
        let row: Vec<i64> =
            (0..12).map(|i| if i == length { 63 } else { (text * 5 + i as i64) % 62 }).collect();
        ids.extend(row);
    }
    let run = |passes| {
        let options = EngineOptions { passes, ..EngineOptions::default() };
        compile(&model, false, options).run_tokens(&ids, 12).expect("ids")
    };
    assert!(worst(&run(Passes::ALL), &run(Passes::NONE)) <= 1e-6);
}

#[test]
fn instruction_sets_agree() {
    let model = model("", "");
    let pixels = pixels(&model, 2);
    let mut results = Vec::new();
    for set in InstructionSet::available() {
        let processor = Processor::new(set, 1).expect("available");
        let options = EngineOptions::default();
        let engine = Engine::compile(&model.image, &model.parameters, &FormulaWeights, &processor, options)
            .expect("compiles");
        results.push(engine.run_pixels(&pixels).expect("pixels"));
    }
    for result in &results {
        assert!(worst(result, &results[0]) <= 2e-6);
    }
}

#[test]
fn blocks_are_named_and_whole() {
    let model = model("", "");
    let options = EngineOptions { blocks: true, ..EngineOptions::default() };
    let engine = compile(&model, true, options);
    let (features, blocks) = engine.run_pixels_with_blocks(&pixels(&model, 9)).expect("pixels");
    let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(names, ["visual.transformer.resblocks.0", "visual.transformer.resblocks.1"]);
    for block in &blocks {
        assert_eq!((block.width, block.values.len()), (48, 9 * 17 * 48));
    }
    let plain =
        compile(&model, true, EngineOptions::default()).run_pixels(&pixels(&model, 9)).expect("pixels");
    assert!(worst(&features, &plain) <= 1e-6);
    let text = compile(&model, false, options).run_tokens_with_blocks(&IDS[0], 12).expect("ids");
    assert_eq!(text.1.iter().map(|block| block.values.len()).collect::<Vec<_>>(), [12 * 32; 2]);
}

#[test]
fn bad_input_is_refused() {
    let model = model("", "");
    let image = compile(&model, true, EngineOptions::default());
    let text = compile(&model, false, EngineOptions::default());
    assert_eq!(image.input(), TowerInput::Pixels { height: 32, width: 32 });
    assert_eq!(text.input(), TowerInput::Tokens { least: 1, context: 12, vocabulary: 64 });
    let check = |result: Result<Vec<f32>, EngineError>, expected: &str| {
        assert_eq!(result.expect_err("it is refused").to_string(), expected);
    };
    check(
        image.run_pixels(&[0.0; 100]),
        "pixels: expected a multiple of 3072 values ([batch, 3, 32, 32]), found 100",
    );
    check(image.run_tokens(&[1, 2], 2), "the tower takes pixels, found token ids");
    check(text.run_pixels(&[0.0; 3072]), "the tower takes token ids, found pixels");
    let count = "token ids: expected texts of 1 to 12 tokens, found";
    check(text.run_tokens(&[1; 13], 13), &format!("{count} 13 ids for texts of 13"));
    check(text.run_tokens(&[1; 13], 12), &format!("{count} 13 ids for texts of 12"));
    check(text.run_tokens(&[], 0), &format!("{count} 0 ids for texts of 0"));
    let mut ids = [1; 24];
    ids[14] = 64;
    check(text.run_tokens(&ids, 12), "text 1, token 2: expected an id below 64, found 64");
    ids[14] = -1;
    check(text.run_tokens(&ids, 12), "text 1, token 2: expected an id below 64, found -1");
    assert!(image.run_pixels(&[]).expect("no image").is_empty());
    assert!(text.run_tokens(&[], 12).expect("no text").is_empty());
}

#[test]
fn a_tower_of_padded_texts_takes_whole_texts_only() {
    let mixers =
        r#", "no_causal_mask": true, "pool_type": "argmax", "rep_mixer_cfg": {"layers": [0], "kernel": 3}"#;
    let text = compile(&model("", mixers), false, EngineOptions::default());
    assert_eq!(text.input(), TowerInput::Tokens { least: 12, context: 12, vocabulary: 64 });
    let error = text.run_tokens(&[1; 11], 11).expect_err("a short text");
    let expected = "token ids: expected texts of 12 to 12 tokens, found 11 ids for texts of 11";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_nan_stays_in_its_sample() {
    let model = model("", "");
    let engine = compile(&model, true, EngineOptions::default());
    let mut values = pixels(&model, 3);
    let expected = engine.run_pixels(&values).expect("pixels");
    values[3072 + 5] = f32::NAN;
    let found = engine.run_pixels(&values).expect("pixels");
    assert!(found[24..48].iter().all(|value| value.is_nan()));
    assert_eq!((&found[..24], &found[48..]), (&expected[..24], &expected[48..]));
}

/// Weights with one tensor missing, short or of another shape.
pub struct Broken(pub &'static str);

impl Weights for Broken {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let mut values = Vec::new();
        formula::fill(name, shape, &mut values);
        match (name, self.0) {
            ("visual.ln_pre.weight", "missing") => return Err(WeightError::Missing),
            ("visual.ln_pre.weight", "short") => {
                values.pop();
            }
            ("visual.ln_pre.weight", "long") => sink(Elements::F32(&[1.0])),
            ("visual.transformer.resblocks.1.mlp.c_fc.weight", "not a number") => values[7] = f32::NAN,
            (name, "text") if !name.starts_with("visual.") => return Err(WeightError::Missing),
            _ => {}
        }
        sink(Elements::F32(&values));
        Ok(())
    }
}

#[test]
fn steps_are_timed() {
    let model = model("", "");
    let times = Arc::new(StepTimes::default());
    let engine = compile(&model, true, EngineOptions::default()).with_times(Arc::clone(&times));
    engine.run_pixels(&pixels(&model, 1)).expect("pixels");
    engine.run_pixels(&pixels(&model, 1)).expect("pixels");
    let entries = times.entries();
    let attention = entries.iter().find(|entry| entry.step == "Attention").expect("a tower attends");
    assert_eq!((attention.scope.as_str(), attention.runs), ("visual.transformer.resblocks.0.attn", 2));
    assert!(entries.iter().all(|entry| entry.runs % 2 == 0 && entry.time.as_nanos() > 0), "{entries:?}");
}

#[test]
fn weights_that_cannot_be_read_are_named() {
    let model = model("", "");
    let compile = |weights: Broken| {
        let options = EngineOptions::default();
        Engine::compile(&model.image, &model.parameters, &weights, &processor(), options).map(|_| ())
    };
    let message = |weights| compile(weights).expect_err("it is refused").to_string();
    assert_eq!(message(Broken("missing")), "tensor `visual.ln_pre.weight`: no such tensor");
    assert_eq!(message(Broken("short")), "tensor `visual.ln_pre.weight`: expected shape [48], found [47]");
    assert_eq!(message(Broken("long")), "tensor `visual.ln_pre.weight`: expected shape [48], found [49]");
    compile(Broken("text")).expect("an image tower reads only its own weights");
}

#[test]
fn an_encoder_is_its_towers() {
    let model = model("", "");
    let settings = EncoderSettings { logit_scale: 100.0, logit_bias: None, embed_dim: 24 };
    let image = compile(&model, true, EngineOptions::default());
    let plain = image.run_pixels(&pixels(&model, 2)).expect("pixels");
    let encoder = Encoder::new(Some(Box::new(image)), None, settings).expect("an encoder");
    let features = encoder.encode_image(&pixels(&model, 2)).expect("pixels");
    assert_eq!(features, plain);
    let error = encoder.encode_text(&IDS[0], 12).expect_err("there is no text tower");
    assert_eq!(error.to_string(), "the text tower is not loaded");
    let description = encoder.describe();
    let input = description.image.map(|tower| tower.input);
    assert_eq!((input, description.text), (Some(TowerInput::Pixels { height: 32, width: 32 }), None));
    let settings = EncoderSettings { embed_dim: 25, ..settings };
    let image = compile(&model, true, EngineOptions::default());
    let error =
        Encoder::new(Some(Box::new(image)), None, settings).expect_err("the width is wrong").to_string();
    assert_eq!(error, "image tower: expected features of 25 values, found 24");
}

#[test]
fn the_graph_of_coca_gives_its_features_length_1() {
    let towers = |more: &str| {
        let config = format!(
            r#"{{"embed_dim": 24, "custom_text": true, "vision_cfg": {{{VIT}}}, "text_cfg": {{{TEXT}}}{more}}}"#
        );
        architecture::build(&ModelConfig::parse(config.as_bytes()).expect("right")).expect("supported")
    };
    let decoder = format!(r#", "multimodal_cfg": {{{TEXT}}}"#);
    let (plain, coca) = (towers(""), towers(&decoder));
    for image in [true, false] {
        let features = |model: &Model| {
            let engine = compile(model, image, EngineOptions::default());
            let ids = IDS.as_flattened();
            let found = if image { engine.run_pixels(&pixels(model, 2)) } else { engine.run_tokens(ids, 12) };
            found.expect("it runs")
        };
        let (plain, coca) = (features(&plain), features(&coca));
        for (plain, coca) in plain.chunks_exact(24).zip(coca.chunks_exact(24)) {
            let length = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
            assert!((length(plain) - 1.0).abs() > 0.01 && (length(coca) - 1.0).abs() < 1e-6);
            let scaled: Vec<f32> = plain.iter().map(|value| value / length(plain)).collect();
            assert!(worst(coca, &scaled) < 1e-6);
        }
    }
}
