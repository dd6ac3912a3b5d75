//! Which tensors of the demo model become int8, what that costs, and that an artifact computes what was measured.

use std::sync::Arc;

use clipway_model::export::Export;
use clipway_model::plan::Integers;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::clip::Clip;
use clipway_run::engine::Compute;
use clipway_run::load::LoadOptions;
use clipway_run::quantize::{QuantizeError, QuantizeOptions, quantize};
use clipway_run::verify::{FolderVerification, Inputs, Outputs};

use crate::emoji::example;
use crate::made::write_options;

fn source() -> Source {
    let model = Some(ModelChoice::File(example().join("emoji-clip.json")));
    let options = SourceOptions { model, ..SourceOptions::default() };
    Source::resolve(example().join("emoji-clip.pt"), &options).unwrap()
}

#[test]
fn an_artifact_computes_what_was_measured() {
    let source = source();
    let (load, inputs) = (LoadOptions::default(), Inputs::built_in());
    let keep = vec!["visual.conv1".to_owned(), "transformer.resblocks.0".to_owned()];
    let options = QuantizeOptions { keep, max_loss: Some(0.01), ..QuantizeOptions::default() };
    let (names, quantization) = quantize(&source, &load, &inputs, &options).unwrap();
    assert!(
        names.len() == quantization.tensors
            && names.contains_key("visual.transformer.resblocks.0.mlp.c_fc.weight")
    );
    assert!(quantization.kept.len() == 5 && quantization.kept.iter().all(|kept| kept.why == "asked for"));
    assert!(quantization.kept.iter().all(|kept| !names.contains_key(&kept.tensor)));
    let [image, text] = [quantization.reported.image, quantization.reported.text].map(Option::unwrap);
    assert_eq!((image.inputs, text.inputs), (3, 4), "half of the inputs");
    assert!(image.mean > 0.0 && image.mean <= image.worst && image.worst < 0.01, "{image:?}");
    assert!(quantization.alone.is_empty(), "nothing had to be chosen");

    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("int8");
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    prepared.quantized(&names, quantization).unwrap().write(&place, &write_options()).unwrap();
    let measured = LoadOptions { quantized: Some(Arc::new(names)), ..load.clone() };
    let measured = Outputs::compute("", &Clip::load(&source, &measured).unwrap(), &inputs, false).unwrap();
    let artifact = Source::resolve(&place, &SourceOptions::default()).unwrap();
    let run = |compute| {
        let clip = Clip::load(&artifact, &LoadOptions { compute, ..load.clone() }).unwrap();
        Outputs::compute("", &clip, &inputs, false).unwrap()
    };
    let found = run(Compute::AsStored);
    assert_eq!(found.image_features, measured.image_features);
    assert_eq!(found.text_features, measured.text_features);
    assert!(run(Compute::F32).image_features != found.image_features, "f32 on request");

    // Verification uses a tolerance of its own for int8, and that of f32 for the widened weights.
    let verification =
        FolderVerification { inputs: &inputs, load: load.clone(), source: SourceOptions::default() };
    let report = verification.run_resolved(&artifact, source.checkpoint()).unwrap();
    assert!(report.passed, "{}", report.explanation());
    assert_eq!(report.stages.last().map(|stage| stage.tolerance.name.as_str()), Some("int8"));
    let widened = folder.path().join("f32");
    Export::prepare(&artifact, Default::default()).unwrap().write(&widened, &write_options()).unwrap();
    let widened = Source::resolve(&widened, &SourceOptions::default()).unwrap();
    let report = verification.run_resolved(&widened, artifact.checkpoint()).unwrap();
    assert!(report.passed, "{}", report.explanation());
    assert_eq!(report.stages.last().map(|stage| stage.tolerance.name.as_str()), Some("f32"));

    let again = quantize(&artifact, &load, &inputs, &QuantizeOptions::default()).expect_err("it is in int8");
    assert!(matches!(again, QuantizeError::Already { found: Integers::Int8, .. }), "{again}");
}

