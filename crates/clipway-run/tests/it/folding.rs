//! A folded export against the source as it was trained.

use std::fs;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::architecture::build;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::ModelConfig;
use clipway_model::export::{
    ExportOptions, ModelChoice, TokenizerParts, WeightsFormat, WriteOptions, prepare,
};
use clipway_model::output::StepHook;
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_run::verify::{FolderVerification, Inputs};
use clipway_testing::formula;

const CONFIG: &str = r#"{"embed_dim": 32, "custom_text": true, "vision_cfg": {"timm_model_name": "fastvit_t8",
    "timm_proj": null, "image_size": 64}, "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32,
    "heads": 1, "layers": 1}}"#;

#[test]
fn a_folder_is_verified_whatever_is_said_about_its_source() {
    let place = tempfile::tempdir().unwrap();
    let (source, config) = (place.path().join("bare.safetensors"), place.path().join("tiny.json"));
    fs::write(&config, CONFIG).unwrap();
    let parameters = build(&ModelConfig::parse(CONFIG.as_bytes()).unwrap()).unwrap().parameters;
    let infos: Vec<TensorInfo> = parameters
        .iter()
        .map(|(_, p)| TensorInfo { name: p.name.clone(), dtype: p.dtype, shape: p.shape.clone() })
        .collect();
    let bytes_of = |index: usize| -> std::io::Result<Vec<u8>> {
        let TensorInfo { name, dtype, shape } = &infos[index];
        let mut values = Vec::new();
        if *dtype != Dtype::F32 {
            return Ok(vec![0; infos[index].bytes()]);
        }
        formula::fill(name, shape, &mut values);
        Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    write_safetensors(&mut fs::File::create(&source).unwrap(), &infos, &[], bytes_of).unwrap();

    let checkpoint = Checkpoint::open(&source).unwrap();
    let folded =
        ExportOptions { model: Some(ModelChoice::File(config)), fold: true, ..ExportOptions::default() };
    let folder = place.path().join("folded");
    let write = WriteOptions {
        formats: vec![WeightsFormat::Safetensors],
        max_shard_bytes: None,
        tokenizer: TokenizerParts::default(),
        licence: None,
        force: false,
        progress: &(),
        cancel: &AtomicBool::new(false),
        verify: None,
        hook: StepHook::default(),
    };
    prepare(&checkpoint, &folded).unwrap().write(&folder, &write).unwrap();

    // The options of the export, and none: then the folder's own config is what is known of the source.
    for said in [folded, ExportOptions::default()] {
        let load = LoadOptions::new(Processor::with_threads(2).unwrap());
        let verification = FolderVerification { inputs: &Inputs::built_in(), load, source: said };
        let report = verification.run(&folder, &checkpoint).unwrap();
        assert!(report.passed, "{}", report.explanation());
        // The tokeniser's ids are beyond this vocabulary, which is said.
        let said = "made-up token ids in place of the texts': the tokeniser gives ids up to 49407, and the model has 64";
        assert!(report.inputs.contains(said), "{}", report.inputs);
        assert_eq!((report.images > 0, report.texts > 0), (true, true));
    }
}
