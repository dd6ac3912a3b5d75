//! A full disk, an interrupt, a sudden end: nothing is left behind.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::scene::{CLIPWAY, Outcome, Scene};
use crate::snapshot::check_refused;
use crate::tensors::write_zeros;

const EMOJI: [&str; 4] = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

/// Exit status after an interrupt.
const INTERRUPTED: i32 = 130;

/// Runs a command that may write files of this many blocks of 512 bytes only.
fn limited(scene: &Scene, blocks: u32, arguments: &[&str]) -> Outcome {
    // The signal is ignored, so that writing fails as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", CLIPWAY]);
    let command = scene.command(arguments);
    shell.args(command.get_args()).current_dir(scene.path("")).env("NO_COLOR", "1");
    Outcome::of(shell.output().expect("a shell"))
}

#[test]
fn a_full_disk_leaves_nothing() {
    let scene = Scene::new();
    let outcome = limited(&scene, 2048, &[&EMOJI[..], &["--out", "out"]].concat()).ended(2);
    assert!(
        outcome.stderr.starts_with("error: ") && outcome.stderr.contains("open_clip_model.safetensors"),
        "{outcome:?}"
    );
    assert_eq!(scene.listing(), BTreeMap::new());

    scene.copy_exported("out");
    let before = scene.listing();
    limited(&scene, 2048, &[&EMOJI[..], &["--out", "out", "--force"]].concat()).ended(2);
    assert_eq!(scene.listing(), before);
    scene.run(&["verify", "out"]).ended(0);
}

/// Starts a long export, and waits until it writes.
fn writing(scene: &Scene) -> Child {
    write_zeros(&scene.path("vit.safetensors"), "ViT-L-14");
    let arguments = "export vit.safetensors --model ViT-L-14 --out out --precision fp32 --image-mean 0.5 0.5 0.5 \
                     --image-std 0.5 0.5 0.5";
    let mut child = scene
        .command(&arguments.split_whitespace().collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    while !written(scene)
        .iter()
        .any(|(path, size)| path.ends_with("open_clip_model.safetensors") && *size > 0)
    {
        assert_eq!(child.try_wait().expect("a child"), None, "it ended before it wrote");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// What lies in the folder besides the source, as far as it can be seen while a command works there.
fn written(scene: &Scene) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![scene.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => found.push((entry.path(), metadata.len())),
                Err(_) => {}
            }
        }
    }
    found.retain(|(path, _)| !path.ends_with("vit.safetensors"));
    found
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

#[test]
fn an_interrupt_leaves_nothing() {
    let scene = Scene::new();
    for name in ["INT", "TERM"] {
        let child = writing(&scene);
        signal(&child, name);
        let outcome = Outcome::of(child.wait_with_output().expect("an end")).ended(INTERRUPTED);
        assert_eq!(outcome.stderr, "error: interrupted; nothing was written [interrupted]\n");
        assert_eq!(scene.listing().len(), 1, "{:?}", scene.listing());
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let scene = Scene::new();
    let child = writing(&scene);
    signal(&child, "KILL");
    assert_eq!(Outcome::of(child.wait_with_output().expect("an end")).code, None);
    assert!(!scene.path("out").exists());
    assert!(!written(&scene).is_empty(), "a killed run cannot clean up");
    scene.run(&[&EMOJI[..], &["--out", "out"]].concat()).ended(0);
    assert!(
        written(&scene).iter().all(|(path, _)| path.starts_with(scene.path("out"))),
        "{:?}",
        written(&scene)
    );
}

#[test]
fn folders_that_may_not_be_written_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    std::fs::create_dir(scene.path("locked")).expect("a folder");
    let mode = |mode| std::fs::set_permissions(scene.path("locked"), std::fs::Permissions::from_mode(mode));
    mode(0o555).expect("a mode");
    if std::fs::write(scene.path("locked/probe"), "").is_ok() {
        println!("skipped: the superuser may write everywhere");
    } else {
        check_refused(&scene, "export-read-only", &[&EMOJI[..], &["--out", "locked/out"]].concat());
    }
    mode(0o755).expect("a mode");
}
