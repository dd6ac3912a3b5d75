//! Models made by tests, and how they are exported.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use clipway_formats::{TensorInfo, write_safetensors};
use clipway_model::architecture::build;
use clipway_model::config::ModelConfig;
use clipway_model::export::{TokenizerParts, WeightsFormat, WriteOptions};
use clipway_model::output::StepHook;

/// Returns the tensors of a config.
pub fn tensors_of(config: &str) -> Vec<TensorInfo> {
    let parameters = build(&ModelConfig::parse(config.as_bytes()).unwrap()).unwrap().parameters;
    let info = |parameter: &clipway_model::graph::Parameter| TensorInfo {
        name: parameter.name.clone(),
        dtype: parameter.dtype,
        shape: parameter.shape.clone(),
    };
    parameters.iter().map(|(_, parameter)| info(parameter)).collect()
}

/// Writes tensors with the bytes that `bytes_of` returns for each.
pub fn write(path: &Path, tensors: &[TensorInfo], bytes_of: impl Fn(&TensorInfo) -> Vec<u8>) {
    let bytes = |index: usize| Ok::<_, std::io::Error>(bytes_of(&tensors[index]));
    write_safetensors(&mut File::create(path).unwrap(), tensors, &[], bytes).unwrap();
}

/// Returns options for an unverified export to one safetensors file.
pub fn write_options() -> WriteOptions<'static> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    WriteOptions {
        formats: vec![WeightsFormat::Safetensors],
        max_shard_bytes: None,
        tokenizer: TokenizerParts::default(),
        license: None,
        license_link: None,
        force: false,
        inputs: Vec::new(),
        progress: &(),
        cancel: &NEVER,
        verify: None,
        hook: StepHook::default(),
    }
}
