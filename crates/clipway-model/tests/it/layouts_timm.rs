//! Layouts whose image tower is timm's in open_clip: SigLIP of transformers and of big_vision, Apple's MobileCLIP; and
//! those that are recognized and refused.

use std::fs;
use std::path::{Path, PathBuf};

use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::PixelRule;
use clipway_model::export::Export;
use clipway_model::layout::Layout;
use clipway_model::plan::Step;
use clipway_model::source::{Source, SourceOptions};

use super::layouts::{Named, linear, transformers_block, write};

pub const CONFIG: &str = r#"{"model_type": "siglip",
    "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 50, "max_position_embeddings": 6},
    "vision_config": {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 8, "patch_size": 4}}"#;

/// Returns names and shapes of the [`CONFIG`] model in transformers.
pub fn siglip() -> Vec<Named> {
    let mut tensors: Vec<Named> = vec![
        ("logit_scale".into(), vec![1]),
        ("logit_bias".into(), vec![1]),
        ("vision_model.embeddings.position_embedding.weight".into(), vec![4, 16]),
        ("vision_model.head.probe".into(), vec![1, 1, 16]),
        ("text_model.embeddings.token_embedding.weight".into(), vec![50, 16]),
        ("text_model.embeddings.position_embedding.weight".into(), vec![6, 16]),
    ];
    tensors.extend(linear("vision_model.embeddings.patch_embedding", &[16, 3, 4, 4]));
    tensors.push(("vision_model.head.attention.in_proj_weight".into(), vec![48, 16]));
    tensors.push(("vision_model.head.attention.in_proj_bias".into(), vec![48]));
    for (name, shape) in [
        ("vision_model.head.attention.out_proj", vec![16, 16]),
        ("vision_model.head.layernorm", vec![16]),
        ("vision_model.head.mlp.fc1", vec![40, 16]),
        ("vision_model.head.mlp.fc2", vec![16, 40]),
        ("vision_model.post_layernorm", vec![16]),
        ("text_model.final_layer_norm", vec![16]),
        ("text_model.head", vec![16, 16]),
    ] {
        tensors.extend(linear(name, &shape));
    }
    for (block, mlp) in [
        ("vision_model.encoder.layers.0", 40),
        ("vision_model.encoder.layers.1", 40),
        ("text_model.encoder.layers.0", 32),
    ] {
        tensors.extend(transformers_block(block, mlp));
    }
    tensors
}

/// Returns names and shapes of a small big_vision model; all blocks share one tensor if `stacked`.
pub fn big_vision(stacked: bool) -> Vec<Named> {
    let mut tensors: Vec<Named> = vec![
        ("params/t".into(), vec![1]),
        ("params/b".into(), vec![1]),
        ("params/img/embedding/kernel".into(), vec![4, 4, 3, 16]),
        ("params/img/embedding/bias".into(), vec![16]),
        ("params/img/pos_embedding".into(), vec![1, 4, 16]),
        ("params/img/MAPHead_0/probe".into(), vec![1, 1, 16]),
        ("params/txt/Embed_0/embedding".into(), vec![50, 16]),
        ("params/txt/pos_embedding".into(), vec![1, 6, 16]),
        ("params/txt/head/kernel".into(), vec![16, 16]),
        ("params/txt/head/bias".into(), vec![16]),
    ];
    let attention = |block: &str, before: &[usize]| {
        let with = |shape: &[usize]| [before, shape].concat();
        let mut parts = Vec::new();
        for part in ["query", "key", "value"] {
            parts.push((format!("{block}/MultiHeadDotProductAttention_0/{part}/kernel"), with(&[16, 2, 8])));
            parts.push((format!("{block}/MultiHeadDotProductAttention_0/{part}/bias"), with(&[2, 8])));
        }
        parts.push((format!("{block}/MultiHeadDotProductAttention_0/out/kernel"), with(&[2, 8, 16])));
        parts.push((format!("{block}/MultiHeadDotProductAttention_0/out/bias"), with(&[16])));
        for (norm, leaf) in [("LayerNorm_0", "scale"), ("LayerNorm_0", "bias")] {
            parts.push((format!("{block}/{norm}/{leaf}"), with(&[16])));
        }
        parts.push((format!("{block}/MlpBlock_0/Dense_0/kernel"), with(&[16, 40])));
        parts.push((format!("{block}/MlpBlock_0/Dense_0/bias"), with(&[40])));
        parts.push((format!("{block}/MlpBlock_0/Dense_1/kernel"), with(&[40, 16])));
        parts.push((format!("{block}/MlpBlock_0/Dense_1/bias"), with(&[16])));
        parts
    };
    for tower in ["params/img/Transformer", "params/txt/Encoder_0"] {
        let blocks: &[(String, &[usize])] = &if stacked {
            vec![(format!("{tower}/encoderblock"), &[2][..])]
        } else {
            (0..2).map(|index| (format!("{tower}/encoderblock_{index}"), &[][..])).collect()
        };
        for (block, before) in blocks {
            tensors.extend(attention(block, before));
            for leaf in ["scale", "bias"] {
                tensors.push((format!("{block}/LayerNorm_1/{leaf}"), [*before, &[16][..]].concat()));
            }
        }
        for leaf in ["scale", "bias"] {
            tensors.push((format!("{tower}/encoder_norm/{leaf}"), vec![16]));
        }
    }
    tensors.extend(attention("params/img/MAPHead_0", &[]));
    tensors
}

