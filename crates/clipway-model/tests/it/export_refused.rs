//! Exports that are refused or fail: the message and its code.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clipway_formats::{Dtype, SafetensorsLayout, TensorInfo, write_safetensors};
use clipway_model::architecture::build;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::ConfigFile;
use clipway_model::export::{Export, ExportError, WeightsFormat, WriteOptions};
use clipway_model::output::{Step, StepHook};
use clipway_model::plan::Precision;
use clipway_model::source::{ConfigOrigin, ModelChoice, Source, SourceError, SourceOptions};
use clipway_model::state_dict::{Selection, WeightsChoice};

use crate::bench::{Bench, write_options};

/// Checks the message and the code of an error, with the test folder stripped.
fn check_told(bench: &Bench, error: &ExportError, expected: &str) {
    let folder = bench.path("x").parent().unwrap().to_owned();
    let mut text = error.to_string();
    let code = format!(" [{}]", error.code());
    if !text.ends_with(&code) {
        text.push_str(&code);
    }
    for folder in [folder.canonicalize().unwrap(), folder] {
        text = text.replace(&format!("{}/", folder.display()), "");
    }
    assert_eq!(text, expected);
}

fn named(name: &str) -> SourceOptions {
    SourceOptions { model: Some(ModelChoice::of(name)), ..SourceOptions::default() }
}

/// Writes a file with a model's header and no weights, as a sparse file.
fn write_bare(path: &Path, tensors: &[TensorInfo]) {
    let layout = SafetensorsLayout::new(tensors, &[]).unwrap();
    fs::write(path, layout.header_bytes()).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(layout.file_size()).unwrap();
}

/// Returns the tensors of a registered model.
fn registered(name: &str) -> Vec<TensorInfo> {
    let parameters = build(&clipway_model::registry::model(name).unwrap()).unwrap().parameters;
    let info = |id| {
        let parameter = parameters.get(id);
        TensorInfo { name: parameter.name.clone(), dtype: parameter.dtype, shape: parameter.shape.clone() }
    };
    parameters.in_state_dict_order().into_iter().map(info).collect()
}

#[test]
fn what_cannot_be_prepared_says_why_and_what_to_do() {
    let bench = Bench::new();
    let source = bench.write_source("tiny.safetensors");
    let check = |source: &Path, options: &SourceOptions, expected: &str| {
        let checkpoint = Checkpoint::open(source).unwrap();
        let error = Source::of(checkpoint, options).expect_err(expected);
        check_told(&bench, &error.into(), expected);
    };
    let ema = SourceOptions {
        selection: Selection { choice: Some(WeightsChoice::Ema), ..Selection::default() },
        ..bench.options()
    };
    check(&source, &ema, "`tiny.safetensors`: no ema weights, only raw [missing]");
    let two = bench.path("two.pt");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/checkpoints/two_models.pt"), &two).unwrap();
    check(&two, &bench.options(), "`two.pt`: the weights could be under `model` and `net` [ambiguous]");
    let strange = ["a", "b.c", "d", "e", "f", "g"];
    let info = |name: &str| TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape: vec![2] };
    write_bare(&bench.path("strange.safetensors"), &strange.map(info));
    check(
        &bench.path("strange.safetensors"),
        &bench.options(),
        "`strange.safetensors`: the tensor names match no known layout (`a`, `b.c`, `d`, \
         `e`, `f`) [unknown-layout]",
    );
    check(
        &source,
        &named("nothing of the kind"),
        "unknown architecture `nothing of the kind` [unknown-model]",
    );
    check(
        &source,
        &named("none.json"),
        "cannot read `none.json`: No such file or directory (os error 2) [io]",
    );
    let odd_size = SourceOptions { image_size: Some([2, 8]), ..bench.options() };
    check(
        &source,
        &odd_size,
        "the image size does not fit the model: `$.vision_cfg.patch_size`: 2x8 pixels in patches of 4x4 give 1 tokens; \
         expected 2 to 65536 [bad-value]",
    );
    let odd_length = SourceOptions { context_length: Some(0), ..bench.options() };
    check(
        &source,
        &odd_length,
        "the context length does not fit the model: `$.text_cfg.context_length`: expected an integer from 1 to 65536, \
         found 0 [bad-value]",
    );
    fs::write(bench.path("clipway.json"), r#"{"artifact_version": 9}"#).unwrap();
    let error = ExportError::from(SourceError::from(Checkpoint::open(&source).unwrap_err()));
    let expected =
        "`clipway.json`: `$.artifact_version`: version 9; this version of clipway reads 3 [unsupported]";
    check_told(&bench, &error, expected);
    fs::remove_file(bench.path("clipway.json")).unwrap();
    for (key, value, expected) in [
        (
            "\"heads\": 2",
            "\"heads\": 3",
            "`other.json`: `$.text_cfg.heads`: 3 does not divide the width 8 [bad-value]",
        ),
        (
            "\"heads\"",
            "\"haeds\"",
            "`other.json`: `$.text_cfg.haeds`: unknown key; the nearest known key is `heads` [unknown-key]",
        ),
    ] {
        let config = fs::read_to_string(bench.path("tiny.json")).unwrap().replace(key, value);
        fs::write(bench.path("other.json"), config).unwrap();
        let model = Some(ModelChoice::File(bench.path("other.json")));
        check(&source, &SourceOptions { model, ..SourceOptions::default() }, expected);
    }
}

