//! ONNX files next to the engine: they match as written, and damaged ones are detected.

use clipway_formats::{OnnxExternal, write_onnx};
use clipway_model::architecture::{Model, build};
use clipway_model::config::ModelConfig;
use clipway_model::plan::Towers;
use clipway_model::spelling::onnx::{OnnxOptions, OnnxPrecision, PixelInput, TextPadding, lower};
use clipway_run::budget::Budget;
use clipway_run::clip::Clip;
use clipway_run::encoder::{Encoder, EncoderSettings};
use clipway_run::engine::{Engine, EngineOptions, Processor};
use clipway_run::image::Preprocess;
use clipway_run::onnx::{
    OnnxData, OnnxError, OnnxFolder, OnnxFolderError, OnnxGraphFile, OnnxLengths, OnnxRuntime, OnnxSession,
    OnnxTower,
};
use clipway_run::tower::{Tower, TowerBatch};
use clipway_run::verify::{Inputs, Outputs, Report, Tolerance, report};
use clipway_testing::architecture_runner::FormulaWeights;

const CONFIG: &str = r#"{"embed_dim": 8, "quick_gelu": true,
    "vision_cfg": {"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 12, "vocab_size": 50, "width": 8, "heads": 2, "layers": 2}}"#;

const MEAN: [f64; 3] = [0.48, 0.46, 0.41];
const STD: [f64; 3] = [0.27, 0.26, 0.28];

fn model(config: &str) -> Model {
    build(&ModelConfig::parse(config.as_bytes()).unwrap()).unwrap()
}

/// Changes to a file before it is written.
#[derive(Default)]
struct Damage<'a> {
    /// Write the graphs of this config instead.
    config: Option<&'a str>,
    /// Replace one operator by another.
    operator: Option<[&'static str; 2]>,
    /// An initializer, and how many of its first bytes become 0.
    zeros: Option<(&'a str, usize)>,
    /// An initializer of f16, and what all of its values become.
    halves: Option<(&'a str, f32)>,
}

/// Returns the bytes of one tower's file: the image tower's (0) or the text tower's (1).
fn bytes_of(tower: usize, options: &OnnxOptions, damage: &Damage<'_>) -> Vec<u8> {
    let model = model(damage.config.unwrap_or(CONFIG));
    let mut made = lower(&model, [&model.image, &model.text][tower], options, None);
    if let Some([from, to]) = damage.operator {
        let nodes = made.graph.nodes.iter_mut();
        nodes.filter(|node| node.operator == from).for_each(|node| node.operator = to);
    }
    let layout = made.layout(OnnxExternal::WhereNeeded("data")).unwrap();
    let mut out = Vec::new();
    write_onnx(&made.graph, &layout, &mut out, &mut Vec::new(), |index| {
        let mut bytes =
            made.make(index, &model.parameters, &FormulaWeights).map_err(std::io::Error::other)?;
        if let Some((name, count)) = damage.zeros
            && made.graph.initializers[index].name == name
        {
            let count = count.min(bytes.len());
            bytes[..count].fill(0);
        }
        if let Some((name, value)) = damage.halves
            && made.graph.initializers[index].name == name
        {
            let half = half::f16::from_f32(value).to_le_bytes();
            bytes.chunks_exact_mut(2).for_each(|bytes| bytes.copy_from_slice(&half));
        }
        Ok(bytes)
    })
    .unwrap();
    out
}

fn clip(towers: [Box<dyn Tower>; 2]) -> Clip {
    let settings = EncoderSettings { logit_scale: 10.0, logit_bias: None, embed_dim: 8 };
    let [image, text] = towers;
    let preprocess = Preprocess {
        size: (8, 8),
        mean: MEAN.map(|value| value as f32),
        std: STD.map(|value| value as f32),
        ..Preprocess::default()
    };
    Clip::new(Encoder::new(Some(image), Some(text), settings).unwrap(), preprocess, None)
}

/// Returns the tower that a file computes, run by `runtime`.
fn tower(bytes: &[u8], runtime: OnnxRuntime) -> Box<dyn Tower> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tower.onnx");
    std::fs::write(&path, bytes).unwrap();
    let graph = OnnxGraphFile::open(&path).unwrap();
    let session = OnnxSession::open(&graph, OnnxLengths::default(), runtime).unwrap();
    let text = ModelConfig::parse(CONFIG.as_bytes()).unwrap().text.clone();
    Box::new(OnnxTower::new(session, &graph.towers[0], [8, 8], &text, None).unwrap().with_colors(MEAN, STD))
}

/// Reports on two files, run by rten, compared with the engine.
fn compared(options: [&OnnxOptions; 2], damages: [&Damage<'_>; 2]) -> Report {
    compared_by(OnnxRuntime::Rten, options, damages)
}

fn compared_by(runtime: OnnxRuntime, options: [&OnnxOptions; 2], damages: [&Damage<'_>; 2]) -> Report {
    let model = model(CONFIG);
    let processor = Processor::detect().unwrap();
    let engines = [&model.image, &model.text].map(|graph| -> Box<dyn Tower> {
        let options = EngineOptions::default();
        Box::new(Engine::compile(graph, &model.parameters, &FormulaWeights, &processor, options).unwrap())
    });
    let towers = [0, 1].map(|index| tower(&bytes_of(index, options[index], damages[index]), runtime));
    let inputs = Inputs::built_in();
    let outputs = |name: &str, towers| Outputs::compute(name, &clip(towers), &inputs, false).unwrap();
    report(&outputs("the engine", engines), &outputs("the files", towers), &Tolerance::f32())
}

#[test]
fn files_compute_what_the_engine_computes() {
    check_spellings(OnnxRuntime::Rten);
}

/// Compares each way of writing the inputs and the batch with the engine.
fn check_spellings(runtime: OnnxRuntime) {
    let plain = OnnxOptions::default();
    let check = |options: [&OnnxOptions; 2]| {
        let report = compared_by(runtime, options, [&Damage::default(), &Damage::default()]);
        assert!(report.passed, "{}", report.explanation());
    };
    check([&plain, &plain]);
    let fixed = OnnxOptions { batch: Some(3), blocks: true, ..OnnxOptions::default() };
    check([&fixed, &fixed]);
    let free = OnnxOptions { free_length: true, ..OnnxOptions::default() };
    let bytes = OnnxOptions { pixels: PixelInput::Bytes { mean: MEAN, std: STD }, ..OnnxOptions::default() };
    check([&bytes, &free]);
}

#[cfg(feature = "ort")]
#[test]
fn onnx_runtime_computes_the_same() {
    use clipway_run::onnx::OrtProvider;
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        eprintln!("skipped: ONNX Runtime, since `ORT_DYLIB_PATH` names no library");
        return;
    }
    let runtime = OnnxRuntime::Ort(OrtProvider::Cpu);
    check_spellings(runtime);
    let plain = OnnxOptions::default();
    let damage = Damage { zeros: Some(("visual.proj", usize::MAX)), ..Damage::default() };
    let report = compared_by(runtime, [&plain, &plain], [&damage, &Damage::default()]);
    assert!(!report.passed, "a damaged file");
    assert!(runtime.describe().starts_with("ONNX Runtime 1."), "{}", runtime.describe());
    let bytes = bytes_of(0, &plain, &Damage::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tower.onnx");
    std::fs::write(&path, bytes).unwrap();
    let graph = OnnxGraphFile::open(&path).unwrap();
    let elsewhere = OnnxRuntime::Ort(OrtProvider::DirectMl);
    let error =
        OnnxSession::open(&graph, OnnxLengths::default(), elsewhere).err().expect("no GPU of Windows");
    assert_eq!(error.code(), "onnx-load");
    assert!(error.to_string().contains("`directml`"), "{error}");
}

#[test]
fn damaged_files_are_found_and_named() {
    let plain = OnnxOptions::default();
    let check = |tower: usize, damage: Damage<'_>| {
        let whole = Damage::default();
        let damages = if tower == 0 { [&damage, &whole] } else { [&whole, &damage] };
        let report = compared([&plain, &plain], damages);
        let name = ["image features", "text features"][tower];
        assert!(!report.passed);
        assert_eq!(report.first_bad_stage().map(|stage| stage.name.as_str()), Some(name));
    };
    // The causal mask is lost.
    check(1, Damage { zeros: Some(("mask", usize::MAX)), ..Damage::default() });
    // Another token is taken as the end.
    check(1, Damage { operator: Some(["ArgMax", "ArgMin"]), ..Damage::default() });
    // GELU instead of QuickGELU, in either tower.
    let gelu = CONFIG.replace("true", "false");
    check(0, Damage { config: Some(&gelu), ..Damage::default() });
    check(1, Damage { config: Some(&gelu), ..Damage::default() });
    // One row of a weight is zero.
    let row = "visual.transformer.resblocks.0.mlp.c_fc.weight.T";
    check(0, Damage { zeros: Some((row, 4 * 64)), ..Damage::default() });
    // Features are constant.
    check(0, Damage { zeros: Some(("visual.proj", usize::MAX)), ..Damage::default() });
}

#[test]
fn activations_in_f16_are_watched_by_node() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("visual")).unwrap();
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    std::fs::write(folder.join("visual/preprocess_cfg.json"), r#"{"size": 8}"#).unwrap();
    let pixels: Vec<f32> = (0..2 * 3 * 64).map(|place| (place % 7) as f32 / 7.0).collect();
    let peak = |precision: OnnxPrecision, halves| {
        let options = OnnxOptions { precision, ..OnnxOptions::default() };
        let bytes = bytes_of(0, &options, &Damage { halves, ..Damage::default() });
        std::fs::write(folder.join("visual/model.onnx"), bytes).unwrap();
        OnnxFolder::open(folder).unwrap().peaks(&pixels, &[]).unwrap()
    };
    assert_eq!(peak(OnnxPrecision::F32, None), []);
    let usual = peak(OnnxPrecision::F16, None);
    assert!(usual.len() == 1 && usual[0].largest > 0.5 && usual[0].largest < 100.0, "{usual:?}");
    // Hidden values of 60,000 fit f16, their weighted sums do not. The layer norm that follows would hide it.
    let bias = "visual.transformer.resblocks.0.mlp.c_fc.bias";
    let found = peak(OnnxPrecision::F16, Some((bias, 60_000.0)));
    assert!(found[0].largest > 65_504.0, "{found:?}");
    assert!(found[0].node.starts_with("visual.transformer.resblocks.0"), "{found:?}");
}

#[test]
fn shorter_texts_run_where_the_length_is_free() {
    let model = model(CONFIG);
    let processor = Processor::detect().unwrap();
    let engine = Engine::compile(
        &model.text,
        &model.parameters,
        &FormulaWeights,
        &processor,
        EngineOptions::default(),
    );
    let engine = engine.unwrap();
    let options = OnnxOptions { free_length: true, ..OnnxOptions::default() };
    let session = OnnxSession::from_bytes(
        bytes_of(1, &options, &Damage::default()),
        OnnxLengths::default(),
        Budget::default(),
    )
    .unwrap();
    for length in [1, 5, 12] {
        let ids: Vec<i64> = (0..2 * length as i64).map(|place| (place * 7 + 3) % 50).collect();
        let expected = engine.run_tokens(&ids, length).unwrap();
        let found = session.run(&[("input", &[2, length], OnnxData::Integers(ids))]).unwrap();
        assert_eq!((found.len(), &found[0].shape[..]), (1, &[2, 8][..]));
        for (found, expected) in found[0].values.iter().zip(&expected) {
            assert!((found - expected).abs() <= 2e-5, "{length}: {found} {expected}");
        }
    }
}

#[test]
fn inputs_and_files_that_do_not_fit_are_refused() {
    let session = OnnxSession::from_bytes(
        bytes_of(1, &OnnxOptions::default(), &Damage::default()),
        OnnxLengths::default(),
        Budget::default(),
    )
    .unwrap();
    assert_eq!(session.inputs()[0].shape, [None, Some(12)]);
    let code = |inputs: &[(&str, &[usize], OnnxData)]| session.run(inputs).unwrap_err().code();
    let ids = |count: usize| OnnxData::Integers(vec![0; count]);
    assert_eq!(code(&[("other", &[1, 12], ids(12))]), "missing");
    assert_eq!(code(&[("input", &[1, 5], ids(5))]), "shape-mismatch");
    assert_eq!(code(&[("input", &[1, 12], ids(11))]), "shape-mismatch");
    assert_eq!(code(&[("input", &[1, 12], OnnxData::Floats(vec![0.0; 12]))]), "shape-mismatch");
    assert_eq!(code(&[("input", &[1, 12], OnnxData::Integers(vec![i64::MAX; 12]))]), "shape-mismatch");
    assert!(matches!(
        OnnxSession::from_bytes(b"no model".to_vec(), OnnxLengths::default(), Budget::default()),
        Err(OnnxError::Malformed { .. })
    ));
}

#[test]
fn folders_are_found_and_run_by_their_own_files() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let code = |error: OnnxFolderError| error.code();
    assert!(!OnnxFolder::is_at(folder));
    assert_eq!(code(OnnxFolder::open(folder).unwrap_err()), "missing");
    // immich's layout, without the file that says how images become pixels.
    std::fs::create_dir(folder.join("visual")).unwrap();
    let file = folder.join("visual/model.onnx");
    let bytes = bytes_of(0, &OnnxOptions::default(), &Damage::default());
    std::fs::write(&file, &bytes).unwrap();
    let opened = OnnxFolder::open(folder).unwrap();
    assert_eq!((opened.layout, opened.towers()), (Some("immich's"), Towers::Image));
    assert_eq!(opened.graphs[0].interface.operator_sets, [(String::new(), 17)]);
    assert_eq!(opened.graphs[0].towers[0].image_size(), Some([8, 8]));
    assert_eq!(opened.load(Towers::Image).err().map(code), Some("missing"));
    // With it, the folder or just its file runs like the engine.
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    std::fs::write(folder.join("visual/preprocess_cfg.json"), r#"{"size": 8, "mean": [0.5, 0.5, 0.5]}"#)
        .unwrap();
    let model = model(CONFIG);
    let processor = Processor::detect().unwrap();
    let engine = Engine::compile(
        &model.image,
        &model.parameters,
        &FormulaWeights,
        &processor,
        EngineOptions::default(),
    );
    let pixels: Vec<f32> = (0..2 * 3 * 64).map(|place| (place % 7) as f32 / 7.0).collect();
    let expected = engine.unwrap().features(TowerBatch::Pixels(&pixels)).unwrap();
    for path in [folder, &file] {
        let clip = OnnxFolder::open(path).unwrap().load(Towers::Both).unwrap();
        assert_eq!(clip.preprocess().mean, [0.5; 3]);
        let found = clip.encode_pixels(&pixels).unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-5), "{found:?} {expected:?}");
    }
    // A truncated file is refused before the runtime sees it.
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(code(OnnxFolder::open(folder).unwrap_err()), "truncated");
}