fn with_prepared(folder: &Path, tensors: &[Named], look: impl FnOnce(&Source)) {
    let checkpoint = Checkpoint::open(write(folder, "model.safetensors", tensors)).unwrap();
    look(&Source::of(checkpoint, &SourceOptions::default()).unwrap());
}

#[test]
fn siglip_folders_become_open_clip_by_plan() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    with_prepared(folder.path(), &siglip(), |prepared| {
        assert_eq!(prepared.layout().name, "transformers_siglip");
        let config = &prepared.config().model;
        assert_eq!((config.text.activation.tanh, config.text.norm.epsilon), (Some(true), 1e-6));
        assert_eq!(config.beyond_open_clip(), ["vision_cfg.timm_model_kwargs"]);
        let export = Export::prepare(prepared, Default::default()).unwrap();
        assert!(export.notes().iter().any(|note| note.contains("open_clip 3.3.0 cannot load")));
        assert_eq!(prepared.config().preprocess().mean, [0.5; 3]);
        let find = |name: &str| prepared.plan().tensors.iter().find(|one| one.target.name == name).unwrap();
        let keys = find("visual.trunk.attn_pool.kv.weight");
        assert_eq!(keys.steps, [Step::Slice { axis: 0, start: 16, end: 48 }]);
        assert_eq!(find("visual.trunk.pos_embed").target.shape, [1, 4, 16]);
        assert_eq!(find("logit_bias").target.shape, [0usize; 0]);
        assert_eq!(prepared.ledger().source_tensors, siglip().len());
    });
}

#[test]
fn big_vision_is_told_by_its_shapes() {
    let check = |stacked: bool| {
        let folder = tempfile::tempdir().unwrap();
        let tensors = big_vision(stacked);
        with_prepared(folder.path(), &tensors, |prepared| {
            assert_eq!(prepared.layout().name, "big_vision");
            let config = &prepared.config().model;
            assert_eq!((config.text.heads, config.text.mlp_width(), config.text.layers), (2, 40, 2));
            assert_eq!((config.vision.image_size, config.text.context_length), ([8, 8], 6));
            let find =
                |name: &str| prepared.plan().tensors.iter().find(|one| one.target.name == name).unwrap();
            assert_eq!(find("visual.trunk.blocks.1.attn.qkv.weight").target.shape, [48, 16]);
            assert_eq!(find("text.transformer.resblocks.1.attn.in_proj_bias").target.shape, [48]);
            assert_eq!(find("visual.trunk.attn_pool.kv.weight").sources.len(), 2);
            assert_eq!(find("visual.trunk.patch_embed.proj.weight").target.shape, [16, 3, 4, 4]);
            assert_eq!(prepared.ledger().source_tensors, tensors.len());
        });
    };
    check(false);
    check(true);
}

