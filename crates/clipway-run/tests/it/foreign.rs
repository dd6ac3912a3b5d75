//! Folders for other libraries, verified as those libraries read them.

use std::fs;
use std::sync::Arc;

use clipway_formats::Dtype;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, WriteOptions};
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::engine::Processor;
use clipway_run::load::{LoadOptions, LoadedTokenizer};
use clipway_run::verify::{FolderVerification, Inputs, resolve_exported};
use clipway_testing::formula;

use crate::made::{self, tensors_of, write_options};

/// A small model of OpenAI's kind whose texts lose their punctuation.
const CONFIG: &str = r#"{"embed_dim": 64, "quick_gelu": true,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1,
        "tokenizer_kwargs": {"clean": "canonicalize"}}}"#;

/// What the folder's own library reads decides: `clipway.json` says that punctuation is removed, and the library does
/// not know that file.
#[test]
fn a_folder_that_reads_texts_otherwise_is_not_verified() {
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
    let inputs = Inputs::built_in();
    let load = LoadOptions::new(Processor::with_threads(1).unwrap());
    for name in ["open_clip", "transformers", "openai"] {
        let target = Target::named(name).unwrap();
        let Ok(export) = Export::prepare(&source, target.spelling) else {
            assert_ne!(name, "open_clip");
            continue;
        };
        let folder = place.path().join(name);
        let loaded = LoadedTokenizer::find(&source, &own).unwrap().unwrap();
        let Ok(tokenizer) = loaded.parts_for(target.spelling.layout, &source) else {
            assert_ne!(name, "open_clip");
            continue;
        };
        let write = WriteOptions { formats: vec![target.format], tokenizer, ..write_options() };
        export.write(&folder, &write).unwrap();
        let verification =
            FolderVerification { inputs: &inputs, load: load.clone(), source: options.clone() };
        let report = verification.run(&folder, &checkpoint).unwrap();

        let written = resolve_exported(&folder).unwrap();
        assert_eq!(written.artifact().is_some(), name == "open_clip", "{name}");
        assert!(report.passed || report.first_bad_stage().is_some_and(|stage| stage.name == "tokens"));

        // The same folder with the tokenizer files of a model that only lowers case: what was lost is found.
        if name == "transformers" {
            let plain = clipway_run::text::tokenizer_files_for_clip(77);
            plain.into_iter().for_each(|file| fs::write(folder.join(file.name), file.bytes).unwrap());
            let lowered = Source::resolve(
                &folder,
                &SourceOptions { ignore_artifact: true, ..SourceOptions::default() },
            );
            let report = verification.run_resolved(&lowered.unwrap(), &checkpoint).unwrap();
            assert_eq!(report.first_bad_stage().map(|stage| stage.name.as_str()), Some("tokens"));
        }
    }
}