#[test]
fn weights_that_fit_no_model_list_what_is_near() {
    let bench = Bench::new();
    let path = bench.path("bare.safetensors");
    let check = |change: &dyn Fn(&mut Vec<TensorInfo>), options: &SourceOptions, expected: &str| {
        let mut tensors = registered("ViT-B-32");
        change(&mut tensors);
        write_bare(&path, &tensors);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let Err(error) = Source::of(checkpoint, options) else { panic!("expected {expected}") };
        let text = error.to_string().replace(&path.display().to_string(), "bare");
        assert!(text.starts_with(expected), "{text}");
        let code = if options.model.is_some() { "mismatch" } else { "ambiguous-model" };
        assert_eq!(error.code(), code, "{text}");
    };
    let shaped = |name: &'static str, shape: [usize; 2]| {
        move |tensors: &mut Vec<TensorInfo>| {
            tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().shape = shape.to_vec();
        }
    };
    let any = SourceOptions::default();
    let at_another_size = "`bare` has no config, and its shapes match no registered model\n  \
         ViT-B-32, at another size\n  ViT-B-32-256, at another size\n  ViT-B-32-quickgelu, at another size; they determine the whole config except for\n  `vision_cfg.head_width`: heads have no tensors";
    let square = shaped("visual.positional_embedding", [9 * 9 + 1, 768]);
    check(&square, &any, at_another_size);
    check(
        &square,
        &named("ViT-B-16"),
        "`bare` does not match `ViT-B-16`\n  `visual.positional_embedding`: expected [197, 768], found [82, 768]\n  \
         `visual.conv1.weight`: expected [768, 3, 16, 16], found [768, 3, 32, 32]",
    );
    let longer = shaped("positional_embedding", [80, 512]);
    check(&longer, &any, at_another_size);
    check(
        &longer,
        &named("ViT-B-32"),
        "`bare` does not match `ViT-B-32`\n  `positional_embedding`: expected [77, 512], found [80, 512]",
    );
    let without = |tensors: &mut Vec<TensorInfo>| tensors.retain(|tensor| tensor.name != "ln_final.bias");
    check(
        &without,
        &any,
        "`bare` has no config, and its shapes match no registered model\n  ViT-B-32, except for 1 \
         tensor\n  ViT-B-32-quickgelu, except for 1 tensor",
    );
    let differences = "does not match `ViT-B-16`\n  `visual.positional_embedding`: expected [197, 768], found \
         [50, 768]\n  `visual.conv1.weight`: expected [768, 3, 16, 16], found [768, 3, 32, 32]\n  \
         `ln_final.bias`: missing, [512]";
    check(&without, &named("ViT-B-16"), &format!("`bare` {differences}"));
    for name in ["ViT-B-32", "ViT-B-32-quickgelu"] {
        let expected = format!("`bare` does not match `{name}`\n  `ln_final.bias`: missing, [512]");
        check(&without, &named(name), &expected);
    }
}

