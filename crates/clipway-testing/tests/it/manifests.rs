//! Our architectures' parameters against open_clip's state dicts.

use std::path::{Path, PathBuf};

use clipway_testing::manifests::{ManifestOutcome, check, list};

/// Checks every manifest of a folder and returns their number.
fn check_folder(folder: &Path) -> usize {
    let manifests = list(folder).unwrap();
    for (name, path) in &manifests {
        match check(name, path).unwrap().outcome {
            ManifestOutcome::Equal { tensors } => assert!(tensors > 100, "{name}: {tensors}"),
            ManifestOutcome::Different(cause) | ManifestOutcome::Unsupported(cause) => {
                panic!("{name}: {cause}")
            }
        }
    }
    manifests.len()
}

#[test]
fn the_repository_s_manifests_agree() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/manifests"));
    assert!(check_folder(&folder) > 0);
}

#[test]
fn all_manifests_agree() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let shared = std::env::var_os("CLIPWAY_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("goldens/manifests");
    if !folder.is_dir() {
        eprintln!("skipped: no shared files at {}", shared.display());
        return;
    }
    assert_eq!(check_folder(&folder), 144);
}
