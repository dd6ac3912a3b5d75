//! What an inspection reports about a checkpoint.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::inspect::{InspectOptions, Inspection, inspect};

use crate::bench::Bench;

fn inspected(path: &Path) -> Inspection {
    let checkpoint = Checkpoint::open(path).unwrap();
    inspect(&checkpoint, &InspectOptions::default(), &(), &AtomicBool::new(false)).unwrap().unwrap()
}

#[test]
fn the_precision_is_that_of_the_floating_point_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let check = |dtypes: &[Dtype], expected: &str| {
        let info = |(number, &dtype): (usize, &Dtype)| TensorInfo {
            name: format!("visual.{number}"),
            dtype,
            shape: vec![2],
        };
        let infos: Vec<TensorInfo> = dtypes.iter().enumerate().map(info).collect();
        let mut bytes = Vec::new();
        write_safetensors(&mut bytes, &infos, &[], |index| Ok(vec![0; infos[index].bytes()])).unwrap();
        fs::write(&path, bytes).unwrap();
        let weights = inspected(&path).weights.unwrap();
        assert_eq!((weights.precision, weights.tensors), (expected, dtypes.len()));
        assert_eq!(weights.bytes, infos.iter().map(|info| info.bytes() as u64).sum::<u64>());
    };
    check(&[Dtype::F32, Dtype::I64, Dtype::F32], "fp32");
    check(&[Dtype::F16], "fp16");
    check(&[Dtype::BF16, Dtype::Bool], "bf16");
    check(&[Dtype::F64], "F64");
    check(&[Dtype::I64, Dtype::U8], "none");
    check(&[Dtype::F32, Dtype::F16], "mixed");
}

#[test]
fn who_wrote_it_and_what_is_wrong_is_told() {
    let bench = Bench::new();
    let source = bench.write_source("tiny.safetensors");
    assert_eq!(inspected(&source).writer.producer, None);
    bench.export(&bench.options()).unwrap();
    let found = inspected(&bench.target());
    assert_eq!(found.writer.producer.as_deref(), Some("safetensors for PyTorch"));
    assert_eq!((found.name.as_str(), found.has_config, found.problems.len()), ("model", true, 0));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strange.safetensors");
    crate::checkpoint::write_tensors(&path, &["a.b", "c"], 1.0);
    let found = inspected(&path);
    assert_eq!(found.problems, ["the tensor names match no known layout"]);
    assert!(found.layout.is_none() && found.models.exact.is_empty());
}

/// No shape reveals an activation: it comes from a config, or is unknown.
#[test]
fn where_the_activation_is_known_from_is_told() {
    let bench = Bench::new();
    let bare = inspected(&bench.write_source("tiny.safetensors")).activation;
    assert_eq!((bare.known, bare.why.as_str()), (None, "no shape shows it"));
    bench.export(&bench.options()).unwrap();
    let stated = inspected(&bench.target()).activation;
    assert_eq!(
        (stated.known, stated.why.as_str()),
        (Some("QuickGELU"), "stated by the config beside the weights")
    );
    let path = bench.target().join("open_clip_config.json");
    let config = fs::read_to_string(&path).unwrap();
    let silent: String = config.lines().filter(|line| !line.contains("quick_gelu")).collect();
    fs::write(&path, silent.replace(",}", "}").replace(",  }", "}")).unwrap();
    let silent = inspected(&bench.target()).activation;
    assert_eq!(
        (silent.known, silent.why.as_str()),
        (Some("GELU"), "open_clip's default: the config beside the weights states none")
    );
}
