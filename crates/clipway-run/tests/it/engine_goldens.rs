//! The engine against open_clip: every tower option on small models, and one whole model.

use std::path::{Path, PathBuf};

use clipway_run::engine::{InstructionSet, Processor};
use clipway_testing::architecture_runner::run_architecture_goldens;

fn check(folder: &Path, chosen: &dyn Fn(&str) -> bool) {
    for set in InstructionSet::available() {
        let processor = Processor::new(set, 2).expect("available");
        let cases = run_architecture_goldens(folder, chosen, &processor).expect("there are goldens");
        let failed: Vec<String> =
            cases.iter().filter(|case| !case.passed()).map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{}:\n{}", set.name(), failed.join("\n"));
    }
}

#[test]
fn every_option_agrees_with_open_clip() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../clipway-testing/data/architectures"), &|_| true);
}

#[test]
fn a_whole_model_agrees_with_open_clip() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("CLIPWAY_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let folder = shared.join("goldens/architectures");
    if !folder.is_dir() {
        println!("skipped: `{}` is not there", folder.display());
        return;
    }
    check(&folder, &|name| name == "ViT-S-32");
}

#[test]
fn nothing_to_compare_is_an_error() {
    let processor = Processor::with_threads(1).expect("threads");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let error = run_architecture_goldens(&folder, &|_| true, &processor).expect_err("there is no golden");
    assert!(error.to_string().ends_with("no `NAME.safetensors` that was asked for is there"), "{error}");
}
