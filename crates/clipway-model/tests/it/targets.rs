//! Exports under other projects' names: there and back bit for bit, and what they cannot express.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, WeightsFormat, WriteOptions};
use clipway_model::layout::Layout;
use clipway_model::plan::{Fate, Towers};
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;

use super::bench::{Bench, write_options};

const VISION: &str = r#""image_size": 8, "layers": 2, "width": 16, "head_width": 4, "patch_size": 4"#;
const TEXT: &str = r#""context_length": 6, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1"#;
const OPENAI_VISION: &str = r#""image_size": 8, "layers": 2, "width": 64, "patch_size": 4"#;
const OPENAI_TEXT: &str = r#""context_length": 6, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1"#;
const RESNET: &str = r#""image_size": 32, "layers": [1, 1, 2, 1], "width": 8"#;

const SIGLIP_VISION: &str = r#""image_size": 8, "timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map",
    "timm_proj": "none", "timm_model_kwargs": {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2,
    "num_heads": 4, "norm_eps": 1e-5}"#;
const SIGLIP_TEXT: &str = r#""no_causal_mask": true, "proj_bias": true, "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6}"#;

/// Returns a small SigLIP model whose embedding is as wide as its image tower.
fn siglip() -> String {
    let text = format!("{TEXT}, {SIGLIP_TEXT}");
    config(r#""custom_text": true, "init_logit_bias": -10,"#, SIGLIP_VISION, &text)
        .replace("\"embed_dim\": 8", "\"embed_dim\": 16")
}

fn config(more: &str, vision: &str, text: &str) -> String {
    format!(r#"{{"embed_dim": 8, {more} "vision_cfg": {{{vision}}}, "text_cfg": {{{text}}}}}"#)
}

/// Writes a folder next to the bench's and returns its path.
fn export(bench: &Bench, source: &Path, options: SourceOptions, target: &str, place: &str) -> PathBuf {
    let target = Target::named(target).unwrap();
    let checkpoint = Checkpoint::open(source).unwrap();
    let cancel = AtomicBool::new(false);
    let write_options = WriteOptions { formats: vec![target.format], ..write_options(&cancel) };
    let place = bench.path(place);
    let source = Source::of(checkpoint, &options).unwrap();
    Export::prepare(&source, target.spelling).unwrap().write(&place, &write_options).unwrap();
    place
}

/// Returns the bytes of every tensor, by its name without `text.`.
fn tensors(source: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let checkpoint = Checkpoint::open(source).unwrap();
    let file = checkpoint.tensors();
    let read = |(index, info): (usize, &clipway_formats::TensorInfo)| {
        let mut bytes = Vec::new();
        file.read(index, &mut bytes).unwrap();
        let name = info.name.strip_prefix("text.").unwrap_or(&info.name).to_owned();
        (name, (info.shape.clone(), bytes))
    };
    file.tensors().iter().enumerate().map(read).collect()
}

#[test]
fn there_and_back_changes_no_bit() {
    let check = |target: &str, layout: &str, config: String| {
        let bench = Bench::of(&config);
        let source = bench.write_source("tiny.safetensors");
        let there = export(&bench, &source, bench.options(), target, "out/there");
        let checkpoint = Checkpoint::open(&there).unwrap();
        let found = Layout::recognize(&checkpoint.weights(None).unwrap().state_dict).unwrap();
        assert_eq!(found.name, layout, "{config}");
        let back = export(&bench, &there, SourceOptions::default(), "open_clip", "out/back");
        let (first, last) = (tensors(&source), tensors(&back));
        assert!(first.len() > 20 && first == last, "{config}");
        let again = export(&bench, &back, SourceOptions::default(), target, "out/again");
        assert!(tensors(&again) == tensors(&there), "{config}");
    };
    let transformers = |more: &str, vision: &str, text: &str| {
        let config = config(more, &format!("{VISION}{vision}"), &format!("{TEXT}{text}"));
        check("transformers", "transformers_clip", config);
    };
    transformers("", "", "");
    transformers(r#""quick_gelu": true,"#, r#", "mlp_ratio": 2.5"#, r#", "pool_type": "eos", "eos_id": 49"#);
    transformers(r#""custom_text": true,"#, "", r#", "norm_kwargs": {"eps": 1e-6}"#);
    let tanh = r#", "act_kwargs": {"approximate": "tanh"}"#;
    transformers("", tanh, "");
    check("transformers", "transformers_siglip", siglip());
    check("openai", "openai", config(r#""quick_gelu": true,"#, OPENAI_VISION, OPENAI_TEXT));
    check("openai", "openai", config(r#""quick_gelu": true,"#, RESNET, OPENAI_TEXT));
}

#[test]
fn the_config_says_the_same_after_the_way_back() {
    let text = format!(r#"{TEXT}, "pool_type": "eos", "eos_id": 49, "mlp_ratio": 1.7"#);
    let vision =
        format!(r#"{VISION}, "act_kwargs": {{"approximate": "tanh"}}, "norm_kwargs": {{"eps": 1e-7}}"#);
    let bench = Bench::of(&config("", &vision, &text));
    let source = bench.write_source("tiny.safetensors");
    let preprocess = clipway_model::config::PreprocessOptions {
        mean: Some([0.5, 0.25, 0.125]),
        resize_mode: Some(clipway_model::config::ResizeMode::Squash),
        interpolation: Some(clipway_model::config::Interpolation::Bilinear),
        ..Default::default()
    };
    let options = SourceOptions { preprocess, ..bench.options() };
    let there = export(&bench, &source, options, "transformers", "out/there");
    let checkpoint = Checkpoint::open(&there).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    let (model, pixels) = (&prepared.config().model, prepared.config().preprocess());
    assert_eq!((model.vision.head_width, model.vision.norm.epsilon), (4, 1e-7));
    assert_eq!((model.vision.activation.tanh, model.text.activation.tanh), (Some(true), None));
    assert_eq!((model.text.eos_id, model.text.mlp_width(), model.text.heads), (49, 27, 2));
    assert_eq!((pixels.mean, pixels.resize_mode.name()), ([0.5, 0.25, 0.125], "squash"));
    assert_eq!(pixels.interpolation.name(), "bilinear");
}

#[test]
fn the_epsilon_of_siglip_s_image_tower_is_kept() {
    let bench = Bench::of(&siglip());
    let source = bench.write_source("tiny.safetensors");
    let there = export(&bench, &source, bench.options(), "transformers", "out/there");
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(there.join("config.json")).unwrap()).unwrap();
    assert_eq!(document["vision_config"]["layer_norm_eps"], 1e-5);
    assert_eq!(document["text_config"]["layer_norm_eps"], 1e-6);
    let checkpoint = Checkpoint::open(&there).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    let timm = prepared.config().model.vision.timm.as_ref().unwrap();
    assert_eq!(timm.changes.norm_epsilon, Some(1e-5));
}

#[test]
fn numbers_that_are_made_stand_in_the_ledger() {
    let bench = Bench::of(&config(r#""quick_gelu": true,"#, OPENAI_VISION, OPENAI_TEXT));
    let source = bench.write_source("tiny.safetensors");
    let there = export(&bench, &source, bench.options(), "openai", "out/there");
    let found = tensors(&there);
    let number = |name: &str| i64::from_le_bytes(found[name].1[..].try_into().unwrap());
    assert_eq!(["input_resolution", "context_length", "vocab_size"].map(number), [8, 6, 50]);
    let checkpoint = Checkpoint::open(&source).unwrap();
    let spelling = Target::named("openai").unwrap().spelling;
    let source = Source::of(checkpoint, &bench.options()).unwrap();
    let export = Export::prepare(&source, spelling).unwrap();
    let made = export.ledger().groups.last().unwrap();
    assert_eq!((made.fate, made.rule.as_str(), made.tensors, made.bytes), (Fate::Made, "fill", 3, 24));
}

#[test]
fn what_a_target_cannot_express_is_refused_all_at_once() {
    let check = |target: &str, options: fn(&mut SourceOptions), config: String, parts: &[&str]| {
        let bench = Bench::of(&config);
        let checkpoint = Checkpoint::open(bench.write_source("tiny.safetensors")).unwrap();
        let spelling = Target::named(target).unwrap().spelling;
        let mut all = bench.options();
        options(&mut all);
        let source = Source::of(checkpoint, &all).unwrap();
        let found = Export::prepare(&source, spelling).unwrap_err().to_string();
        assert!(parts.iter().all(|part| found.contains(part)), "{config}: {found}");
    };
    let vision = format!(r#"{VISION}, "ls_init_value": 0.1, "pool_type": "avg", "no_ln_pre": true"#);
    let text = format!(r#"{TEXT}, "no_causal_mask": true, "pool_type": "last", "proj_bias": true"#);
    let keys = [
        "`vision_cfg.ls_init_value`",
        "`vision_cfg.pool_type`",
        "`vision_cfg.no_ln_pre`",
        "`text_cfg.no_causal_mask`",
        "`text_cfg.pool_type`",
        "`text_cfg.proj_bias`",
        "`init_logit_bias`",
    ];
    for target in ["transformers", "openai"] {
        check(target, |_| {}, config(r#""init_logit_bias": -10,"#, &vision, &text), &keys);
    }
    let mixers = format!(r#"{TEXT}, "rep_mixer_cfg": {{"layers": [0], "kernel": 3}}"#);
    for target in ["transformers", "openai"] {
        let custom = config(r#""custom_text": true,"#, VISION, &mixers);
        check(target, |_| {}, custom, &["`text_cfg.rep_mixer_cfg`"]);
    }
    let plain = || config("", VISION, TEXT);
    let one_tower = |options: &mut SourceOptions| options.tower = Some(Towers::Text);
    check("openai", one_tower, plain(), &["only the text tower: this target needs both"]);
    // What a tower alone cannot express is not asked of the other one.
    let seeing = format!(r#"{TEXT}, "no_causal_mask": true"#);
    check("transformers", one_tower, config("", RESNET, &seeing), &["`text_cfg.no_causal_mask`"]);
    check("transformers", |_| {}, config("", RESNET, TEXT), &["`vision_cfg.layers`: a ResNet"]);
    let longest = |options: &mut SourceOptions| {
        options.preprocess.resize_mode = Some(clipway_model::config::ResizeMode::Longest);
    };
    check("transformers", longest, plain(), &["`preprocess_cfg.resize_mode`"]);
    let heads = ["`quick_gelu`: false", "`vision_cfg.head_width`: 4", "`text_cfg.heads`: 2"];
    check("openai", |_| {}, plain(), &heads);
    let siglip = r#""timm_model_name": "vit_base_patch16_siglip_224", "image_size": 16, "timm_pool": "map",
        "timm_proj": "none", "timm_model_kwargs": {"img_size": 8, "patch_size": 4, "embed_dim": 8, "num_heads": 2,
        "depth": 1, "mlp_ratio": 2}"#;
    let resized = "`vision_cfg.image_size`: the positions are stored for 8x8 images";
    check("transformers", |_| {}, config("", siglip, TEXT), &[resized]);
    let mean = |options: &mut SourceOptions| options.preprocess.mean = Some([0.0; 3]);
    let own = config(r#""quick_gelu": true,"#, OPENAI_VISION, OPENAI_TEXT);
    check("openai", mean, own, &["`preprocess_cfg.mean`"]);
    let canonical = format!(r#"{OPENAI_TEXT}, "tokenizer_kwargs": {{"clean": "canonicalize"}}"#);
    let own = config(r#""quick_gelu": true,"#, OPENAI_VISION, &canonical);
    check("openai", |_| {}, own, &["`text_cfg.tokenizer_kwargs.clean`"]);
}

#[test]
fn a_tower_alone_is_written_for_transformers_class_of_it() {
    let resnet = config("", RESNET, TEXT);
    let bare = config("", VISION, &format!(r#"{TEXT}, "proj_type": "none""#))
        .replace("\"embed_dim\": 8", "\"embed_dim\": 16");
    for (config, tower, class, kind, beside) in [
        (config("", VISION, TEXT), Towers::Image, "CLIPVisionModelWithProjection", "clip_vision_model", true),
        (config("", VISION, TEXT), Towers::Text, "CLIPTextModelWithProjection", "clip_text_model", false),
        // The other tower means nothing.
        (resnet, Towers::Text, "CLIPTextModelWithProjection", "clip_text_model", false),
        (bare, Towers::Text, "CLIPTextModel", "clip_text_model", false),
        (siglip(), Towers::Image, "SiglipVisionModel", "siglip_vision_model", true),
        (siglip(), Towers::Text, "SiglipTextModel", "siglip_text_model", false),
    ] {
        let bench = Bench::of(&config);
        let source = bench.write_source("tiny.safetensors");
        let options = SourceOptions { tower: Some(tower), ..bench.options() };
        let there = export(&bench, &source, options, "transformers", "out/there");
        let document: serde_json::Value =
            serde_json::from_slice(&std::fs::read(there.join("config.json")).unwrap()).unwrap();
        assert_eq!((&document["architectures"][0], &document["model_type"]), (&class.into(), &kind.into()));
        assert_eq!(there.join("preprocessor_config.json").exists(), beside, "{class}");
        assert!(tensors(&there).keys().all(|name| !name.starts_with("logit_")), "{class}");
        // Back in open_clip's names, each tensor is the source's.
        let back = export(&bench, &there, SourceOptions::default(), "open_clip", "out/back");
        let (first, last) = (tensors(&source), tensors(&back));
        let is_image = |name: &str| name.starts_with("visual.");
        let kept: BTreeMap<_, _> = first
            .into_iter()
            .filter(|(name, _)| !name.starts_with("logit_") && is_image(name) == (tower == Towers::Image))
            .collect();
        assert!(kept.len() > 10 && last == kept, "{class}: {:?} {:?}", kept.keys(), last.keys());
    }
    // Tensors that open_clip splits are dropped once with their tower.
    let bench = Bench::of(&siglip());
    let whole =
        export(&bench, &bench.write_source("tiny.safetensors"), bench.options(), "transformers", "out/whole");
    let text = SourceOptions { tower: Some(Towers::Text), ..SourceOptions::default() };
    let there = export(&bench, &whole, text, "transformers", "out/there");
    assert!(tensors(&there).keys().all(|name| name.starts_with("text_model.")));
}

#[test]
fn a_tower_for_any_aspect_ratio_is_folded_to_its_size_for_transformers() {
    let naflex = r#""image_size": [12, 12], "timm_model_name": "naflexvit_base_patch16_siglip", "timm_pool": "map",
        "timm_proj": "none", "timm_model_kwargs": {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4,
        "pos_embed_grid_size": [2, 2]}"#;
    let bench = Bench::of(&siglip().replace(SIGLIP_VISION, naflex));
    let source = bench.write_source("tiny.safetensors");
    let there = export(&bench, &source, bench.options(), "transformers", "out/there");
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(there.join("config.json")).unwrap()).unwrap();
    let vision = &document["vision_config"];
    assert_eq!((&document["model_type"], &vision["image_size"]), (&"siglip".into(), &12.into()));
    assert_eq!((&vision["patch_size"], &vision["hidden_act"]), (&4.into(), &"gelu_pytorch_tanh".into()));
    let (before, after) = (tensors(&source), tensors(&there));
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let (shape, patches) = &after["vision_model.embeddings.patch_embedding.weight"];
    assert_eq!(shape, &[16, 3, 4, 4]);
    let (rows, filters) = (floats(&before["visual.trunk.embeds.proj.weight"].1), floats(patches));
    for (place, value) in filters.iter().enumerate() {
        let (output, channel, pixel) = (place / 48, place / 16 % 3, place % 16);
        assert_eq!(*value, rows[output * 48 + pixel * 3 + channel]);
    }
    let (shape, positions) = &after["vision_model.embeddings.position_embedding.weight"];
    assert_eq!(shape, &[9, 16]);
    let (grid, positions) = (floats(&before["visual.trunk.embeds.pos_embed"].1), floats(positions));
    // The corners stay, and the center is the mean of all four places.
    assert_eq!((positions[..16] == grid[..16], positions[8 * 16..] == grid[3 * 16..]), (true, true));
    let mean = (grid[0] + grid[16] + grid[32] + grid[48]) / 4.0;
    assert!((positions[4 * 16] - mean).abs() < 1e-6, "{} {mean}", positions[4 * 16]);
}

#[test]
fn the_end_token_with_the_highest_id_is_what_openai_s_code_uses() {
    let highest = format!(r#"{OPENAI_TEXT}, "pool_type": "eos", "eos_id": 49"#);
    let bench = Bench::of(&config(r#""quick_gelu": true,"#, OPENAI_VISION, &highest));
    let there =
        export(&bench, &bench.write_source("tiny.safetensors"), bench.options(), "openai", "out/there");
    assert!(tensors(&there).contains_key("input_resolution"));
    let other = Bench::of(&config(r#""quick_gelu": true,"#, OPENAI_VISION, &highest.replace("49", "48")));
    let source = Source::resolve(other.write_source("tiny.safetensors"), &other.options()).unwrap();
    let error = Export::prepare(&source, Target::named("openai").unwrap().spelling).unwrap_err();
    assert!(error.to_string().contains("`text_cfg.pool_type`"), "{error}");
}

#[test]
fn names_of_targets_are_known() {
    assert_eq!(Target::named("transformers").unwrap().format, WeightsFormat::Safetensors);
    assert!(Target::named("caffe").is_none());
}

#[test]
fn attentions_and_patches_may_be_stored_otherwise() {
    let mut bench = Bench::of(&config("", VISION, TEXT));
    let source = bench.write_source("tiny.safetensors");
    let expected = tensors(&export(&bench, &source, bench.options(), "open_clip", "out/as-it-is"));
    let fused =
        bench.tensors.iter().position(|(info, _)| info.name.ends_with("0.attn.in_proj_weight")).unwrap();
    let (info, bytes) = bench.tensors.remove(fused);
    let stem = info.name.trim_end_matches("in_proj_weight");
    for (index, part) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        let third = bytes.len() / 3;
        let shape = vec![info.shape[0] / 3, info.shape[1]];
        let info =
            clipway_formats::TensorInfo { name: format!("{stem}{part}.weight"), shape, ..info.clone() };
        bench.tensors.push((info, bytes[index * third..(index + 1) * third].to_vec()));
    }
    let patches = bench.tensors.iter_mut().find(|(info, _)| info.name == "visual.conv1.weight").unwrap();
    patches.0.shape = vec![16, 48];
    let source = bench.write_source("split.safetensors");
    let found = tensors(&export(&bench, &source, bench.options(), "open_clip", "out/otherwise"));
    assert!(found == expected);
}