/// Returns names and shapes of a small big_vision model for any aspect ratio: patches by a matrix, positions on a grid.
fn big_vision_naflex(patches: &[usize], positions: &[usize]) -> Vec<Named> {
    let mut tensors = big_vision(false);
    for (name, shape) in &mut tensors {
        match name.as_str() {
            "params/img/embedding/kernel" => *shape = patches.to_vec(),
            "params/img/pos_embedding" => *shape = positions.to_vec(),
            _ => {}
        }
    }
    tensors
}

#[test]
fn big_vision_for_any_aspect_ratio_is_told_by_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = big_vision_naflex(&[48, 16], &[2, 2, 16]);
    with_prepared(folder.path(), &tensors, |prepared| {
        let vision = &prepared.config().model.vision;
        let trunk = vision.timm.as_ref().unwrap();
        assert_eq!((vision.image_size, trunk.model_name.as_str()), ([8, 8], "naflexvit_base_patch16_siglip"));
        assert_eq!((trunk.changes.grid, trunk.changes.patch_size), (Some([2, 2]), Some(4)));
        // GELU's tanh approximation is that name's.
        assert_eq!((trunk.changes.tanh, trunk.changes.heads), (None, Some(2)));
        let find = |name: &str| prepared.plan().tensors.iter().find(|one| one.target.name == name).unwrap();
        assert_eq!(find("visual.trunk.embeds.proj.weight").steps, [Step::Transpose { axes: vec![1, 0] }]);
        assert_eq!(find("visual.trunk.embeds.pos_embed").target.shape, [1, 2, 2, 16]);
        assert!(prepared.notes().iter().any(|note| note.contains("the fixed size 8x8")));
        assert_eq!(prepared.ledger().source_tensors, tensors.len());
    });
    for (patches, positions, says) in [
        (&[48, 16][..], &[2, 3, 16][..], "`img/pos_embedding`: 2x3 positions are not a square"),
        (&[48, 16], &[0, 0, 16], "`img/pos_embedding`: 0x0 positions are not a square"),
        (&[48, 16], &[2, 2, 8], "`img/pos_embedding`: 8 wide, but `img/embedding/kernel` gives 16 values"),
        (&[48, 16], &[4, 16], "`img/pos_embedding`: expected 3 dimensions, found [4, 16]"),
        (
            &[50, 16],
            &[2, 2, 16],
            "`img/embedding/kernel`: 50 values do not form a square patch of 3 channels",
        ),
        (&[48], &[2, 2, 16], "`img/embedding/kernel`: expected 4 dimensions, found [48]"),
    ] {
        let path = write(folder.path(), "odd.safetensors", &big_vision_naflex(patches, positions));
        let error = Source::resolve(&path, &SourceOptions::default()).unwrap_err();
        assert_eq!(error.code(), "contradiction", "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_told_all_at_once() {
    let check = |name: &str, tensors: Vec<Named>, config: &str, parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        let checkpoint = Checkpoint::open(write(folder.path(), "model.safetensors", &tensors)).unwrap();
        let found = Source::of(checkpoint, &SourceOptions::default()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| found.contains(part)), "{name}: {found}");
    };
    let wrong = CONFIG
        .replace("\"vocab_size\": 50", "\"vocab_size\": 51, \"projection_size\": 8")
        .replace("\"image_size\": 8", "\"image_size\": 12, \"hidden_act\": \"quick_gelu\"")
        .replace("\"patch_size\": 4", "\"patch_size\": 4, \"vision_use_head\": false");
    let parts = ["51, but", "8, but", "quick_gelu", "vision_use_head", "have 4"];
    check("contradictions", siglip(), &wrong, &parts);
    let without: Vec<Named> =
        siglip().into_iter().filter(|(name, _)| !name.contains("encoder.layers.0.layer_norm1")).collect();
    check("block", without, CONFIG, &["blocks.0.norm1.weight`: missing", "resblocks.0.ln_1.bias`: missing"]);
    let mut mixed = siglip();
    mixed.push(("img/embedding/kernel".into(), vec![4, 4, 3, 16]));
    check("mixed", mixed, CONFIG, &["several layouts", "Google big_vision", "Hugging Face"]);
    check(
        "kind",
        siglip(),
        &CONFIG.replace("\"siglip\"", "\"odd_siglip\""),
        &["expected `siglip` or `siglip2`, found `odd_siglip`"],
    );
    check(
        "other kind",
        siglip(),
        &CONFIG.replace("\"siglip\"", "\"aimv2\""),
        &["this is AIMv2, which cannot be converted"],
    );
}

