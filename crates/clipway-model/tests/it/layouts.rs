//! Layouts of other projects: names, plans, ledgers, and sources that do not match.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use clipway_formats::{Dtype, TensorInfo, write_pytorch, write_safetensors};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::layout::Layout;
use clipway_model::plan::{Fate, Towers};
use clipway_model::source::{ConfigOrigin, Source, SourceOptions};

pub const CONFIG: &str = r#"{"model_type": "clip", "projection_dim": 8,
    "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 50, "max_position_embeddings": 6, "eos_token_id": 49, "hidden_act": "gelu"},
    "vision_config": {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 8, "patch_size": 4, "hidden_act": "gelu"}}"#;

pub type Named = (String, Vec<usize>);

/// Returns names and shapes of the [`CONFIG`] model in transformers.
pub fn transformers() -> Vec<Named> {
    let mut tensors: Vec<Named> = vec![
        ("logit_scale".into(), vec![]),
        ("visual_projection.weight".into(), vec![8, 16]),
        ("text_projection.weight".into(), vec![8, 16]),
        ("vision_model.embeddings.class_embedding".into(), vec![16]),
        ("vision_model.embeddings.patch_embedding.weight".into(), vec![16, 3, 4, 4]),
        ("vision_model.embeddings.position_embedding.weight".into(), vec![5, 16]),
        ("text_model.embeddings.position_ids".into(), vec![1, 6]),
        ("text_model.embeddings.token_embedding.weight".into(), vec![50, 16]),
        ("text_model.embeddings.position_embedding.weight".into(), vec![6, 16]),
    ];
    for norm in ["vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"] {
        tensors.extend(linear(norm, &[16]));
    }
    for (block, mlp) in [
        ("vision_model.encoder.layers.0", 64),
        ("vision_model.encoder.layers.1", 64),
        ("text_model.encoder.layers.0", 32),
    ] {
        tensors.extend(transformers_block(block, mlp));
    }
    tensors
}

/// Returns a block of a transformers model, 16 wide.
pub fn transformers_block(block: &str, mlp: usize) -> Vec<Named> {
    let mut tensors = Vec::new();
    for part in ["k_proj", "v_proj", "q_proj", "out_proj"] {
        tensors.extend(linear(&format!("{block}.self_attn.{part}"), &[16, 16]));
    }
    tensors.extend(linear(&format!("{block}.layer_norm1"), &[16]));
    tensors.extend(linear(&format!("{block}.layer_norm2"), &[16]));
    tensors.extend(linear(&format!("{block}.mlp.fc1"), &[mlp, 16]));
    tensors.extend(linear(&format!("{block}.mlp.fc2"), &[16, mlp]));
    tensors
}

pub fn linear(name: &str, shape: &[usize]) -> [Named; 2] {
    [(format!("{name}.weight"), shape.to_vec()), (format!("{name}.bias"), shape[..1].to_vec())]
}

/// Returns names and shapes of a small model in OpenAI's code, in its order.
pub fn openai() -> Vec<Named> {
    let mut tensors: Vec<Named> = vec![
        ("positional_embedding".into(), vec![6, 128]),
        ("text_projection".into(), vec![128, 8]),
        ("logit_scale".into(), vec![]),
        ("visual.class_embedding".into(), vec![128]),
        ("visual.positional_embedding".into(), vec![5, 128]),
        ("visual.proj".into(), vec![128, 8]),
        ("visual.conv1.weight".into(), vec![128, 3, 4, 4]),
    ];
    tensors.extend(linear("visual.ln_pre", &[128]));
    let blocks = (0..3).map(|index| format!("visual.transformer.resblocks.{index}"));
    for block in blocks.chain(["transformer.resblocks.0".to_owned()]) {
        tensors.push((format!("{block}.attn.in_proj_weight"), vec![384, 128]));
        tensors.push((format!("{block}.attn.in_proj_bias"), vec![384]));
        tensors.extend(linear(&format!("{block}.attn.out_proj"), &[128, 128]));
        tensors.extend(linear(&format!("{block}.ln_1"), &[128]));
        tensors.extend(linear(&format!("{block}.mlp.c_fc"), &[512, 128]));
        tensors.extend(linear(&format!("{block}.mlp.c_proj"), &[128, 512]));
        tensors.extend(linear(&format!("{block}.ln_2"), &[128]));
    }
    tensors.extend(linear("visual.ln_post", &[128]));
    tensors.push(("token_embedding.weight".into(), vec![50, 128]));
    tensors.extend(linear("ln_final", &[128]));
    tensors
}