#[test]
fn a_budget_keeps_what_costs_most() {
    let source = source();
    let (load, mut inputs) = (LoadOptions::default(), Inputs::built_in());
    let run = |options: &QuantizeOptions, inputs: &Inputs| quantize(&source, &load, inputs, options);
    let (all, free) = run(&QuantizeOptions::default(), &inputs).unwrap();
    let whole = [free.chosen_by.image, free.chosen_by.text].map(|tower| tower.unwrap().mean);
    // Half of the cost of putting everything in int8.
    let most = whole[0].max(whole[1]) / 2.0;
    let (names, found) =
        run(&QuantizeOptions { max_loss: Some(most), ..QuantizeOptions::default() }, &inputs).unwrap();
    let means = [found.chosen_by.image, found.chosen_by.text].map(|tower| tower.unwrap().mean);
    assert!(means.iter().all(|mean| *mean <= most), "{means:?} of at most {most}");
    assert!(!found.kept.is_empty() && found.kept.iter().all(|kept| kept.why == "budget"));
    assert_eq!(names.len() + found.kept.len(), all.len());
    assert_eq!(found.alone.len(), all.len(), "each was tried alone");
    // Nothing meets a limit of almost no loss.
    let error = run(&QuantizeOptions { max_loss: Some(1e-12), ..QuantizeOptions::default() }, &inputs)
        .expect_err("less");
    assert!(
        error.code() == "over-budget" && error.to_string().contains("with every tensor in int8"),
        "{error}"
    );
    let unknown = QuantizeOptions { keep: vec!["visual.conv".to_owned()], ..QuantizeOptions::default() };
    assert_eq!(
        run(&unknown, &inputs).expect_err("no such module").to_string(),
        "`visual.conv` is no tensor that could be in int8, and no module of such tensors"
    );
    let every = ["visual", "transformer", "token_embedding"].map(str::to_owned).to_vec();
    let nothing = run(&QuantizeOptions { keep: every, ..QuantizeOptions::default() }, &inputs);
    assert!(matches!(nothing, Err(QuantizeError::Nothing { integers: Integers::Int8 })));
    inputs.texts.truncate(1);
    assert_eq!(
        run(&QuantizeOptions::default(), &inputs).expect_err("one text").to_string(),
        "expected at least 2 texts, half to choose and half to report, found 1"
    );
}

#[test]
fn an_int4_artifact_computes_what_was_measured() {
    let source = source();
    let (load, inputs) = (LoadOptions::default(), Inputs::built_in());
    let options = QuantizeOptions { to: Integers::Int4, ..QuantizeOptions::default() };
    let (chosen, quantization) = quantize(&source, &load, &inputs, &options).unwrap();
    assert!(chosen.values().all(|integers| *integers == Integers::Int4));
    let [image, text] = [quantization.reported.image, quantization.reported.text].map(Option::unwrap);
    assert!(image.worst > 1e-5 && image.worst < 0.05 && text.worst < 0.05, "{image:?} {text:?}");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("int4");
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    prepared.quantized(&chosen, quantization).unwrap().write(&place, &write_options()).unwrap();
    let run = |source: &Source, load: LoadOptions| {
        Outputs::compute("", &Clip::load(source, &load).unwrap(), &inputs, false).unwrap()
    };
    let measured = run(&source, LoadOptions { quantized: Some(Arc::new(chosen)), ..load.clone() });
    let artifact = Source::resolve(&place, &SourceOptions::default()).unwrap();
    let found = run(&artifact, load.clone());
    assert_eq!(found.image_features, measured.image_features);
    assert_eq!(found.text_features, measured.text_features);
    let verification = FolderVerification { inputs: &inputs, load, source: SourceOptions::default() };
    let report = verification.run_resolved(&artifact, source.checkpoint()).unwrap();
    assert!(report.passed, "{}", report.explanation());
    assert_eq!(report.stages.last().map(|stage| stage.tolerance.name.as_str()), Some("int4"));
}