#[test]
fn other_models_are_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |names: &[(&str, &[usize])], layout: &str, why: &str| {
        let tensors: Vec<Named> =
            names.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        let checkpoint = Checkpoint::open(write(folder.path(), "model.safetensors", &tensors)).unwrap();
        let weights = checkpoint.weights(None).unwrap();
        assert_eq!(Layout::recognize(&weights.state_dict).unwrap().name, layout);
        let found = Source::of(checkpoint, &SourceOptions::default()).unwrap_err().to_string();
        assert!(found.contains(why), "{layout}: {found}");
    };
    let text: (&str, &[usize]) = ("text_model.encoder.layers.0.layer_norm1.weight", &[16]);
    let bert: (&str, &[usize]) = ("text_model.encoder.layer.0.attention.self.query.weight", &[16, 16]);
    let patches = "vision_model.embeddings.patch_embedding.weight";
    check(
        &[("mit.position_embedding", &[1, 8, 16]), (patches, &[16, 3, 4, 4]), text],
        "transformers_xclip",
        "video",
    );
    check(&[("clip.text_model.final_layer_norm.weight", &[16])], "transformers_clipseg", "segmentation");
    check(&[("owlvit.text_model.final_layer_norm.weight", &[16])], "transformers_owlvit", "object detection");
    check(
        &[("text_model.roberta.embeddings.word_embeddings.weight", &[5, 16])],
        "transformers_altclip",
        "XLM-RoBERTa",
    );
    let qkv = "vision_model.encoder.layers.0.self_attn.qkv.weight";
    check(&[(qkv, &[48, 16]), bert], "transformers_blip", "attend to each other");
    check(&[(patches, &[16, 3, 4, 4]), bert], "transformers_dual_other", "pooler");
    check(
        &[("vision_model.embeddings.convolution.weight", &[16, 3, 3, 3]), bert],
        "transformers_align",
        "EfficientNet",
    );
    check(&[("vision_model.encoder.stages.0.x", &[16]), text], "transformers_groupvit", "groups patches");
    for sound in ["audio_model.x", "audio_branch.patch_embed.proj.weight", "audio.encoder.trunk.norm.weight"]
    {
        check(
            &[(sound, &[16]), text, ("text.ln_final.weight", &[16])],
            "clap",
            "it compares sound and texts",
        );
    }
    check(&[("multimodal_model.x", &[16]), text], "transformers_flava", "third tower");
    let words = [("text_embed.weight", &[9, 16][..]), ("lm_head.weight", &[9, 16])];
    for patches in ["patch_embed.proj.weight", "audio_embed.proj.weight"] {
        let trunk = [("trunk.layers.0.ln1.weight", &[16][..]), ("visual.trunk.layers.0.ln1.weight", &[16])];
        check(
            &[words[0], words[1], (patches, &[16, 48]), trunk[0], trunk[1]],
            "open_clip_generative",
            "writes texts",
        );
    }
    check(
        &[(patches, &[16, 3, 4, 4]), ("classifier.weight", &[5, 16]), ("classifier.bias", &[5])],
        "transformers_classifier",
        "mean of the patches",
    );
    let block = ("blocks.0.norm1.weight", &[16][..]);
    check(&[("patch_embed.proj.weight", &[16, 3, 4, 4]), block], "timm", "a timm image model alone");
    check(&[(patches, &[16, 3, 4, 4])], "transformers_other", "both towers and their projections");
    check(
        &[("visual.blocks.0.x", &[16]), ("visual.patch_embed.proj.weight", &[16, 3, 4, 4])],
        "timm_visual",
        "visual.trunk.",
    );
    check(
        &[
            ("visual.blocks.0.x", &[16]),
            ("visual.patch_embed.proj.weight", &[16, 3, 4, 4]),
            ("image_projection", &[16, 8]),
        ],
        "slip",
        "this is SLIP",
    );
}

