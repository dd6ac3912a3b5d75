//! Int4 artifacts: what is written, read back and refused.

use std::sync::atomic::AtomicBool;

use clipway_formats::Dtype;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, ExportReport};
use clipway_model::plan::{Integers, Precision, Towers, apply_all};
use clipway_model::quantize::candidates;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;

use super::bench::{Bench, write_options};
use super::int8::{Tensors, WEIGHT, bytes, check_refused, export_in, values};

/// A table with an odd number of rows, so that the upper halves of its last bytes are empty.
const TABLE: &str = "token_embedding.weight";

fn odd_bench() -> Bench {
    Bench::of(&super::bench::CONFIG.replace("\"vocab_size\": 50", "\"vocab_size\": 51"))
}

fn export(bench: &Bench) -> ExportReport {
    let path = bench.write_source("tiny.safetensors");
    export_in(Integers::Int4, bench, &path, "out/int4").unwrap()
}

/// Values of a tensor in int4, as the format describes them.
fn widened(report: &ExportReport, name: &str) -> (Vec<usize>, Vec<f32>) {
    let weights = report.folder.join("clipway_model.safetensors");
    let (info, bytes) = values(&weights, name);
    let (groups, group_scales) = values(&weights, &format!("{name}.group_scale"));
    let (rows, scales) = values(&weights, &format!("{name}.scale"));
    assert_eq!([info.dtype, groups.dtype, rows.dtype], [Dtype::U8, Dtype::I8, Dtype::F32]);
    assert_eq!(info.shape[0], rows.shape[0].div_ceil(2));
    let (width, count) = (info.shape[1..].iter().product::<usize>(), groups.shape[1]);
    let mut found = Vec::new();
    for (row, scale) in scales.iter().enumerate() {
        for column in 0..width {
            let byte = bytes[row / 2 * width + column] as u8;
            let value = if row % 2 == 0 { byte & 0xf } else { byte >> 4 } as i32;
            let value = if value > 7 { value - 16 } else { value };
            let group = group_scales[row * count + column / (width / count)];
            found.push(value as f32 * (group * scale));
        }
    }
    (info.shape[1..].to_vec(), found)
}

#[test]
fn parts_are_the_same_together_and_alone() {
    for integers in [Integers::Int8, Integers::Int4] {
        let bench = odd_bench();
        let path = bench.write_source("tiny.safetensors");
        let report = export_in(integers, &bench, &path, "out/rounded").unwrap();
        let source = Source::of(Checkpoint::open(&path).unwrap(), &bench.options()).unwrap();
        let chosen = candidates(source.model(), Towers::Both).into_iter();
        let plan = source.plan().quantized(&chosen.map(|candidate| (candidate.name, integers)).collect());
        let weights = report.folder.join("clipway_model.safetensors");
        for planned in plan.unwrap().tensors {
            let mut alone = Vec::new();
            apply_all(&planned, &source.weights().state_dict, &mut |piece| alone.extend_from_slice(piece))
                .unwrap();
            let (info, written) = bytes(&weights, &planned.target.name);
            assert_eq!(info, planned.target);
            assert!(written == alone, "{}", info.name);
        }
    }
}

#[test]
fn an_artifact_in_int4_is_read_back_and_widened() {
    let bench = odd_bench();
    let report = export(&bench);
    let quantized = report.ledger.groups.iter().find(|group| group.rule == "quantize").unwrap();
    assert!(quantized.tensors > 10);
    assert_eq!(report.ledger.written_tensors, bench.tensors.len() + 2 * quantized.tensors);
    let source = Source::resolve(&report.folder, &SourceOptions::default()).unwrap();
    assert_eq!(source.layout().name, "clipway");
    let quantization = source.artifact().and_then(|artifact| artifact.quantization.clone());
    assert_eq!(quantization.map(|found| found.integers), Some(Integers::Int4));
    // Without a precision, it is copied as stored.
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    let copy = prepared.write(&bench.path("out/copy"), &write_options(&AtomicBool::new(false))).unwrap();
    assert_eq!(copy.artifact.tensors, report.artifact.tensors);
    assert_eq!(copy.artifact.quantization, report.artifact.quantization);
    // There and back: the widened numbers, with a note that says so.
    let options = SourceOptions { precision: Some(Precision::F32), ..SourceOptions::default() };
    let source = Source::resolve(&report.folder, &options).unwrap();
    let prepared = Export::prepare(&source, Default::default()).unwrap();
    assert!(prepared.notes().iter().any(|note| note.contains("stored in int4")), "{:?}", prepared.notes());
    let wide = prepared.write(&bench.path("out/f32"), &write_options(&AtomicBool::new(false))).unwrap();
    assert_eq!(wide.ledger.written_tensors, bench.tensors.len());
    for name in [WEIGHT, TABLE, "visual.conv1.weight"] {
        let (rest, expected) = widened(&report, name);
        let (info, found) = values(&wide.folder, name);
        assert_eq!((info.dtype, &info.shape[1..]), (Dtype::F32, &rest[..]), "{name}");
        assert_eq!(found, expected, "{name}");
        // Near the original: within a step of a group of 16 numbers up to 1/3.
        let (_, before) = values(&bench.path("tiny.safetensors"), name);
        let furthest = before.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest > 1e-3 && furthest < 0.05, "{name}: {furthest}");
    }
}

