//! Folders for other libraries, verified the way those libraries read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::Dtype;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, WriteOptions};
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::engine::Processor;
use clipway_run::load::{LoadOptions, LoadedTokenizer};
use clipway_run::verify::{FolderVerification, Inputs, Report, resolve_exported};
use clipway_testing::formula;
use serde_json::{Value, json};

use crate::made::{self, tensors_of, write_options};

/// A small OpenAI-style model whose texts lose their punctuation.
const CONFIG: &str = r#"{"embed_dim": 64, "quick_gelu": true,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1,
        "tokenizer_kwargs": {"clean": "canonicalize"}}}"#;

/// A source whose texts lose their punctuation, and the options it was opened with.
pub struct Bench {
    place: tempfile::TempDir,
    checkpoint: Arc<Checkpoint>,
    options: SourceOptions,
    source: Source,
}

impl Bench {
    pub fn new() -> Bench {
        let place = tempfile::tempdir().unwrap();
        let (path, config) = (place.path().join("bare.safetensors"), place.path().join("tiny.json"));
        fs::write(&config, CONFIG).unwrap();
        made::write(&path, &tensors_of(CONFIG), |info| {
            assert_eq!(info.dtype, Dtype::F32);
            let mut values = Vec::new();
            formula::fill(&info.name, &info.shape, &mut values);
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        });
        let checkpoint = Arc::new(Checkpoint::open(&path).unwrap());
        let options = SourceOptions { model: Some(ModelChoice::File(config)), ..SourceOptions::default() };
        let mut source = Source::of(Arc::clone(&checkpoint), &options).unwrap();
        let own = source.folder().to_owned();
        LoadedTokenizer::read_into(&mut source, &own).unwrap().unwrap();
        Bench { place, checkpoint, options, source }
    }

    /// Writes a folder for a library.
    pub fn write(&self, name: &str) -> PathBuf {
        let target = Target::named(name).unwrap();
        let export = Export::prepare(&self.source, target.spelling).unwrap();
        let folder = self.place.path().join(name);
        let tokenizer = self.tokenizer().parts_for(target.spelling.layout, &self.source).unwrap();
        export
            .write(&folder, &WriteOptions { formats: vec![target.format], tokenizer, ..write_options() })
            .unwrap();
        folder
    }

    fn tokenizer(&self) -> LoadedTokenizer {
        LoadedTokenizer::find(&self.source, self.source.folder()).unwrap().unwrap()
    }

    fn verify(&self, folder: &Path) -> Report {
        let load = LoadOptions::new(Processor::with_threads(1).unwrap());
        let inputs = Inputs::built_in();
        let verification = FolderVerification { inputs: &inputs, load, source: self.options.clone() };
        verification.run(folder, &self.checkpoint).unwrap()
    }
}

/// Returns the folder's tokenizer, as its own library reads it.
fn tokenizer_of(folder: &Path) -> LoadedTokenizer {
    let written = resolve_exported(folder).unwrap();
    LoadedTokenizer::find(&written, written.folder()).unwrap().unwrap()
}

fn first_bad(report: &Report) -> Option<&str> {
    report.first_bad_stage().map(|stage| stage.name.as_str())
}

#[test]
fn a_folder_of_open_clip_is_read_by_its_contract() {
    let bench = Bench::new();
    let folder = bench.write("open_clip");
    assert!(resolve_exported(&folder).unwrap().artifact().is_some());
    let report = bench.verify(&folder);
    assert!(report.passed, "{}", report.explanation());
}

/// OpenAI's code has a single tokenizer, which keeps punctuation.
#[test]
fn a_folder_that_would_keep_punctuation_is_not_written() {
    let bench = Bench::new();
    let target = Target::named("openai").unwrap();
    let error = Export::prepare(&bench.source, target.spelling).err().unwrap();
    assert_eq!(error.code(), "inexpressible");
    assert!(error.to_string().contains("`text_cfg.tokenizer_kwargs.clean`"), "{error}");
}

/// A transformers folder pads with the end token, open_clip with 0. The tokens of the texts are the same, and nothing
/// after the end of a text reaches its feature.
#[test]
fn padding_is_all_in_which_the_tokens_of_a_folder_of_transformers_differ() {
    let bench = Bench::new();
    let folder = bench.write("transformers");
    assert!(resolve_exported(&folder).unwrap().artifact().is_none());
    let texts = Inputs::built_in().texts;
    let (source, found) = (bench.tokenizer().tokenizer.tokenizer, tokenizer_of(&folder).tokenizer.tokenizer);
    let mut padded = 0;
    for text in &texts {
        let (source, found) = (source.encode(text).unwrap(), found.encode(text).unwrap());
        assert_eq!(found.tokens(), source.tokens(), "{text}");
        let length = source.tokens().len();
        assert_eq!((source.tokens()[length - 1], source.ids.len()), (49407, 77), "{text}");
        assert!(source.ids[length..].iter().all(|id| *id == 0), "{text}");
        assert!(found.ids[length..].iter().all(|id| *id == 49407), "{text}");
        padded += usize::from(length < 77);
    }
    assert_eq!(padded, texts.len());
    let report = bench.verify(&folder);
    assert!(report.passed, "{}", report.explanation());
    let tokens = report.stages.iter().find(|stage| stage.name == "tokens").unwrap();
    assert_eq!((tokens.compared, tokens.worst), (8 * 77, 0.0));
}

/// The behavior of the written files counts, not what `clipway.json` says: every lost cleaning step is detected.
#[test]
fn a_tokenizer_that_cleans_less_fails_at_its_tokens() {
    let bench = Bench::new();
    let folder = bench.write("transformers");
    let path = folder.join("tokenizer.json");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let steps = written["normalizer"]["normalizers"].as_array().unwrap().clone();
    let check = |name: &str, is_kept: &dyn Fn(&Value) -> bool| {
        let mut file = written.clone();
        let kept: Vec<&Value> = steps.iter().filter(|step| is_kept(step)).collect();
        assert!(kept.len() < steps.len(), "{name}");
        file["normalizer"]["normalizers"] = json!(kept);
        fs::write(&path, file.to_string()).unwrap();
        let report = bench.verify(&folder);
        let expected = (false, Some("tokens"));
        assert_eq!((report.passed, first_bad(&report)), expected, "{name}: {}", report.explanation());
    };
    check("lower case only", &|step| step["type"] == "Lowercase");
    check("punctuation stays", &|step| !step.to_string().contains("#$%&"));
    check("case stays", &|step| step["type"] != "Lowercase");

    // The files of a model that only lowercases, as transformers' own class has them.
    let plain = clipway_run::text::tokenizer_files_for_clip(77);
    plain.into_iter().for_each(|file| fs::write(folder.join(file.name), file.bytes).unwrap());
    let report = bench.verify(&folder);
    assert_eq!((report.passed, first_bad(&report)), (false, Some("tokens")), "{}", report.explanation());
}