#[test]
fn where_the_config_comes_from_is_told() {
    let bench = Bench::new();
    let source = Checkpoint::open(bench.write_source("tiny.safetensors")).unwrap();
    let config = ConfigFile::parse(&fs::read(bench.path("tiny.json")).unwrap()).unwrap();
    let given = ModelChoice::Config(Box::new(config.clone()));
    let prepared =
        Source::of(source, &SourceOptions { model: Some(given), ..SourceOptions::default() }).unwrap();
    assert_eq!(prepared.origin(), &ConfigOrigin::Given);
    assert_eq!(prepared.origin().shown(), "the given config");
    assert_eq!(prepared.config().model, config.model);
    assert_eq!(prepared.origin().name(), None);

    let path = bench.path("bare.safetensors");
    write_bare(&path, &registered("ViT-S-32"));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    assert_eq!(prepared.origin(), &ConfigOrigin::OnlyFit("ViT-S-32".to_owned()));
    assert_eq!(prepared.origin().name(), Some("ViT-S-32"));
    assert_eq!(
        prepared.notes(),
        [
            "`ViT-S-32` is the only registered model with these shapes; its activation, GELU, was used",
            "no pretrained tag of `ViT-S-32` states its preprocessing: open_clip's default was assumed, mean \
             [0.48145466, 0.4578275, 0.40821073], std [0.26862954, 0.26130258, 0.27577711], bicubic, shortest",
        ]
    );
}

/// Returns a hook that acts just before a file of this name is created.
fn before_file(name: &'static str, act: impl Fn(&Path) + Send + Sync + 'static) -> StepHook {
    StepHook::new(move |step, path| {
        if step == Step::CreateFile && path.ends_with(name) {
            act(path);
        }
        Ok(())
    })
}

/// Checks that an export with this hook fails and leaves nothing behind.
fn fails(bench: &Bench, formats: &[WeightsFormat], hook: StepHook, expected: &str) {
    let cancel = AtomicBool::new(false);
    let options = WriteOptions { formats: formats.to_vec(), hook, ..write_options(&cancel) };
    let error = bench.export_with(&bench.options(), &options).unwrap_err();
    check_told(bench, &error, expected);
    assert_eq!(bench.leftovers(), Vec::<String>::new(), "{error}");
}

#[test]
fn a_source_that_changes_while_it_is_read_is_an_error() {
    const BOTH: [WeightsFormat; 2] = [WeightsFormat::Safetensors, WeightsFormat::Pytorch];
    let bench = Bench::new();
    let source = bench.path("tiny.safetensors");
    let changed = source.clone();
    let change = move |_: &Path| {
        let mut bytes = fs::read(&changed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&changed, bytes).unwrap();
    };
    fails(
        &bench,
        &BOTH,
        before_file("open_clip_pytorch_model.bin", change),
        "`tiny.safetensors` changed while it was read: tensor `ln_final.bias` [source-changed]",
    );
    // One format writes the largest tensor first, the other starts with the first tensor.
    for (name, format, byte) in [
        ("open_clip_model.safetensors", WeightsFormat::Safetensors, 14012),
        ("open_clip_pytorch_model.bin", WeightsFormat::Pytorch, 4856),
    ] {
        let cut = source.clone();
        let cut = move |_: &Path| {
            fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(4000).unwrap();
        };
        let expected = format!("`tiny.safetensors`: byte {byte}: failed to fill whole buffer [truncated]");
        fails(&bench, &[format], before_file(name, cut), &expected);
    }
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let bench = Bench::new();
    let check = |change: fn(&Path), expected: &str| {
        // The contract is made last.
        fails(&bench, &[WeightsFormat::Safetensors], before_file("clipway.json", change), expected);
    };
    check(
        |path| fs::write(path.with_file_name("README.md"), "other").unwrap(),
        "`out/model/README.md`: it differs from what was written; the disk or its cable may be failing [read-back]",
    );
    check(
        |path| fs::remove_file(path.with_file_name("tokenizer.json")).unwrap(),
        "`out/model/tokenizer.json`: No such file or directory (os error 2); the disk or its cable may be failing [read-back]",
    );
    fn rewrite(path: &Path, change: fn(&mut Vec<(TensorInfo, Vec<u8>)>)) {
        let path = path.with_file_name("open_clip_model.safetensors");
        let mut tensors = crate::bench::weights_of(&path);
        change(&mut tensors);
        let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
        let mut out = Vec::new();
        let metadata = [("format".to_owned(), "pt".to_owned())];
        write_safetensors(&mut out, &infos, &metadata, |index| Ok(&tensors[index].1)).unwrap();
        fs::write(path, out).unwrap();
    }
    check(
        |path| rewrite(path, |tensors| tensors[3].0.name.push('x')),
        "`out/model/open_clip_model.safetensors`: it contains other tensors than were written; the disk or its cable may be failing [read-back]",
    );
    check(
        |path| rewrite(path, |tensors| drop(tensors.pop())),
        "`out/model`: some written tensors are missing; the disk or its cable may be failing [read-back]",
    );
    check(
        |path| rewrite(path, |tensors| tensors[2].1[0] ^= 1),
        "`out/model/open_clip_model.safetensors`: tensor `logit_scale` differs from what was written; the disk or its cable may be failing [read-back]",
    );
}

