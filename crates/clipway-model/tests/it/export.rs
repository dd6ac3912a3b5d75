//! Exports of a small model: folders, ledgers and refusals.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::architecture::build;
use clipway_model::artifact::Artifact;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::ConfigFile;
use clipway_model::contract::{Known, Origin};
use clipway_model::export::{Export, WeightsFormat, WriteOptions};
use clipway_model::plan::{Precision, Towers};
use clipway_model::source::{ModelChoice, Source, SourceOptions};

use crate::bench::{Bench, CONFIG, contents, failure, weights_of, write_options};

#[test]
fn exports_the_whole_contract_the_same_each_time() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let mut options = write_options(&cancel);
    options.formats.push(WeightsFormat::Pytorch);
    options.force = true;
    let report = bench.export_with(&bench.options(), &options).unwrap();
    assert_eq!(bench.leftovers(), ["model"]);
    let first = contents(&bench.target());
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "README.md",
            "clipway.json",
            "open_clip_config.json",
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.bin",
            "tokenizer.json",
        ]
    );
    bench.export_with(&bench.options(), &options).unwrap();
    assert!(contents(&bench.target()) == first, "the same input gives the same bytes");
    let text = String::from_utf8(first[1].1.clone()).unwrap();
    assert!(!text.contains(bench.root.path().to_str().unwrap()), "no absolute path");
    let artifact = Artifact::read(&bench.target()).unwrap();
    assert_eq!(artifact, report.artifact);
    assert_eq!(artifact.source.files["tiny.safetensors"].bytes, report.source_bytes);
    assert_eq!(artifact.tensors.len(), bench.tensors.len());
    let license = artifact.contract.license.clone().unwrap();
    assert_eq!(license, Known::new("mit".to_owned(), Origin::option("license")));
    let size: usize = first.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(report.folder_bytes, size as u64);
    assert_eq!(weights_of(&bench.target()), bench.tensors);
    assert_eq!(weights_of(&bench.target().join("open_clip_pytorch_model.bin")), bench.tensors);
    let check = Artifact::check_hashes(&bench.target()).unwrap();
    assert_eq!((check.tensors, check.files), (2 * bench.tensors.len(), 5));
    assert!(check.is_right(), "{:?}", check.differences);
}

#[test]
fn a_changed_byte_anywhere_is_found_by_the_hashes() {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    let check = |name: &str, change: fn(&mut Vec<u8>), expected: usize| {
        let path = bench.target().join(name);
        let right = fs::read(&path).unwrap();
        let mut wrong = right.clone();
        change(&mut wrong);
        fs::write(&path, wrong).unwrap();
        let report = Artifact::check_hashes(&bench.target()).unwrap();
        assert_eq!(report.differences.len(), expected, "{name}: {report:?}");
        assert!(!report.is_right());
        fs::write(&path, right).unwrap();
    };
    let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    // A weight counts both as a tensor and as a file.
    check("open_clip_model.safetensors", last, 2);
    for name in ["open_clip_config.json", "tokenizer.json", "README.md"] {
        check(name, last, 1);
    }
    // The header text belongs to no tensor.
    let in_header = |bytes: &mut Vec<u8>| {
        let place = bytes.windows(4).position(|window| window == b"\"pt\"").unwrap();
        bytes[place + 2] = b'u';
    };
    check("open_clip_model.safetensors", in_header, 1);
    // Places spread over the whole file, header and padding included.
    let weights = bench.target().join("open_clip_model.safetensors");
    let right = fs::read(&weights).unwrap();
    for place in (0..right.len()).step_by(37) {
        let mut wrong = right.clone();
        wrong[place] ^= 1 << (place % 8);
        fs::write(&weights, wrong).unwrap();
        let checked = Artifact::check_hashes(&bench.target());
        assert!(checked.is_err() || checked.is_ok_and(|report| !report.is_right()), "byte {place}");
    }
    fs::write(&weights, right).unwrap();
    fs::remove_file(bench.target().join("tokenizer.json")).unwrap();
    let report = Artifact::check_hashes(&bench.target()).unwrap();
    assert_eq!(report.differences, ["`tokenizer.json` is missing"]);
}