#[test]
fn a_tower_alone_and_shards_are_the_same_numbers() {
    let bench = odd_bench();
    let report = export(&bench);
    let options = SourceOptions { tower: Some(Towers::Image), ..SourceOptions::default() };
    let source = Source::resolve(&report.folder, &options).unwrap();
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    let cancel = AtomicBool::new(false);
    let shards =
        clipway_model::export::WriteOptions { max_shard_bytes: Some(1 << 10), ..write_options(&cancel) };
    let tower = prepared.write(&bench.path("out/tower"), &shards).unwrap();
    assert!(tower.folder.join("clipway_model.safetensors.index.json").is_file());
    assert!(!tower.artifact.tensors.contains_key(TABLE));
    for (name, hash) in &tower.artifact.tensors {
        assert_eq!(hash, &report.artifact.tensors[name], "{name}");
    }
    let again = Source::resolve(&tower.folder, &SourceOptions::default()).unwrap();
    let weight = again.plan().tensors.iter().find(|planned| planned.target.name == WEIGHT).unwrap();
    assert_eq!(weight.integers(), Some(Integers::Int4));
}

#[test]
fn rows_without_groups_cannot_be_in_int4() {
    let bench = Bench::of(&super::bench::CONFIG.replace("\"embed_dim\": 8", "\"embed_dim\": 7"));
    let path = bench.write_source("tiny.safetensors");
    let source = Source::resolve(&path, &bench.options()).unwrap();
    let chosen = [("visual.proj".to_owned(), Integers::Int4)].into();
    let error = source.plan().quantized(&chosen).unwrap_err().to_string();
    assert_eq!(error, "`visual.proj`: quantize(I4 by group) does not apply to F32 [16, 7]");
}

#[test]
fn parts_that_do_not_match_or_are_impossible_are_refused() {
    let bench = odd_bench();
    let folder = export(&bench).folder;
    let check =
        |change: &dyn Fn(&mut Tensors), expected: &str| check_refused(&bench, &folder, change, expected);
    let [scale, groups] = [".scale", ".group_scale"].map(|suffix| format!("{WEIGHT}{suffix}"));
    let without = |name: &str| {
        let name = name.to_owned();
        move |tensors: &mut Tensors| tensors.retain(|(info, _)| info.name != name)
    };
    check(&without(&scale), &format!("`{WEIGHT}`: it is in int4, and its scales `{scale}` are missing"));
    check(&without(&groups), &format!("`{WEIGHT}`: it is in int4, and its scales `{groups}` are missing"));
    check(&without(WEIGHT), &format!("{WEIGHT}`: missing, [64, 16]"));
    // Bytes of a part are replaced from a place on.
    let write = |name: &str, at: usize, new: &'static [u8]| {
        let name = name.to_owned();
        move |tensors: &mut Tensors| {
            let (_, bytes) = tensors.iter_mut().find(|(info, _)| info.name == name).unwrap();
            bytes[at..at + new.len()].copy_from_slice(new);
        }
    };
    let cause = format!("tensor `{scale}`: row 2 has the scale NaN; a scale is a finite number above 0");
    check(&write(&scale, 8, &[0, 0, 0xc0, 0x7f]), &cause);
    for (byte, shown) in [(&[0x80], "-128"), (&[0], "0")] {
        let cause = format!(
            "tensor `{groups}`: group 0 of row 5 has the scale {shown}; it is a number from -127 to 127 without 0"
        );
        check(&write(&groups, 5, byte), &cause);
    }
    let last = 25 * 8 + 7;
    let cause =
        format!("tensor `{TABLE}`: the upper halves of its last bytes, which belong to no row, are not 0");
    check(&write(TABLE, last, &[0x10]), &cause);
    let reshape = |name: &str, shape: &'static [usize]| {
        let name = name.to_owned();
        move |tensors: &mut Tensors| {
            let (info, bytes) = tensors.iter_mut().find(|(info, _)| info.name == name).unwrap();
            info.shape = shape.to_vec();
            bytes.resize(info.bytes(), 1);
        }
    };
    check(&reshape(&groups, &[64, 3]), "16 values in a row do not divide into 3 groups");
    check(&reshape(&groups, &[63, 1]), "expected U8 with an I8 for each group and an F32 for each row");
    check(&reshape(WEIGHT, &[33, 16]), "expected U8 with an I8 for each group and an F32 for each row");
}
