//! A folded export against the source as trained.

use std::fs;
use std::sync::Arc;

use clipway_formats::Dtype;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::Export;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_run::verify::{FolderVerification, Inputs};
use clipway_testing::formula;

use crate::made::{self, tensors_of, write_options};

const CONFIG: &str = r#"{"embed_dim": 32, "custom_text": true, "vision_cfg": {"timm_model_name": "fastvit_t8",
    "timm_proj": null, "image_size": 64}, "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32,
    "heads": 1, "layers": 1}}"#;

#[test]
fn a_folder_is_verified_whatever_is_said_about_its_source() {
    let place = tempfile::tempdir().unwrap();
    let (source, config) = (place.path().join("bare.safetensors"), place.path().join("tiny.json"));
    fs::write(&config, CONFIG).unwrap();
    made::write(&source, &tensors_of(CONFIG), |info| {
        let mut values = Vec::new();
        if info.dtype != Dtype::F32 {
            return vec![0; info.bytes()];
        }
        formula::fill(&info.name, &info.shape, &mut values);
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    });

    let checkpoint = Arc::new(Checkpoint::open(&source).unwrap());
    let folded =
        SourceOptions { model: Some(ModelChoice::File(config)), fold: true, ..SourceOptions::default() };
    let folder = place.path().join("folded");
    let resolved = Source::of(Arc::clone(&checkpoint), &folded).unwrap();
    Export::prepare(&resolved, Default::default()).unwrap().write(&folder, &write_options()).unwrap();

    // With the export's options, and without any: then only the folder's own config describes the source.
    for said in [folded, SourceOptions::default()] {
        let load = LoadOptions::new(Processor::with_threads(2).unwrap());
        let verification = FolderVerification { inputs: &Inputs::built_in(), load, source: said };
        let report = verification.run(&folder, &checkpoint).unwrap();
        assert!(report.passed, "{}", report.explanation());
        // The tokenizer's ids exceed this vocabulary, and the report says so.
        let said = "made-up token ids instead of the texts': the tokenizer produces ids up to 49407, but the model has only 64";
        assert!(report.inputs.contains(said), "{}", report.inputs);
        assert_eq!((report.images > 0, report.texts > 0), (true, true));
    }
}
