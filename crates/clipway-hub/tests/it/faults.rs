//! Corrupted downloads and a matrix of faults. `CLIPWAY_HUB_COUNT` sets the number of corrupted downloads.

use crate::fake::Fault;
use crate::scene::{Scene, bytes};

#[test]
fn no_corrupted_download_is_accepted() {
    let count: usize =
        std::env::var("CLIPWAY_HUB_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (weights, config) = (bytes(10, 3000), bytes(11, 200));
    let scene = Scene::new(&[("config.json", &config), ("w.bin", &weights)]);
    let (mut refused, mut mended) = (0, 0);
    for number in 0..count {
        let _ = std::fs::remove_dir_all(scene.repository());
        scene.fake.calm();
        scene.fake.plan(Fault::corruption(number));
        match scene.pull() {
            Ok(pulled) => {
                let read = |name: &str| crate::pull::read(pulled.folder.join(name)).unwrap();
                assert!(
                    read("w.bin") == weights && read("config.json") == config,
                    "number {number} was accepted"
                );
                mended += 1;
            }
            Err(error) => {
                assert!(error.code().starts_with("hub-"), "{error}");
                refused += 1;
            }
        }
        scene.check_cache();
    }
    println!(
        "{count} corrupted downloads: {refused} refused, {mended} mended by another attempt, 0 accepted"
    );
    assert!(refused > 0 && mended > 0 && refused + mended == count);
}

#[test]
fn every_fault_ends_in_a_right_pull_or_an_error_that_a_second_run_mends() {
    let files: Vec<(String, Vec<u8>)> = (0..4).map(|n| (format!("w{n}.bin"), bytes(20 + n, 2000))).collect();
    let list: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let scene = Scene::new(&list);
    let faults = [
        Fault::Reset,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(403),
        Fault::RateLimit(0),
        Fault::RetryAfter(0),
        Fault::Hang(700),
        Fault::Cut(100),
        Fault::Flip(50),
        Fault::Html,
    ];
    let mut cells = 0;
    for (on, requests) in [("/revision/", 1), ("/tree/", 1), ("/resolve/", 4), ("/object/", 4)] {
        for fault in &faults {
            for skip in [0, requests / 2, requests - 1].into_iter().collect::<std::collections::BTreeSet<_>>()
            {
                for times in [1, usize::MAX] {
                    if matches!(
                        (fault, times),
                        (Fault::Hang(_), usize::MAX) | (Fault::RateLimit(_), usize::MAX)
                    ) {
                        continue;
                    }
                    let _ = std::fs::remove_dir_all(scene.repository());
                    scene.fake.calm();
                    scene.fake.fail(on, skip, times, fault.clone());
                    let first = scene.pull_within(std::time::Duration::from_millis(400));
                    scene.fake.calm();
                    let pulled =
                        scene.pull().unwrap_or_else(|error| panic!("{on} {fault:?} {skip}: {error}"));
                    for (name, bytes) in &files {
                        assert_eq!(
                            &crate::pull::read(pulled.folder.join(name)).unwrap(),
                            bytes,
                            "{on} {fault:?}"
                        );
                    }
                    if let Err(error) = first {
                        assert!(error.code().starts_with("hub-"), "{error}");
                    }
                    scene.check_cache();
                    cells += 1;
                }
            }
        }
    }
    println!("{cells} cells");
    assert!(cells > 100, "{cells}");
}
