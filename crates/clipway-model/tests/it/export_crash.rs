//! Exports that fail, are interrupted or find something at their target: either the old artifact survives, or nothing
//! remains.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clipway_model::artifact::{Artifact, Report};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, ExportError, WeightsFormat, WriteOptions};
use clipway_model::output::{Step, StepHook};
use clipway_model::plan::Precision;
use clipway_model::source::{Source, SourceOptions};

use crate::bench::{Bench, contents, failure, write_options};

#[test]
fn an_output_that_exists_is_replaced_only_with_force() {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    let before = contents(&bench.target());
    let options = SourceOptions { precision: Some(Precision::BF16), ..bench.options() };
    assert_eq!(bench.export(&options).unwrap_err().code(), "exists");
    assert!(contents(&bench.target()) == before);
    let cancel = AtomicBool::new(false);
    bench.export_with(&options, &WriteOptions { force: true, ..write_options(&cancel) }).unwrap();
    assert!(contents(&bench.target()) != before);
    assert_eq!(bench.leftovers(), ["model"]);
}

#[test]
fn an_interrupt_or_a_failed_verification_leaves_nothing() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(true);
    let text = failure(&bench, bench.export_with(&bench.options(), &write_options(&cancel)));
    assert_eq!(text, "interrupted; nothing was written");
    let cancel = AtomicBool::new(false);
    let verify = |folder: &Path| {
        assert!(folder.join("clipway.json").exists() && folder.join("open_clip_model.safetensors").exists());
        Err("features differ".into())
    };
    let options = WriteOptions { verify: Some(&verify), ..write_options(&cancel) };
    let text = failure(&bench, bench.export_with(&bench.options(), &options));
    assert_eq!(text, "the export failed verification: features differ");
    let passed = Report {
        passed: true,
        subject: "the folder".to_owned(),
        reference: "`tiny.safetensors`".to_owned(),
        images: 1,
        texts: 1,
        inputs: "none".to_owned(),
        stages: Vec::new(),
        image_sensitivity: None,
        text_sensitivity: Some(0.5),
        same_best_text: None,
        same_best_image: None,
        failures: Vec::new(),
        notes: Vec::new(),
    };
    // A note found only when the folder runs goes into the folder's notes and its model card.
    let note = "images become pixels by another rule";
    let verify = |_: &Path| Ok(Report { notes: vec![note.to_owned()], ..passed.clone() });
    let options = WriteOptions { verify: Some(&verify), ..write_options(&cancel) };
    bench.export_with(&bench.options(), &options).unwrap();
    let artifact = Artifact::read(&bench.target()).unwrap();
    assert_eq!(artifact.notes.last().map(String::as_str), Some(note));
    assert_eq!(artifact.verification, Some(passed));
    assert!(fs::read_to_string(bench.target().join("README.md")).unwrap().contains(note));
    assert!(Artifact::check_hashes(&bench.target()).unwrap().is_right());
}

#[test]
fn a_byte_that_the_disk_changes_is_found_before_the_folder_is_placed() {
    let cancel = AtomicBool::new(false);
    for (format, name) in [
        (WeightsFormat::Safetensors, "open_clip_model.safetensors"),
        (WeightsFormat::Pytorch, "open_clip_pytorch_model.bin"),
    ] {
        let bench = Bench::new();
        // The contract is made last: by then the weights are complete, but not yet read back.
        let hook = StepHook::new(move |step, path| {
            if step == Step::CreateFile && path.ends_with("clipway.json") {
                let weights = path.with_file_name(name);
                let mut bytes = fs::read(&weights)?;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&weights, bytes)?;
            }
            Ok(())
        });
        let options = WriteOptions { hook, formats: vec![format], ..write_options(&cancel) };
        let text = failure(&bench, bench.export_with(&bench.options(), &options));
        assert!(text.contains("the disk or its cable may be failing"), "{text}");
    }
}

#[test]
fn a_write_that_fails_at_any_step_leaves_nothing() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let mut steps = 0;
    loop {
        let count = Arc::new(AtomicUsize::new(0));
        let hook = StepHook::new(move |step, _: &Path| {
            let fails = count.fetch_add(1, Ordering::SeqCst) == steps && step != Step::Remove;
            if fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        });
        let options = WriteOptions { hook, formats: vec![WeightsFormat::Pytorch], ..write_options(&cancel) };
        match bench.export_with(&bench.options(), &options) {
            Ok(_) => break,
            Err(error) if bench.target().exists() => {
                // Only the sync of the parent folder comes after the rename.
                assert!(error.to_string().contains("sync"), "step {steps}: {error}");
                fs::remove_dir_all(bench.target()).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, ExportError::Output(_)), "step {steps}: {error}");
                assert_eq!(bench.leftovers(), Vec::<String>::new(), "step {steps}");
            }
        }
        steps += 1;
    }
    assert!(steps > 100, "{steps} steps");
}

/// All ways to write the weights.
const WAYS: [(&[WeightsFormat], Option<u64>); 3] = [
    (&[WeightsFormat::Safetensors], None),
    (&[WeightsFormat::Safetensors], Some(2000)),
    (&[WeightsFormat::Safetensors, WeightsFormat::Pytorch], None),
];

/// Each call that changes the disk fails once, as on a full disk and as on a broken one.
#[test]
fn an_old_artifact_outlives_a_failure_at_any_step() {
    let cancel = AtomicBool::new(false);
    for ((formats, max_shard_bytes), (kind, code)) in
        WAYS.into_iter().zip([("EIO", "write"), ("ENOSPC", "no-space"), ("EIO", "write")])
    {
        let mut bench = Bench::new();
        bench.export(&bench.options()).unwrap();
        let old = contents(&bench.target());
        // The new artifact differs from the old one.
        bench.find("logit_scale").1[0] ^= 1;
        let mut steps = 0;
        loop {
            let count = Arc::new(AtomicUsize::new(0));
            let hook = StepHook::new(move |step, _: &Path| {
                let fails = count.fetch_add(1, Ordering::SeqCst) == steps && step != Step::Remove;
                let error = || match kind {
                    "EIO" => io::Error::from_raw_os_error(5),
                    _ => io::Error::from(io::ErrorKind::StorageFull),
                };
                if fails { Err(error()) } else { Ok(()) }
            });
            let formats = formats.to_vec();
            let options =
                WriteOptions { hook, formats, max_shard_bytes, force: true, ..write_options(&cancel) };
            let Err(error) = bench.export_with(&bench.options(), &options) else { break };
            let context = format!("step {steps}: {error}");
            assert_eq!(error.code(), code, "{context}");
            assert_eq!(bench.leftovers(), ["model"], "{context}");
            if contents(&bench.target()) != old {
                // Only the sync of the parent folder comes after the exchange.
                assert!(error.to_string().contains("cannot sync"), "{context}");
                assert!(Artifact::check_hashes(&bench.target()).unwrap().is_right(), "{context}");
                fs::remove_dir_all(bench.target()).unwrap();
                bench.find("logit_scale").1[0] ^= 1;
                bench.export(&bench.options()).unwrap();
                bench.find("logit_scale").1[0] ^= 1;
            }
            steps += 1;
        }
        assert!(steps > 50, "{steps} steps");
    }
}

#[test]
fn a_source_is_never_its_own_target() {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    let before = contents(&bench.target());
    let checkpoint = Checkpoint::open(bench.target()).unwrap();
    let prepared = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    let cancel = AtomicBool::new(false);
    let options = WriteOptions { force: true, ..write_options(&cancel) };
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    let error = export.write(&bench.target(), &options).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
    assert!(contents(&bench.target()) == before);
}
