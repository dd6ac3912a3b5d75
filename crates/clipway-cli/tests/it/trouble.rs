//! A full disk, an interrupt, a sudden end: nothing is left behind.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scene::{CLIPWAY, Outcome, Scene};
use crate::snapshot::check_refused;
use crate::tensors::write_zeros;

const EMOJI: [&str; 4] = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

/// Exit status after an interrupt.
const INTERRUPTED: i32 = 130;

/// Runs a command under a limit given in `ulimit` syntax.
fn limited(scene: &Scene, limit: &str, arguments: &[&str]) -> Outcome {
    let script = format!("ulimit {limit}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", CLIPWAY]);
    let command = scene.command(arguments);
    shell.args(command.get_args()).current_dir(scene.path("")).env("NO_COLOR", "1");
    Outcome::of(shell.output().expect("a shell"))
}

#[test]
fn a_full_disk_leaves_nothing() {
    let scene = Scene::new();
    let outcome = limited(&scene, "-f 2048", &[&EMOJI[..], &["--out", "out"]].concat()).ended(2);
    assert!(
        outcome.stderr.starts_with("error: ") && outcome.stderr.contains("open_clip_model.safetensors"),
        "{outcome:?}"
    );
    assert_eq!(scene.listing(), BTreeMap::new());

    scene.copy_exported("out");
    let before = scene.listing();
    limited(&scene, "-f 2048", &[&EMOJI[..], &["--out", "out", "--force"]].concat()).ended(2);
    assert_eq!(scene.listing(), before);
    scene.run(&["verify", "out"]).ended(0);
}

#[test]
fn too_little_address_space_is_an_error() {
    let scene = Scene::new();
    let outcome = limited(&scene, "-v 80000", &[&EMOJI[..], &["--out", "out"]].concat()).ended(2);
    assert!(outcome.stderr.contains("[no-memory]") && outcome.stderr.contains("--threads 1"), "{outcome:?}");
    assert_eq!(scene.listing(), BTreeMap::new());

    scene.copy_exported("out");
    // The header of an image of 64 million pixels, which the pixel limit allows.
    let header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x20\0\0\0\x20\0\x08\x02\0\0\0";
    std::fs::write(scene.path("large.png"), header).expect("a file");
    let outcome = limited(&scene, "-v 900000", &["embed", "out", "large.png"]).ended(1);
    assert!(outcome.stderr.contains("no memory for 8192 x 8192 pixels [no-memory]"), "{outcome:?}");
}

/// Waits until a process has installed its interrupt handler.
#[cfg(target_os = "linux")]
fn until_it_handles_signals(child: &mut Child) {
    /// The bit of `SIGTERM` in Linux signal masks.
    const BIT: u64 = 1 << 14;
    loop {
        assert_eq!(child.try_wait().expect("a child"), None, "it ended before it was interrupted");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a process");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
        if u64::from_str_radix(caught.trim(), 16).expect("a mask") & BIT != 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_whatever_waits_or_computes() {
    let scene = Scene::new();
    scene.copy_exported("out");
    let before = scene.listing();
    let waits_and_writes = [&EMOJI[..], &["--out", "new", "--texts", "-"]].concat();
    let runs: [&[&str]; 3] = [&["embed", "out", "--texts-file", "-"], &waits_and_writes, &["verify", "out"]];
    for (arguments, name) in runs.iter().flat_map(|&run| [(run, "INT"), (run, "TERM")]) {
        let mut command = scene.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // The pipe stays open, so that a reader keeps waiting.
        let pipe = child.stdin.take();
        until_it_handles_signals(&mut child);
        let start = Instant::now();
        signal(&child, name);
        let outcome = Outcome::of(child.wait_with_output().expect("an end")).ended(INTERRUPTED);
        // Two seconds of grace, plus slack for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(6), "{arguments:?}: {:?}", start.elapsed());
        assert_eq!(
            outcome.stderr, "error: interrupted; nothing was written [interrupted]\n",
            "{arguments:?}"
        );
        assert_eq!(scene.listing(), before, "{arguments:?}");
        drop(pipe);
    }
}

/// Starts a long export and waits until it writes.
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

/// Returns the files in the folder besides the source, as far as they are visible while a command works there.
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

#[cfg(target_os = "linux")]
#[test]
fn folders_of_the_system_are_refused_by_their_name() {
    let scene = Scene::new();
    let outcome = scene.run(&[&EMOJI[..], &["--out", "/proc/out"]].concat()).ended(2);
    let message = "error: cannot write to the folder `/proc`: no file can be created there [write]";
    assert!(outcome.stderr.starts_with(message), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint: choose a folder that you may write to"), "{}", outcome.stderr);
    scene.copy_exported("folder");
    for arguments in [
        &["check", "folder", "--html", "/proc/page.html"][..],
        &["embed", "folder", "--text", "a", "--out", "/proc/features.npy"],
        &["classify", "folder", "--labels", "a,b", "--save-head", "/proc/head.safetensors"],
    ] {
        let outcome = scene.run(arguments).ended(2);
        assert!(outcome.stderr.starts_with(message), "{}", outcome.stderr);
        assert!(outcome.stdout.is_empty(), "nothing is printed of what could not be written");
    }
}