/// The numbers that OpenAI's releases keep among the tensors, with the values for [`openai`].
pub const NUMBERS: [(&str, i64); 3] = [("input_resolution", 8), ("context_length", 6), ("vocab_size", 50)];

/// Writes tensors of zeros, with [`NUMBERS`] as the values of the number tensors.
pub fn write(folder: &Path, name: &str, tensors: &[Named]) -> PathBuf {
    write_with(folder, name, tensors, NUMBERS)
}

/// Writes tensors of zeros, with these values for the number tensors.
pub fn write_with(folder: &Path, name: &str, tensors: &[Named], numbers: [(&str, i64); 3]) -> PathBuf {
    let number_of = |name: &str| numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| number);
    let info = |(name, shape): &Named| {
        let is_number = name.ends_with("position_ids") || number_of(name).is_some();
        let dtype = if is_number { Dtype::I64 } else { Dtype::F32 };
        TensorInfo { name: name.clone(), dtype, shape: shape.clone() }
    };
    let infos: Vec<TensorInfo> = tensors.iter().map(info).collect();
    let bytes = |info: &TensorInfo| match number_of(&info.name) {
        Some(number) => number.to_le_bytes().repeat(info.elements()),
        None => vec![0; info.bytes()],
    };
    let bytes: Vec<Vec<u8>> = infos.iter().map(bytes).collect();
    let mut out = std::io::Cursor::new(Vec::new());
    if name.ends_with(".pt") {
        write_pytorch(&mut out, &infos, |index, out| out.write_all(&bytes[index])).unwrap();
    } else {
        write_safetensors(&mut out, &infos, &[], |index| Ok(&bytes[index])).unwrap();
    }
    fs::write(folder.join(name), out.into_inner()).unwrap();
    folder.join(name)
}

fn message(path: &Path) -> String {
    Source::resolve(path, &SourceOptions::default()).unwrap_err().to_string()
}

#[test]
fn mlx_stores_the_patches_with_the_channels_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = transformers();
    let patches = "vision_model.embeddings.patch_embedding.weight";
    tensors.iter_mut().find(|(name, _)| name == patches).unwrap().1 = vec![16, 4, 4, 3];
    write(folder.path(), "model.safetensors", &tensors);
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
    let planned =
        source.plan().tensors.iter().find(|planned| planned.target.name == "visual.conv1.weight").unwrap();
    assert_eq!(planned.target.shape, [16, 3, 4, 4]);
    let steps: Vec<String> = planned.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["transpose([0, 3, 1, 2])"]);
}

#[test]
fn transformers_folders_become_open_clip_by_plan() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "model.safetensors", &transformers());
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    let preprocess =
        r#"{"size": {"shortest_edge": 8}, "crop_size": 8, "resample": 2, "image_mean": [0, 0, 0]}"#;
    fs::write(folder.path().join("preprocessor_config.json"), preprocess).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    assert_eq!(prepared.layout().name, "transformers_clip");
    assert!(matches!(prepared.origin(), ConfigOrigin::Layout(_)));
    let config = &prepared.config().model;
    assert_eq!((config.quick_gelu, config.vision.head_width, config.text.heads), (false, 4, 2));
    assert_eq!((config.text.eos_id, config.text.mlp_ratio), (49, 2.0));
    let pixels = prepared.config().preprocess();
    assert_eq!((pixels.mean, pixels.interpolation.name()), ([0.0; 3], "bilinear"));
    let find = |name: &str| prepared.plan().tensors.iter().find(|one| one.target.name == name).unwrap();
    let fused = find("visual.transformer.resblocks.1.attn.in_proj_weight");
    let sources: Vec<&str> = fused.sources.iter().map(|s| s.name.rsplit('.').nth(1).unwrap()).collect();
    assert_eq!((sources, &fused.target.shape[..]), (vec!["q_proj", "k_proj", "v_proj"], &[48, 16][..]));
    assert_eq!(find("visual.proj").target.shape, [16, 8]);
    let ledger = prepared.ledger();
    assert_eq!(ledger.source_tensors, transformers().len());
    let dropped: usize = ledger.groups.iter().filter(|g| g.fate == Fate::Dropped).map(|g| g.tensors).sum();
    assert_eq!(dropped, 1);
}

