//! Completions, man pages and the argument parser.

use crate::scene::Scene;

const COMMANDS: [&str; 7] = ["inspect", "export", "verify", "classify", "models", "completions", "man"];

#[test]
fn every_shell_and_the_man_page_know_the_commands() {
    let scene = Scene::new();
    let shells = ["bash", "elvish", "fish", "powershell", "zsh"].map(|shell| vec!["completions", shell]);
    for arguments in shells.into_iter().chain([vec!["man"]]) {
        let outcome = scene.run(&arguments).ended(0);
        assert!(outcome.stderr.is_empty());
        for command in COMMANDS {
            assert!(outcome.stdout.contains(command), "{arguments:?} does not know {command}");
        }
    }
    for command in COMMANDS {
        let page = scene.run(&["man", command]).ended(0).stdout;
        assert!(page.contains(&format!(".TH clipway-{command}")), "{page}");
    }
    let options = scene.run(&["man", "export"]).ended(0).stdout.replace('\\', "");
    for option in ["--precision", "--max-shard-size", "--dry-run", "--force"] {
        assert!(options.contains(option), "{option}");
    }
}

#[test]
fn arguments_that_make_no_sense_end_with_2() {
    let scene = Scene::new();
    for arguments in [
        &[][..],
        &["exprot"],
        &["export", "a.pt"],
        &["export", "a.pt", "--out", "b", "--precision", "fp8"],
        &["export", "a.pt", "--out", "b", "--max-shard-size", "2TB"],
        &["export", "a.pt", "--out", "b", "--image-size", "0"],
        &["export", "a.pt", "--out", "b", "--image-mean", "0.5"],
        &["models", "--threads", "0"],
        &["completions", "tcsh"],
        &["man", "nothing"],
        &["verify", "a", "--blocks"],
    ] {
        let outcome = scene.run(arguments).ended(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:?}");
    }
    assert!(scene.listing().is_empty());
    let version = scene.run(&["--version"]).ended(0).stdout;
    assert_eq!(version, format!("clipway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_argument_without_an_option_is_named_so() {
    let scene = Scene::new();
    for (arguments, tip) in [
        (&["export", "--source", "a.pt", "--out", "b"][..], "tip: SOURCE stands without an option"),
        (&["verify", "--folder=b"], "tip: FOLDER stands without an option"),
        (&["classify", "a", "b.png", "--label", "c"], "tip: a similar argument exists: '--labels'"),
    ] {
        let stderr = scene.run(arguments).ended(2).stderr;
        assert!(stderr.contains(tip), "{stderr}");
    }
}
