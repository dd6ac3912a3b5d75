//! A matrix of faults of pushes: each kind of fault, in each kind of request, the first, a middle and the last of them, once
//! and again and again. The cells wait for servers more than they compute, so they run beside each other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clipway_hub::{Hub, HubError, PushFile, PushOptions, PushPlan, Quiet, RepoName, Settings};

use crate::fake::Fault;
use crate::scene::{Scene, bytes};

const NEW: &str = "me/new";
/// Cells that run at the same time.
const AT_ONCE: usize = 16;
/// Large files of a push.
const LARGE: usize = 3;
/// Bytes of each, and of the parts in which they are sent where they are.
const SIZE: usize = 2500;
const PART: usize = 1000;

/// Where a fault happens, and which.
#[derive(Clone, Debug)]
struct Cell {
    chunk: usize,
    on: &'static str,
    skip: usize,
    times: usize,
    fault: Fault,
}

fn cells() -> Vec<Cell> {
    let faults = [
        Fault::Reset,
        Fault::Lost,
        Fault::Status(500),
        Fault::Status(503),
        // What a signed address answers once it has expired.
        Fault::Status(403),
        Fault::RateLimit(0),
        Fault::RetryAfter(0),
        Fault::Html,
        Fault::Cut(1),
        Fault::Hang(700),
        Fault::Slow(60),
        // A checksum that differs from the bytes that arrived.
        Fault::Spoil,
    ];
    let mut cells = Vec::new();
    for chunk in [0, PART] {
        let parts = if chunk == 0 { 1 } else { SIZE.div_ceil(PART) };
        let requests = [
            ("/revision/", 2),
            ("/tree/", 1),
            ("/validate-yaml", 1),
            ("/repos/create", 1),
            ("/preupload/", 1),
            ("/batch", LARGE),
            ("PUT ", LARGE * parts),
            ("/complete/", if chunk == 0 { 0 } else { LARGE }),
            ("/verify", LARGE),
            ("/commit/", 1),
        ];
        for (on, count) in requests.into_iter().filter(|(_, count)| *count > 0) {
            for skip in BTreeSet::from([0, count / 2, count - 1]) {
                for times in [1, 20] {
                    let with = |fault: &Fault| Cell { chunk, on, skip, times, fault: fault.clone() };
                    cells.extend(faults.iter().map(with));
                }
            }
        }
    }
    cells
}

fn weights(number: usize) -> Vec<u8> {
    bytes(40 + number as u64, SIZE)
}

fn files() -> Vec<PushFile> {
    let large = (0..LARGE).map(|number| PushFile::of(&format!("w{number}.bin"), weights(number)).unwrap());
    let small = [PushFile::of("README.md", *b"---\nlicense: mit\n---\n"), PushFile::of("a/empty", *b"")];
    small.into_iter().map(Result::unwrap).chain(large).collect()
}

fn push(scene: &Scene, timeout: Duration) -> Result<PushPlan, HubError> {
    let hub = Hub::new(Settings { timeout, ..scene.settings() }, Arc::new(Quiet))?;
    let (name, options) = (RepoName::parse(NEW).unwrap(), PushOptions::default());
    let head = hub.head(&name, &options)?;
    hub.push(&name, head.as_ref(), &files(), &options)
}

/// How the first push ended; then a second one makes everything right, in one commit.
fn ends(cell: &Cell) -> Result<(), HubError> {
    let scene = Scene::new(&[]);
    scene.fake.state().chunk = cell.chunk;
    scene.fake.fail(cell.on, cell.skip, cell.times, cell.fault.clone());
    let first = push(&scene, Duration::from_millis(400));
    scene.fake.calm();
    push(&scene, Duration::from_secs(20)).unwrap_or_else(|error| panic!("{cell:?}: {error}"));
    let state = scene.fake.state();
    let commits = &state.repositories[NEW].commits;
    let head = commits.last().unwrap();
    let has = |path: &str, bytes: &[u8]| head.files.get(path).is_some_and(|found| ***found == *bytes);
    let is_whole = (0..LARGE).all(|number| has(&format!("w{number}.bin"), &weights(number)))
        && has("a/empty", b"")
        && head.files.contains_key("README.md");
    assert!(is_whole && commits.len() == 2, "{cell:?}: {} commits, {first:?}", commits.len());
    for seen in &state.seen {
        assert_eq!(seen.authorization.is_some(), !seen.is_cdn, "{seen:?}");
    }
    first.map(drop)
}

#[test]
fn every_fault_of_a_push_ends_in_one_right_commit_or_an_error_that_a_second_run_mends() {
    let cells = cells();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = ends(cell) {
                        assert!(error.code().starts_with("hub-"), "{cell:?}: {error}");
                        failed.lock().unwrap().push(error.code());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "{} cells of pushes: {} ended in one right commit at once, {} in an error that the next run mended",
        cells.len(),
        cells.len() - failed.len(),
        failed.len()
    );
    assert!(cells.len() >= 200 && failed.len() > 50 && cells.len() - failed.len() > 50, "{}", failed.len());
}
