//! Parameters of our architectures against open_clip's state dicts.

use std::path::{Path, PathBuf};

use clipway_testing::manifests::{ManifestOutcome, check, list};

/// Checks every manifest of a folder; of those that are not supported, gives the number.
fn check_folder(folder: &Path) -> (usize, usize) {
    let (mut equal, mut unsupported) = (0, 0);
    for (name, path) in list(folder).unwrap() {
        match check(&name, &path).unwrap().outcome {
            ManifestOutcome::Equal { tensors } => {
                assert!(tensors > 100, "{name}: {tensors}");
                equal += 1;
            }
            ManifestOutcome::Different(cause) => panic!("{name}: {cause}"),
            ManifestOutcome::Unsupported(_) => unsupported += 1,
        }
    }
    (equal, unsupported)
}

#[test]
fn the_repository_s_manifests_agree() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/manifests"));
    let (equal, unsupported) = check_folder(&folder);
    assert_eq!((equal, unsupported), (list(&folder).unwrap().len(), 0));
}

#[test]
fn all_manifests_of_what_can_be_built_agree() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let shared = std::env::var_os("CLIPWAY_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("goldens/manifests");
    if !folder.is_dir() {
        eprintln!("skipped: no shared files at {}", shared.display());
        return;
    }
    let (equal, unsupported) = check_folder(&folder);
    assert_eq!(equal + unsupported, 144);
    assert!(equal >= 72, "{equal}, and {unsupported} not supported");
}
