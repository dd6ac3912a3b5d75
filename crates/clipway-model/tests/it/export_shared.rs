//! Exports of the shared checkpoints, where available.

use std::path::PathBuf;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::inspect::{InspectOptions, inspect};
use clipway_model::plan::Fate;
use clipway_model::source::{ModelChoice, Source, SourceOptions};

/// Minimum, maximum and mean of the trainer's `text_projection`, computed by PyTorch in f64.
const PROJECTION: [f64; 3] = [-0.4195377230644226, 0.3985697031021118, -0.0008408962984369772];

/// Returns a path in the shared folder, if it exists.
fn shared(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("CLIPWAY_SHARED") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let path = root.join(name);
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn the_trainer_s_checkpoint_is_accounted_for_to_the_byte() {
    let Some(folder) = shared("emoji-clip") else { return };
    let checkpoint = Checkpoint::open(folder.join("epoch_10.pt")).unwrap();
    let model = Some(ModelChoice::File(folder.join("emoji-clip.json")));
    let prepared = Source::of(checkpoint, &SourceOptions { model, ..SourceOptions::default() }).unwrap();
    let groups: Vec<(Fate, &str, usize, u64)> =
        prepared.ledger().groups.iter().map(|g| (g.fate, g.rule.as_str(), g.tensors, g.bytes)).collect();
    let expected =
        [(Fate::Written, "unchanged", 134, 18_429_444), (Fate::Dropped, "optimizer state", 402, 36_859_424)];
    assert_eq!(groups, expected);
    assert_eq!(prepared.model().parameters.trained_elements(), 4_607_361);
}

#[test]
fn inspection_tells_weights_from_training_state() {
    let Some(folder) = shared("emoji-clip") else { return };
    let checkpoint = Checkpoint::open(folder.join("epoch_10.pt")).unwrap();
    let options = InspectOptions { statistics: true, tensors: true, ..InspectOptions::default() };
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let found = inspect(&checkpoint, &options, &(), &cancel).unwrap().unwrap();
    let weights = found.weights.unwrap();
    assert_eq!((weights.precision, weights.tensors, weights.bytes), ("fp32", 134, 18_429_444));
    assert_eq!(found.left_out_bytes, 36_859_424);
    assert_eq!(found.layout.unwrap().name, "open_clip");
    assert_eq!(found.activation.known, None);
    assert!(found.models.exact.is_empty() && found.models.reconstructed.is_some());
    let statistics = found.statistics.unwrap();
    let projection = statistics.iter().find(|one| one.name == "text_projection").unwrap();
    let numbers =
        [f64::from(projection.min.unwrap()), f64::from(projection.max.unwrap()), projection.mean.unwrap()];
    for (found, expected) in numbers.iter().zip(PROJECTION) {
        assert!((found - expected).abs() < 1e-9, "{numbers:?}");
    }
    assert!(statistics.iter().all(|one| one.nan + one.infinite + one.overflow_f16 == 0));
}