/// The config of [`naflex`] and its image processor.
const NAFLEX_FILES: [&str; 2] = ["config.json", "preprocessor_config.json"];

/// Writes a small `Siglip2Model` with its files; returns the path of the weights, and the files' texts.
pub fn naflex(folder: &Path) -> (PathBuf, [String; 2]) {
    let mut tensors = siglip();
    let patches = "vision_model.embeddings.patch_embedding.weight";
    tensors.iter_mut().find(|(name, _)| name == patches).unwrap().1 = vec![16, 3 * 4 * 4];
    let config =
        CONFIG.replace("\"siglip\"", "\"siglip2\"").replace("\"image_size\": 8", "\"num_patches\": 4");
    let processor =
        r#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "max_num_patches": 4}"#;
    let texts = [config, processor.to_owned()];
    for (file, text) in NAFLEX_FILES.iter().zip(&texts) {
        fs::write(folder.join(file), text).unwrap();
    }
    (write(folder, "model.safetensors", &tensors), texts)
}

#[test]
fn a_model_of_any_proportions_has_a_fixed_size() {
    let folder = tempfile::tempdir().unwrap();
    let (path, [config, processor]) = naflex(folder.path());
    let one_size = SourceOptions { one_size: true, ..SourceOptions::default() };
    let source = Source::resolve(&path, &one_size).unwrap();
    assert_eq!(source.config().model.vision.image_size, [8; 2]);
    let steps = |source: &Source, name: &str| {
        let planned = source.plan().tensors.iter().find(|one| one.target.name == name).unwrap();
        let steps: Vec<String> = planned.steps.iter().map(ToString::to_string).collect();
        (planned.target.shape.clone(), steps)
    };
    assert_eq!(steps(&source, "visual.trunk.embeds.proj.weight"), (vec![16, 3 * 4 * 4], vec![]));
    let reshaped = ["reshape([1, 4, 16])", "reshape([1, 2, 2, 16])"].map(str::to_owned).to_vec();
    let positions = (vec![1, 2, 2, 16], reshaped);
    assert_eq!(steps(&source, "visual.trunk.embeds.pos_embed"), positions);
    let trunk = source.config().model.vision.timm.as_ref().unwrap();
    assert_eq!(
        (trunk.is_naflex(), trunk.changes.grid, trunk.changes.patch_size),
        (true, Some([2, 2]), Some(4))
    );
    // Any other whole number of patches leaves the tensors as they are.
    let larger = SourceOptions { image_size: Some([16, 12]), ..SourceOptions::default() };
    let larger = Source::resolve(&path, &larger).unwrap();
    assert_eq!((larger.model().image_size, &larger.plan().tensors), ([16, 12], &source.plan().tensors));
    let positions =
        larger.model().image.nodes.iter().find(|node| node.operation.label().starts_with("add_pos"));
    assert_eq!(positions.unwrap().operation.label(), "add_positions[2x2 to 4x3, 0 before, bilinear]");
    let odd = SourceOptions { image_size: Some([18, 16]), ..SourceOptions::default() };
    let error = Source::resolve(&path, &odd).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("must be a whole number of 4-pixel patches"), "{error}");
    assert!(source.notes().iter().any(|note| note.contains("the fixed size 8x8")), "{:?}", source.notes());
    let PixelRule::Transformers(own) = source.config().preprocess().rule else { panic!("its processor") };
    assert!(!own.over_white, "the class does not convert images by itself");
    // Patches of another side, and another number of positions.
    for (file, text) in [
        (NAFLEX_FILES[1], processor.replace("\"patch_size\": 4", "\"patch_size\": 8")),
        (NAFLEX_FILES[0], config.replace("\"num_patches\": 4", "\"num_patches\": 9")),
    ] {
        let kept = fs::read(folder.path().join(file)).unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        let found = Source::resolve(&path, &SourceOptions::default()).unwrap_err().to_string();
        assert!(found.contains("num_patches") || found.contains("the tower's patches have 4"), "{found}");
        fs::write(folder.path().join(file), kept).unwrap();
    }
}