#[test]
fn openai_s_code_is_told_by_its_numbers_or_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, tensors: &[Named], layout: &str, notes: usize| {
        let checkpoint = Checkpoint::open(write(folder.path(), name, tensors)).unwrap();
        let weights = checkpoint.weights(None).unwrap();
        assert_eq!(Layout::recognize(&weights.state_dict).unwrap().name, layout, "{name}");
        if layout == "openai" {
            let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
            let config = &prepared.config().model;
            assert!(config.quick_gelu && config.vision.head_width == 64 && config.text.heads == 2);
            assert_eq!(prepared.notes().len(), notes, "{name}: {:?}", prepared.notes());
        }
    };
    check("order.pt", &openai(), "openai", 1);
    let mut sorted = openai();
    sorted.sort();
    check("sorted.pt", &sorted, "open_clip", 0);
    sorted.push(("input_resolution".into(), vec![]));
    check("numbers.pt", &sorted, "openai", 0);
}

#[test]
fn a_layout_is_told_whatever_the_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tensors) in [("transformers_clip", transformers()), ("openai", openai())] {
        for own in ["model.safetensors", "model.pt"] {
            let source = write(folder.path(), own, &tensors);
            for other in ["model.bin", "weights.ckpt", "model.pt", "model.safetensors", "blob", "data.npz"] {
                let place = folder.path().join(format!("renamed.{other}"));
                fs::copy(&source, &place).unwrap();
                let weights = Checkpoint::open(&place).unwrap().weights(None).unwrap();
                let found = Layout::recognize(&weights.state_dict).map(|layout| layout.name);
                assert_eq!(found, Some(name), "{own} as {other}");
            }
        }
    }
}

#[test]
fn sources_that_do_not_fit_are_refused_with_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, tensors: Vec<Named>, config: Option<&str>, parts: &[&str]| {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        write(&place, "model.safetensors", &tensors);
        if let Some(config) = config {
            fs::write(place.join("config.json"), config).unwrap();
        }
        let found = message(&place);
        assert!(parts.iter().all(|part| found.contains(part)), "{name}: {found}");
        let once: HashSet<&str> = found.lines().collect();
        assert_eq!(found.lines().count(), once.len(), "{name}: {found}");
    };
    let without = |part: &str| transformers().into_iter().filter(|(name, _)| !name.contains(part)).collect();
    check("no config", transformers(), None, &["`config.json` is missing beside the weights"]);
    check(
        "block",
        without("vision_model.encoder.layers.0."),
        Some(CONFIG),
        &["resblocks.0.ln_{1,2}.weight`: missing, [16] (2 tensors)"],
    );
    check(
        "key",
        without("0.self_attn.k_proj.bias"),
        Some(CONFIG),
        &["in_proj_bias`: missing", "q_proj.bias`: unused"],
    );
    let wrong = CONFIG
        .replace("\"vocab_size\": 50", "\"vocab_size\": 51, \"color\": 1")
        .replace("\"image_size\": 8", "\"image_size\": 16")
        .replace("\"projection_dim\": 8", "\"projection_dim\": 9")
        .replacen("gelu", "quick_gelu", 1);
    let parts = ["51, but the weights have 50", "color", "but the weights have 5", "9, but", "hidden_act"];
    check("contradictions", transformers(), Some(&wrong), &parts);
    // Contradictions in another file and a missing tensor are reported along with them.
    let place = folder.path().join("both");
    fs::create_dir(&place).unwrap();
    write(&place, "model.safetensors", &without("layers.1.layer_norm2.weight"));
    fs::write(place.join("config.json"), CONFIG.replace("\"vocab_size\": 50", "\"vocab_size\": 51")).unwrap();
    fs::write(place.join("preprocessor_config.json"), r#"{"crop_size": 16, "color": 1}"#).unwrap();
    let checkpoint = Checkpoint::open(&place).unwrap();
    let error = Source::of(checkpoint, &SourceOptions::default()).unwrap_err();
    let found = error.to_string();
    let lines: Vec<&str> = found.lines().map(str::trim).collect();
    assert!(lines[0].ends_with("`config.json` does not match"), "{found}");
    assert_eq!(lines[1], "`$.text_config.vocab_size`: 51, but the weights have 50");
    assert_eq!(lines[2], "`preprocessor_config.json` does not match");
    assert!(lines[3..5].iter().any(|line| line.contains("crop_size")), "{found}");
    assert!(lines[3..5].iter().any(|line| line.contains("color")), "{found}");
    assert_eq!(
        lines[5..],
        [
            "the tensors do not match its config",
            "`token_embedding.weight`: expected [51, 16], found [50, 16]",
            "`visual.transformer.resblocks.1.ln_2.weight`: missing, [16]",
        ]
    );
    assert_eq!((error.problems().len(), error.differences().unwrap().iter().count()), (3, 2));
    let other = CONFIG.replace("\"clip\"", "\"clipseg\"");
    check("kind", transformers(), Some(&other), &["this is CLIPSeg, which cannot be converted"]);
    let other = CONFIG.replace("\"clip\"", "\"odd_clip\"");
    check("odd kind", transformers(), Some(&other), &["expected `clip` or `metaclip_2`, found `odd_clip`"]);
    let mut mixed = transformers();
    mixed.extend(openai().into_iter().skip(3));
    check("mixed", mixed, Some(CONFIG), &["several layouts", "Hugging Face", "open_clip or OpenAI"]);
    let mut bert = without("text_model.encoder");
    bert.push(("text_model.encoder.layer.0.attention.self.query.weight".into(), vec![16, 16]));
    bert.retain(|(name, _)| !name.starts_with("vision_model.pre_layrnorm."));
    check("bert", bert, Some(CONFIG), &["VisionTextDualEncoderModel", "pooler"]);
}

