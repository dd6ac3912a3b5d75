//! Int8 artifacts: what is written, read back and refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::artifact::Quantization;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, ExportError, ExportReport, WriteOptions};
use clipway_model::plan::{Fate, Integers, Precision, Towers};
use clipway_model::quantize::candidates;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_model::state_dict::cast_to_f32;

use super::bench::{Bench, write_options};

/// Tensors of a file with their bytes.
pub type Tensors = Vec<(TensorInfo, Vec<u8>)>;

pub const WEIGHT: &str = "visual.transformer.resblocks.0.mlp.c_fc.weight";

/// Exports a source with every eligible tensor in these integers, and returns the report.
pub fn export_in(
    integers: Integers,
    bench: &Bench,
    path: &Path,
    place: &str,
) -> Result<ExportReport, ExportError> {
    let source = Source::of(Checkpoint::open(path).unwrap(), &bench.options()).unwrap();
    let chosen: BTreeMap<String, Integers> = candidates(source.model(), Towers::Both)
        .into_iter()
        .map(|candidate| (candidate.name, integers))
        .collect();
    let loss =
        r#"{"tensors": 0, "elements": 0, "kept": [], "inputs": "none", "chosen_by": {}, "reported": {}}"#;
    let quantization = Quantization { integers, ..serde_json::from_str(loss).unwrap() };
    let target = Target::named("clipway").unwrap();
    let cancel = AtomicBool::new(false);
    let options = WriteOptions { formats: vec![target.format], ..write_options(&cancel) };
    let prepared = Export::prepare(&source, target.spelling)?;
    prepared.quantized(&chosen, quantization)?.write(&bench.path(place), &options)
}

/// A tensor of a file, with its bytes.
pub fn bytes(path: &Path, name: &str) -> (TensorInfo, Vec<u8>) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let file = checkpoint.tensors();
    let index = file.tensors().iter().position(|tensor| tensor.name == name).unwrap();
    let mut bytes = Vec::new();
    file.read(index, &mut bytes).unwrap();
    (file.tensors()[index].clone(), bytes)
}

pub fn values(path: &Path, name: &str) -> (TensorInfo, Vec<f32>) {
    let (info, bytes) = bytes(path, name);
    let mut values = vec![0.0; info.elements()];
    cast_to_f32(info.dtype, &bytes, &mut values);
    (info, values)
}

#[test]
fn an_artifact_in_int8_is_read_back_and_widened() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    let report = export_in(Integers::Int8, &bench, &path, "out/int8").unwrap();
    let ledger = &report.ledger;
    assert_eq!(ledger.source_tensors, bench.tensors.len());
    let quantized: Vec<_> = ledger.groups.iter().filter(|group| group.rule == "quantize").collect();
    assert!(quantized.len() == 1 && quantized[0].fate == Fate::Consumed && quantized[0].tensors > 10);
    assert_eq!(ledger.written_tensors, bench.tensors.len() + quantized[0].tensors, "each has its scales");
    let weights = report.folder.join("clipway_model.safetensors");
    let (info, stored) = values(&weights, WEIGHT);
    let (scale_info, scales) = values(&weights, &format!("{WEIGHT}.scale"));
    assert_eq!((info.dtype, scale_info.dtype), (Dtype::I8, Dtype::F32));
    assert_eq!(scale_info.shape, [info.shape[0]]);
    // Each widened value is within half a step of the original, unless it was clipped.
    let (_, before) = values(&path, WEIGHT);
    let width = info.shape[1];
    for (index, (before, stored)) in before.iter().zip(&stored).enumerate() {
        let scale = scales[index / width];
        let near = (stored * scale - before).abs() <= 0.5001 * scale;
        assert!(near || stored.abs() == 127.0, "{index}: {before} is {stored} times {scale}");
    }
    // It is an artifact like any other, and its folder is a source.
    let source = Source::resolve(&report.folder, &SourceOptions::default()).unwrap();
    assert_eq!(source.layout().name, "clipway");
    assert_eq!(
        source.artifact().and_then(|artifact| artifact.quantization.as_ref()).map(|q| q.tensors),
        Some(0)
    );
    let weight = source.plan().tensors.iter().find(|planned| planned.target.name == WEIGHT).unwrap();
    assert!(weight.integers() == Some(Integers::Int8) && weight.target.dtype == Dtype::F32);
    // Without a precision, it is copied as stored.
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    let copy = prepared.write(&bench.path("out/copy"), &write_options(&AtomicBool::new(false))).unwrap();
    let weights_of = |folder: &Path| std::fs::read(folder.join("clipway_model.safetensors")).unwrap();
    assert!(weights_of(&copy.folder) == weights_of(&report.folder));
    assert_eq!(copy.artifact.quantization, report.artifact.quantization);
    // There and back: the widened numbers, with a note that says so.
    let options = SourceOptions { precision: Some(Precision::F32), ..SourceOptions::default() };
    let source = Source::resolve(&report.folder, &options).unwrap();
    let prepared = Export::prepare(&source, Default::default()).unwrap();
    assert!(prepared.notes().iter().any(|note| note.contains("stored in int8")), "{:?}", prepared.notes());
    let report = prepared.write(&bench.path("out/f32"), &write_options(&AtomicBool::new(false))).unwrap();
    let (info, widened) = values(&report.folder, WEIGHT);
    assert_eq!(info.dtype, Dtype::F32);
    let expected = stored.iter().enumerate().map(|(index, value)| value * scales[index / width]);
    assert!(widened.into_iter().eq(expected));
    assert_eq!(report.ledger.written_tensors, bench.tensors.len());
}

