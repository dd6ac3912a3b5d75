//! A folder with a small model, and helpers for export tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clipway_formats::{TensorInfo, write_pytorch, write_safetensors};
use clipway_model::architecture::build;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::{ConfigFile, ModelConfig};
use clipway_model::export::{Export, ExportError, ExportReport, TokenizerParts, WeightsFormat, WriteOptions};
use clipway_model::output::StepHook;
use clipway_model::source::{ModelChoice, Source, SourceOptions};

/// The config of the small model.
pub const CONFIG: &str = r#"{"embed_dim": 8, "quick_gelu": true,
    "vision_cfg": {"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 6, "vocab_size": 50, "width": 8, "heads": 2, "layers": 1}}"#;

/// A folder with a small model, its config, and a place for outputs.
pub struct Bench {
    pub root: tempfile::TempDir,
    pub tensors: Vec<(TensorInfo, Vec<u8>)>,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::of(CONFIG)
    }

    pub fn of(config: &str) -> Bench {
        let model = ConfigFile::parse(config.as_bytes()).unwrap().model;
        Bench::of_model(config, &model)
    }

    /// Creates a model from this config, which is also written next to the weights.
    pub fn of_model(config: &str, model: &ModelConfig) -> Bench {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("tiny.json"), config).unwrap();
        fs::create_dir(root.path().join("out")).unwrap();
        Bench { root, tensors: tensors_of(model) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn target(&self) -> PathBuf {
        self.path("out/model")
    }

    pub fn write_source(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let infos: Vec<TensorInfo> = self.tensors.iter().map(|(info, _)| info.clone()).collect();
        let mut out = io::Cursor::new(Vec::new());
        if name.ends_with(".pt") {
            write_pytorch(&mut out, &infos, |index, out| out.write_all(&self.tensors[index].1)).unwrap();
        } else {
            write_safetensors(&mut out, &infos, &[], |index| Ok(&self.tensors[index].1)).unwrap();
        }
        fs::write(&path, out.into_inner()).unwrap();
        path
    }

    pub fn options(&self) -> SourceOptions {
        SourceOptions { model: Some(ModelChoice::File(self.path("tiny.json"))), ..SourceOptions::default() }
    }

    pub fn export(&self, options: &SourceOptions) -> Result<ExportReport, ExportError> {
        self.export_with(options, &write_options(&AtomicBool::new(false)))
    }

    pub fn export_with(
        &self,
        options: &SourceOptions,
        write: &WriteOptions<'_>,
    ) -> Result<ExportReport, ExportError> {
        let source = self.write_source("tiny.safetensors");
        let checkpoint = Checkpoint::open(&source).unwrap();
        let source = Source::of(checkpoint, options)?;
        Export::prepare(&source, Default::default())?.write(&self.target(), write)
    }

    /// Returns the names of everything next to and at the target.
    pub fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub fn find(&mut self, name: &str) -> &mut (TensorInfo, Vec<u8>) {
        self.tensors.iter_mut().find(|(info, _)| info.name == name).unwrap()
    }
}

fn tensors_of(config: &ModelConfig) -> Vec<(TensorInfo, Vec<u8>)> {
    let parameters = build(config).unwrap().parameters;
    let make = |id| {
        let parameter = parameters.get(id);
        let info = TensorInfo {
            name: parameter.name.clone(),
            dtype: parameter.dtype,
            shape: parameter.shape.clone(),
        };
        if !info.dtype.is_float() {
            let bytes = vec![0; info.bytes()];
            return (info, bytes);
        }
        let seed = parameter.name.len() as f32;
        let values = (0..info.elements()).map(|i| ((i as f32 + seed) * 0.37).sin() / 3.0);
        // Variances are positive.
        let least = if info.name.ends_with("running_var") { 0.5 } else { 0.0 };
        let bytes = match info.dtype.is_float() {
            true => values.flat_map(|value| (value + least).to_le_bytes()).collect(),
            false => vec![0; info.bytes()],
        };
        (info, bytes)
    };
    parameters.in_state_dict_order().into_iter().map(make).collect()
}

pub fn write_options(cancel: &AtomicBool) -> WriteOptions<'_> {
    WriteOptions {
        formats: vec![WeightsFormat::Safetensors],
        max_shard_bytes: None,
        tokenizer: TokenizerParts {
            files: vec![("tokenizer.json".to_owned(), b"{}".to_vec())],
            ..TokenizerParts::default()
        },
        license: Some("mit".to_owned()),
        license_link: None,
        force: false,
        inputs: Vec::new(),
        progress: &(),
        cancel,
        verify: None,
        hook: StepHook::default(),
    }
}

/// Returns every file of a folder with its bytes.
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Returns name, dtype, shape and bytes of every weight of a source.
pub fn weights_of(path: &Path) -> Vec<(TensorInfo, Vec<u8>)> {
    let weights = Checkpoint::open(path).unwrap().weights(None).unwrap().state_dict;
    let read = |(index, info): (usize, &TensorInfo)| {
        let mut bytes = Vec::new();
        weights.read_bytes(index, &mut bytes).unwrap();
        (info.clone(), bytes)
    };
    weights.tensors().iter().enumerate().map(read).collect()
}

/// Returns the message of an export that must fail, after checking that it leaves nothing behind.
pub fn failure(bench: &Bench, result: Result<ExportReport, ExportError>) -> String {
    let error = result.expect_err("the export must fail");
    assert_eq!(bench.leftovers(), Vec::<String>::new(), "{error}");
    error.to_string()
}