#[test]
fn single_towers_of_transformers_are_taken_with_or_without_a_projection() {
    let folder = tempfile::tempdir().unwrap();
    let whole: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
    for (tower, prefix, projection) in [
        (Towers::Image, "vision_model.", "visual_projection.weight"),
        (Towers::Text, "text_model.", "text_projection.weight"),
    ] {
        let kind = &prefix[..prefix.len() - "_model.".len()];
        let mut config = whole[format!("{kind}_config")].clone();
        config["model_type"] = serde_json::json!(format!("clip_{kind}_model"));
        config["projection_dim"] = serde_json::json!(8);
        let own = |name: &str| name.starts_with(prefix) && !name.ends_with("position_ids");
        let check = |place: &str, tensors: Vec<Named>, embed_dim: usize| {
            let place = folder.path().join(format!("{kind}-{place}"));
            fs::create_dir(&place).unwrap();
            write(&place, "model.safetensors", &tensors);
            fs::write(place.join("config.json"), config.to_string()).unwrap();
            let source = Source::resolve(&place, &SourceOptions::default()).unwrap();
            assert_eq!(
                (source.tower(), source.layout().name),
                (tower, &*format!("transformers_clip_{kind}"))
            );
            assert_eq!(source.config().model.embed_dim, embed_dim);
            let has = |name: &str| source.plan().tensors.iter().any(|planned| planned.target.name == name);
            // Without a projection, the features of an image tower go through the identity.
            assert_eq!(has("visual.proj"), tower == Towers::Image);
            assert_eq!(has("text_projection"), tower == Towers::Text && embed_dim == 8);
        };
        let alone: Vec<Named> = transformers().into_iter().filter(|(name, _)| own(name)).collect();
        let mut projected = alone.clone();
        projected.push((projection.to_owned(), vec![8, 16]));
        let bare = alone.iter().map(|(name, shape)| (name[prefix.len()..].to_owned(), shape.clone()));
        check("bare", bare.collect(), 16);
        check("alone", alone, 16);
        check("projected", projected, 8);
        // The config of the other tower.
        let other = if tower == Towers::Image { "clip_text_model" } else { "clip_vision_model" };
        let place = folder.path().join(format!("{kind}-alone"));
        config["model_type"] = serde_json::json!(other);
        fs::write(place.join("config.json"), config.to_string()).unwrap();
        let found = message(&place);
        assert!(
            found.contains("model_type`: `clip_") && found.contains("but the weights have the"),
            "{found}"
        );
    }
}