#[test]
fn weights_that_are_not_finite_are_named_and_nothing_is_written() {
    let check = |integers: Integers, value: f32| {
        let mut bench = Bench::new();
        bench.find(WEIGHT).1[4 * 16 * 3..][..4].copy_from_slice(&value.to_le_bytes());
        let path = bench.write_source("tiny.safetensors");
        let error = export_in(integers, &bench, &path, "out/integers").unwrap_err().to_string();
        let expected =
            format!("tensor `{WEIGHT}`: row 3 holds NaN or infinity, which {integers} does not have");
        assert!(error.contains(&expected), "{error}");
        assert!(bench.leftovers().is_empty());
    };
    check(Integers::Int8, f32::NAN);
    check(Integers::Int4, f32::INFINITY);
}

/// Checks that an artifact with changed tensors is refused, and that nothing is written.
pub fn check_refused(bench: &Bench, folder: &Path, change: &dyn Fn(&mut Tensors), expected: &str) {
    let checkpoint = Checkpoint::open(folder.join("clipway_model.safetensors")).unwrap();
    let file = checkpoint.tensors();
    let read = |(index, info): (usize, &TensorInfo)| {
        let mut bytes = Vec::new();
        file.read(index, &mut bytes).unwrap();
        (info.clone(), bytes)
    };
    let mut tensors: Tensors = file.tensors().iter().enumerate().map(read).collect();
    change(&mut tensors);
    let other = Bench { root: tempfile::tempdir().unwrap(), tensors };
    std::fs::create_dir(other.path("out")).unwrap();
    let path = other.write_source("changed.safetensors");
    let written =
        Source::resolve(&path, &bench.options()).map_err(|error| error.to_string()).and_then(|source| {
            let prepared = Export::prepare(&source, Default::default()).map_err(|error| error.to_string())?;
            let written = prepared.write(&other.target(), &write_options(&AtomicBool::new(false)));
            written.map(|_| ()).map_err(|error| error.to_string())
        });
    let error = written.expect_err(expected);
    assert!(error.contains(expected), "{error}");
    assert!(other.leftovers().is_empty());
}

#[test]
fn scales_that_are_missing_or_impossible_are_refused() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    let folder = export_in(Integers::Int8, &bench, &path, "out/int8").unwrap().folder;
    let scale = format!("{WEIGHT}.scale");
    let check =
        |change: &dyn Fn(&mut Tensors), expected: &str| check_refused(&bench, &folder, change, expected);
    for bad in [0.0_f32, -1.0, f32::NAN] {
        let expected =
            format!("tensor `{scale}`: row 2 has the scale {bad}; a scale is a finite number above 0");
        let change = |tensors: &mut Tensors| {
            let (_, bytes) = tensors.iter_mut().find(|(info, _)| info.name == scale).unwrap();
            bytes[8..12].copy_from_slice(&bad.to_le_bytes());
        };
        check(&change, &expected);
    }
    let least = |tensors: &mut Tensors| {
        let (info, bytes) = tensors.iter_mut().find(|(info, _)| info.name == WEIGHT).unwrap();
        bytes[3 * info.shape[1] + 1] = 0x80;
    };
    check(&least, &format!("tensor `{WEIGHT}`: row 3 holds -128; int8 weights are -127 to 127"));
    check(
        &|tensors| tensors.retain(|(info, _)| info.name != scale),
        &format!("`{WEIGHT}`: it is in int8, and its scales `{scale}` are missing"),
    );
    let short = |tensors: &mut Tensors| {
        let (info, bytes) = tensors.iter_mut().find(|(info, _)| info.name == scale).unwrap();
        info.shape[0] -= 1;
        bytes.truncate(bytes.len() - 4);
    };
    check(&short, "expected I8 with an F32 for each row");
    check(
        &|tensors| tensors.retain(|(info, _)| info.name != WEIGHT),
        &format!("{WEIGHT}`: missing, [64, 16]"),
    );
}