/// A text tower whose features depend on what follows the end token.
const READS_PADDING: &str = r#"{"embed_dim": 8,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 12, "vocab_size": 50, "width": 8, "heads": 2, "layers": 2,
        "no_causal_mask": true, "pool_type": "last"}}"#;

#[test]
fn padding_of_another_id_gives_the_same_features() {
    let options = OnnxOptions {
        padding: Some(TextPadding { end: 49, id: 0 }),
        free_length: true,
        ..OnnxOptions::default()
    };
    let damage = Damage { config: Some(READS_PADDING), ..Damage::default() };
    let session =
        OnnxSession::from_bytes(bytes_of(1, &options, &damage), OnnxLengths::default(), Budget::default())
            .unwrap();
    // The last token is pooled, so texts cannot be shorter than the context.
    assert_eq!(session.inputs()[0].shape, [None, Some(12)]);
    let features = |ids: &[i64]| {
        let inputs = [("input", &[1, 12][..], OnnxData::Integers(ids.to_vec()))];
        session.run(&inputs).unwrap().remove(0).values
    };
    let padded = |id: i64| [&[48, 7, 0, 9, 49][..], &[id; 7]].concat();
    let expected = features(&padded(0));
    assert_eq!(features(&padded(49)), expected);
    assert_eq!(features(&padded(3)), expected);
    assert_ne!(features(&[48, 7, 8, 9, 49, 0, 0, 0, 0, 0, 0, 0]), expected);
    // A text that fills the context has no padding.
    let full: Vec<i64> = (1..=11).chain([49]).collect();
    let plain = bytes_of(1, &OnnxOptions::default(), &damage);
    let plain = OnnxSession::from_bytes(plain, OnnxLengths::default(), Budget::default()).unwrap();
    let inputs = [("input", &[1, 12][..], OnnxData::Integers(full.clone()))];
    assert_eq!(features(&full), plain.run(&inputs).unwrap().remove(0).values);
}