#[test]
fn an_interrupt_while_it_is_verified_is_an_interrupt() {
    let bench = Bench::new();
    let cancel = Arc::new(AtomicBool::new(false));
    let verify = |_: &Path| {
        cancel.store(true, Ordering::Relaxed);
        Err("stopped".into())
    };
    let options = WriteOptions { verify: Some(&verify), ..write_options(&cancel) };
    let error = bench.export_with(&bench.options(), &options).unwrap_err();
    check_told(&bench, &error, "interrupted; nothing was written [interrupted]");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

#[test]
fn values_out_of_range_are_counted_by_tensor() {
    let mut bench = Bench::new();
    let spoil = |bench: &mut Bench, least: usize| {
        for (_, bytes) in bench.tensors.iter_mut().filter(|(info, _)| info.elements() > least).take(7) {
            bytes[..4].copy_from_slice(&f32::MAX.to_le_bytes());
        }
    };
    spoil(&mut bench, 0);
    let options = SourceOptions { precision: Some(Precision::BF16), ..bench.options() };
    let error = bench.export(&options).unwrap_err();
    let each = "1 value is out of range in";
    check_told(
        &bench,
        &error,
        &format!(
            "7 tensors cannot be written in bf16: {each} `positional_embedding`, {each} `text_projection`, {each} \
             `logit_scale`, {each} `visual.class_embedding`, {each} `visual.positional_embedding`, and more in 2 \
             others [overflow]"
        ),
    );
}

#[test]
fn refusals_of_the_output_have_codes() {
    let bench = Bench::new();
    let source = bench.write_source("tiny.safetensors");
    let checkpoint = Checkpoint::open(&source).unwrap();
    let prepared = Source::of(checkpoint, &bench.options()).unwrap();
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    let cancel = AtomicBool::new(false);
    let check = |target: &str, force: bool, expected: &str| {
        let options = WriteOptions { force, ..write_options(&cancel) };
        let error = export.write(&bench.path(target), &options).unwrap_err();
        check_told(&bench, &error, expected);
    };
    fs::create_dir(bench.path("out/model")).unwrap();
    fs::write(bench.path("out/model/thesis.txt"), "mine").unwrap();
    check("out/model", false, "`out/model` exists [exists]");
    check(
        "out/model",
        true,
        "refusing to replace `out/model`: it contains `thesis.txt`, which no export wrote [not-replaceable]",
    );
    check(
        "tiny.safetensors",
        true,
        "the output `tiny.safetensors` and the source `tiny.safetensors` overlap [overlaps-source]",
    );
    check(
        "tiny.safetensors/x",
        true,
        "cannot look at `tiny.safetensors/x`: Not a directory (os error 20) [write]",
    );
    check("out/..", true, "`out/..` cannot be an output: it has no name [bad-target]");
    assert_eq!(fs::read(bench.path("out/model/thesis.txt")).unwrap(), b"mine");

    // No input of the run may lie in what is replaced.
    fs::remove_file(bench.path("out/model/thesis.txt")).unwrap();
    bench.export(&bench.options()).unwrap();
    let texts = bench.path("out/model/README.md");
    let options = WriteOptions { force: true, inputs: vec![&texts], ..write_options(&cancel) };
    let error = export.write(&bench.path("out/model"), &options).unwrap_err();
    check_told(
        &bench,
        &error,
        "the output `out/model` and the source `out/model/README.md` overlap [overlaps-source]",
    );
    let config = bench.path("out/model/open_clip_config.json");
    let options = SourceOptions { model: Some(ModelChoice::File(config)), ..bench.options() };
    let described = Source::of(Checkpoint::open(&source).unwrap(), &options).unwrap();
    let export = Export::prepare(&described, Default::default()).unwrap();
    let error =
        export.write(&bench.path("out/model"), &WriteOptions { force: true, ..write_options(&cancel) });
    assert_eq!(error.unwrap_err().code(), "overlaps-source");
    assert!(bench.path("out/model/README.md").is_file());
}
