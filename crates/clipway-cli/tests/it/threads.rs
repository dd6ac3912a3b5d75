//! The number of threads a command runs.

use std::path::Path;

use crate::scene::Scene;

/// Returns the highest number of threads that a process had while it ran.
fn most_threads(scene: &Scene, arguments: &[&str]) -> usize {
    let mut command = scene.command(arguments);
    command.env("RAYON_NUM_THREADS", "8").stdout(std::process::Stdio::null());
    let mut process = command.spawn().expect("the binary runs");
    let tasks = format!("/proc/{}/task", process.id());
    let mut most = 0;
    loop {
        most = most.max(std::fs::read_dir(&tasks).map_or(0, Iterator::count));
        if let Some(status) = process.try_wait().expect("a status") {
            assert!(status.success(), "{arguments:?}: {status}");
            return most;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn threads_govern_all_work_of_a_command() {
    if !Path::new("/proc/self/task").exists() {
        println!("skipped: this system does not list a process's threads");
        return;
    }
    let scene = Scene::new();
    let images = "EMOJI/pictures/avocado.png EMOJI/pictures/lion.png EMOJI/pictures/tiger.png";
    let images: Vec<&str> = images.split(' ').collect();
    let many: Vec<String> = (0..600).map(|number| format!("text number {number}")).collect();
    scene.write("texts.txt", many.join("\n"));
    let embed =
        [&["embed", "EXPORTED"], &images[..], &["--texts-file", "texts.txt", "--out", "f.safetensors"]]
            .concat();
    let export = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--out", "o"];
    for (threads, most) in [("1", 1), ("2", 3)] {
        // One more thread may be waiting for signals.
        let count = |arguments: &[&str]| {
            most_threads(&scene, &[arguments, &["--quiet", "--force", "--threads", threads]].concat())
        };
        let found = [count(&embed), count(&export)];
        assert!(found.iter().all(|found| (most..=most + 1).contains(found)), "{threads}: {found:?}");
    }
}