#[test]
fn shards_come_back_whole() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    for format in [WeightsFormat::Safetensors, WeightsFormat::Pytorch] {
        let options = WriteOptions {
            formats: vec![format],
            max_shard_bytes: Some(4096),
            force: true,
            ..write_options(&cancel)
        };
        let report = bench.export_with(&bench.options(), &options).unwrap();
        assert!(report.artifact.weights[&format].len() > 2);
        assert!(report.artifact.notes.iter().any(|note| note.contains("several files")));
        assert!(Checkpoint::open(bench.target()).unwrap().is_sharded());
        assert_eq!(weights_of(&bench.target()), bench.tensors);
        assert!(Artifact::check_hashes(&bench.target()).unwrap().is_right());
    }
}

#[test]
fn casts_and_towers_and_spellings() {
    let bench = Bench::new();
    let options = SourceOptions { precision: Some(Precision::F16), ..bench.options() };
    let report = bench.export(&options).unwrap();
    for ((info, half), (_, full)) in weights_of(&bench.target()).iter().zip(&bench.tensors) {
        assert_eq!(info.dtype, Dtype::F16);
        let (halves, _) = half.as_chunks::<2>();
        let (fulls, _) = full.as_chunks::<4>();
        let expected =
            fulls.iter().map(|bytes| half::f16::from_f32(f32::from_le_bytes(*bytes)).to_le_bytes());
        assert!(halves.iter().copied().eq(expected), "{}", info.name);
    }
    assert_eq!(report.ledger.written_bytes * 2, report.ledger.source_bytes);

    let checkpoint = Checkpoint::open(bench.write_source("tiny.pt")).unwrap();
    let image = SourceOptions { tower: Some(Towers::Image), ..bench.options() };
    let prepared = Source::of(checkpoint, &image).unwrap();
    let names = prepared.plan().tensors.iter().map(|planned| planned.target.name.as_str());
    assert!(names.clone().all(|name| name.starts_with("visual.") || name == "logit_scale"));
    assert!(names.clone().any(|name| name == "logit_scale"));
    let dropped: usize = prepared.ledger().dropped().map(|group| group.tensors).sum();
    assert_eq!(names.count() + dropped, bench.tensors.len());
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    assert!(export.notes()[0].contains("open_clip cannot load"));

    let custom = Bench::of(&CONFIG.replacen('{', r#"{"custom_text": true, "#, 1));
    for (from, to) in [(&bench, &custom), (&custom, &bench)] {
        let checkpoint = Checkpoint::open(from.write_source("other.pt")).unwrap();
        let prepared = Source::of(checkpoint, &to.options()).unwrap();
        let names: Vec<&str> = prepared.plan().tensors.iter().map(|p| p.target.name.as_str()).collect();
        let expected: Vec<&str> = to.tensors.iter().map(|(info, _)| info.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn leftovers_are_dropped_by_name_and_single_numbers_reshaped() {
    let mut bench = Bench::new();
    let count = bench.tensors.len();
    bench.find("logit_scale").0.shape = vec![1];
    for (name, dtype, shape) in
        [("attn_mask", Dtype::F32, vec![6, 6]), ("x.position_ids", Dtype::I64, vec![1, 6])]
    {
        let info = TensorInfo { name: name.to_owned(), dtype, shape };
        let bytes = vec![0; info.bytes()];
        bench.tensors.push((info, bytes));
    }
    let checkpoint = Checkpoint::open(bench.write_source("left.safetensors")).unwrap();
    let prepared = Source::of(checkpoint, &bench.options()).unwrap();
    assert_eq!(prepared.plan().tensors.len(), count);
    assert_eq!(prepared.plan().dropped.len(), 2);
    let text = prepared.ledger().to_string();
    assert!(text.contains("reshape") && text.contains("the causal mask is computed, not stored"), "{text}");
}

#[test]
fn resamples_positions_for_other_sizes() {
    let bench = Bench::new();
    let options = SourceOptions { image_size: Some([16, 12]), context_length: Some(9), ..bench.options() };
    let checkpoint = Checkpoint::open(bench.write_source("tiny.pt")).unwrap();
    let prepared = Source::of(checkpoint, &options).unwrap();
    let text = prepared.plan().to_string();
    assert!(
        text.contains("visual.positional_embedding  F32 [13, 16]  resample(2x2 to 4x3, 1 before)"),
        "{text}"
    );
    assert!(text.contains("positional_embedding  F32 [9, 8]  resample(6 to 9 rows)"), "{text}");
    bench.export(&options).unwrap();
    let config = ConfigFile::parse(&fs::read(bench.target().join("open_clip_config.json")).unwrap()).unwrap();
    assert_eq!((config.model.vision.image_size, config.model.text.context_length), ([16, 12], 9));
}

#[test]
fn a_value_beyond_f16_stops_the_export() {
    let mut bench = Bench::new();
    let weight = bench.find("visual.proj");
    weight.1[..4].copy_from_slice(&70000f32.to_le_bytes());
    weight.1[4..8].copy_from_slice(&(-1e9f32).to_le_bytes());
    let text =
        failure(&bench, bench.export(&SourceOptions { precision: Some(Precision::F16), ..bench.options() }));
    assert_eq!(text, "a tensor cannot be written in fp16: 2 values are out of range in `visual.proj`");
    bench.export(&SourceOptions { precision: Some(Precision::BF16), ..bench.options() }).unwrap();
}

#[test]
fn differences_come_all_at_once() {
    let mut bench = Bench::new();
    bench.find("ln_final.weight").0.name = "ln_final.gamma".to_owned();
    bench.find("visual.proj").0.shape = vec![8, 16];
    let text = failure(&bench, bench.export(&bench.options()));
    for expected in [
        "tiny.safetensors` does not match `",
        "`visual.proj`: expected [16, 8], found [8, 16]",
        "`ln_final.weight`: missing, [8]; is it `ln_final.gamma`?",
        "`ln_final.gamma`: unused, [8]; did you mean `ln_final.weight`?",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    bench.find("visual.proj").0 =
        TensorInfo { name: "visual.proj".to_owned(), dtype: Dtype::I32, shape: vec![16, 8] };
    bench.find("ln_final.gamma").0.name = "ln_final.weight".to_owned();
    let text = failure(&bench, bench.export(&bench.options()));
    assert!(text.contains("`visual.proj`: expected F32, found I32"), "{text}");
}

#[test]
fn the_config_is_never_guessed() {
    let bench = Bench::new();
    let text = failure(&bench, bench.export(&SourceOptions::default()));
    assert!(text.contains("shapes match no registered model"), "{text}");
    let named = |name: &str| SourceOptions { model: Some(ModelChoice::of(name)), ..SourceOptions::default() };
    let text = failure(&bench, bench.export(&named("ViT-B-23")));
    assert!(text.contains("`ViT-B-23`") && !text.contains("--model"), "{text}");
    let text = failure(&bench, bench.export(&named("none.json")));
    assert!(text.contains("cannot read `none.json`"), "{text}");
    for (key, value, expected) in [
        ("\"heads\": 2", "\"heads\": 3", "heads"),
        ("\"heads\"", "\"haeds\"", "haeds"),
        ("\"width\": 8", "\"width\": \"8\"", "width"),
    ] {
        fs::write(bench.path("tiny.json"), CONFIG.replace(key, value)).unwrap();
        let text = failure(&bench, bench.export(&bench.options()));
        assert!(text.contains("tiny.json") && text.contains(expected), "{text}");
    }
}

#[test]
fn bare_weights_that_fit_several_models_are_asked_for() {
    // The header of a ViT-B-32 without weights, as a sparse file.
    let bench = Bench::new();
    let config = clipway_model::registry::model("ViT-B-32").unwrap();
    let parameters = build(&config).unwrap().parameters;
    let info = |id| {
        let parameter = parameters.get(id);
        TensorInfo { name: parameter.name.clone(), dtype: parameter.dtype, shape: parameter.shape.clone() }
    };
    let infos: Vec<TensorInfo> = parameters.in_state_dict_order().into_iter().map(info).collect();
    let layout = clipway_formats::SafetensorsLayout::new(&infos, &[]).unwrap();
    let path = bench.path("bare.safetensors");
    fs::write(&path, layout.header_bytes()).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(layout.file_size()).unwrap();
    let text = Source::resolve(&path, &SourceOptions::default()).unwrap_err().to_string();
    assert!(text.ends_with(
        "fit 2 models\n  ViT-B-32 (GELU; as laion2b_e16, laion2b_s34b_b79k, datacomp_xl_s13b_b90k and 14 more)\n  \
         ViT-B-32-quickgelu (QuickGELU; as openai, laion400m_e31, laion400m_e32 and 2 more)\nthey differ only in the \
         activation, which no shape shows; a fine-tune has that of the weights it began with"
    ), "{text}");
    let named = SourceOptions { model: Some(ModelChoice::of("ViT-B-32")), ..SourceOptions::default() };
    let prepared = Source::resolve(&path, &named).unwrap();
    assert!(prepared.notes()[0].contains("GELU was used, because `ViT-B-32` was given"));
    let wrong = SourceOptions { model: Some(ModelChoice::of("ViT-B-16")), ..SourceOptions::default() };
    let error = Source::resolve(&path, &wrong).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`visual.conv1.weight`: expected [768, 3, 16, 16], found [768, 3, 32, 32]")
    );
}

#[test]
fn an_exported_folder_is_a_source() {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    let prepared = Source::resolve(bench.target(), &SourceOptions::default()).unwrap();
    let cancel = AtomicBool::new(false);
    let again = bench.path("again");
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    let report = export.write(&again, &WriteOptions { license: None, ..write_options(&cancel) }).unwrap();
    let contract = &report.artifact.contract;
    let license = contract.license.clone().unwrap();
    assert_eq!((license.value.as_str(), &license.from), ("mit", &Origin::option("license").in_artifact()));
    assert_eq!(contract.activation.from, Origin::key("tiny.json", "quick_gelu").in_artifact());
    for name in ["open_clip_model.safetensors", "open_clip_config.json"] {
        assert_eq!(
            fs::read(again.join(name)).unwrap(),
            fs::read(bench.target().join(name)).unwrap(),
            "{name}"
        );
    }
    let prepared = Source::resolve(bench.target(), &bench.options()).unwrap();
    assert!(prepared.notes()[0].contains("was ignored, because the model was given"));
}

const FASTVIT: &str = r#"{"embed_dim": 8, "custom_text": true, "vision_cfg": {"timm_model_name": "fastvit_t8",
    "timm_proj": null, "image_size": 64}, "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 8,
    "heads": 1, "layers": 1}}"#;

#[test]
fn the_card_of_a_folded_model_names_the_files_that_are_there() {
    let bench = Bench::of(FASTVIT);
    let checkpoint = Checkpoint::open(bench.write_source("tiny.safetensors")).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions { fold: true, ..bench.options() }).unwrap();
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    let folded = export.notes().iter().filter(|note| note.contains("folded for inference"));
    assert_eq!(folded.count(), 1, "{:?}", export.notes());
    let check = |name: &str, format: WeightsFormat, max_shard_bytes: Option<u64>, parts: &[&str]| {
        let cancel = AtomicBool::new(false);
        let options = WriteOptions { formats: vec![format], max_shard_bytes, ..write_options(&cancel) };
        export.write(&bench.path(name), &options).unwrap();
        let card = fs::read_to_string(bench.path(name).join("README.md")).unwrap();
        assert!(parts.iter().all(|part| card.contains(part)), "{name}: {card}");
        let named = |line: &str| line.split("{folder}/").nth(1)?.split('\'').next().map(str::to_owned);
        for file in card.lines().filter_map(named).filter(|file| !file.contains("{name}")) {
            assert!(bench.path(name).join(&file).exists(), "{file}");
        }
    };
    let one = "safetensors.torch.load_file(f'{folder}/open_clip_model.safetensors')";
    check("out/one", WeightsFormat::Safetensors, None, &[one]);
    let one = "torch.load(f'{folder}/open_clip_pytorch_model.bin', weights_only=True)";
    check("out/bin", WeightsFormat::Pytorch, None, &[one]);
    let several = ["for name in ['open_clip_model-00001-of-", "weights.update(safetensors.torch.load_file("];
    check("out/several", WeightsFormat::Safetensors, Some(6_000_000), &several);
}

#[test]
fn branches_are_folded_and_accounted_for() {
    let mut bench = Bench::of(FASTVIT);
    let checkpoint = Checkpoint::open(bench.write_source("tiny.safetensors")).unwrap();
    let options = SourceOptions { fold: true, ..bench.options() };
    let prepared = Source::of(checkpoint, &options).unwrap();
    let names: Vec<&str> =
        prepared.plan().tensors.iter().map(|planned| planned.target.name.as_str()).collect();
    assert!(names.contains(&"visual.trunk.stem.0.reparam_conv.weight"));
    assert!(!names.iter().any(|name| name.contains("conv_kxk") || name.contains("identity")));
    let rules: Vec<&str> = prepared.ledger().groups.iter().map(|group| group.rule.as_str()).collect();
    assert_eq!(rules, ["unchanged", "fold", "counters of batch norms that were folded"]);

    // A folded export says so, and is not folded again.
    bench.export(&options).unwrap();
    let folded = Arc::new(Checkpoint::open(bench.target()).unwrap());
    let again = Source::of(Arc::clone(&folded), &SourceOptions::default()).unwrap();
    assert!(again.config().model.folded);
    let error = Source::of(folded, &SourceOptions { fold: true, ..SourceOptions::default() }).unwrap_err();
    assert!(error.to_string().ends_with("the branches are already folded"), "{error}");

    // A missing branch is reported by its own name.
    bench.tensors.retain(|(info, _)| info.name != "visual.trunk.stem.0.conv_kxk.0.bn.running_var");
    let checkpoint = Checkpoint::open(bench.write_source("short.safetensors")).unwrap();
    let error = Source::of(checkpoint, &options).unwrap_err().to_string();
    assert!(error.contains("`visual.trunk.stem.0.conv_kxk.0.bn.running_var`"), "{error}");

    // A model without branches has nothing to fold.
    let bench = Bench::new();
    let error = bench.export(&SourceOptions { fold: true, ..bench.options() }).unwrap_err().to_string();
    assert!(error.contains("the folded form is not supported"), "{error}");
}

/// PyTorch can be told to write no checksums; it leaves zeros in their place.
#[test]
fn a_source_without_checksums_is_said_to_be_one() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.pt");
    let noted = |path: &Path| {
        let checkpoint = Checkpoint::open(path).unwrap();
        let prepared = Source::of(checkpoint, &bench.options()).unwrap();
        prepared.notes().iter().any(|note| note.contains("has no checksums"))
    };
    assert!(!noted(&path));
    let mut bytes = fs::read(&path).unwrap();
    for (signature, field) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)] {
        for place in 0..bytes.len() - 4 {
            if bytes[place..].starts_with(signature) {
                bytes[place + field..place + field + 4].fill(0);
            }
        }
    }
    fs::write(&path, bytes).unwrap();
    assert!(noted(&path));
}
