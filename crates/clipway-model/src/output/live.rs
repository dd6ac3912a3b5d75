//! The outputs that this process is writing, so that a signal can end them from another thread.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Temporary paths of an output.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The target.
    pub(super) target: PathBuf,
    /// Its temporary paths, without extensions.
    pub(super) stem: PathBuf,
}

struct Live {
    /// Whether the process is about to end: nothing is started or placed any more.
    ended: bool,
    /// Number of outputs being moved into place.
    placing: usize,
    /// Number of outputs that are changed where they are.
    in_place: usize,
    next: u64,
    outputs: BTreeMap<u64, Paths>,
}

static LIVE: Mutex<Live> =
    Mutex::new(Live { ended: false, placing: 0, in_place: 0, next: 0, outputs: BTreeMap::new() });

/// Interval for checking on outputs that are being placed.
const PAUSE: Duration = Duration::from_millis(5);

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry in the list, as long as this lives.
#[derive(Debug)]
pub(super) struct Entry(u64);

/// Adds an output to the list.
pub(super) fn enter(paths: Paths) -> io::Result<Entry> {
    let mut live = live();
    if live.ended {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let number = live.next;
    live.next += 1;
    live.outputs.insert(number, paths);
    Ok(Entry(number))
}

impl Drop for Entry {
    fn drop(&mut self) {
        live().outputs.remove(&self.0);
    }
}

/// An output being moved into place, as long as this lives.
#[derive(Debug)]
pub(super) struct Placing(());

/// Starts to move an output into place.
pub(super) fn place() -> io::Result<Placing> {
    let mut live = live();
    if live.ended {
        return Err(io::ErrorKind::Interrupted.into());
    }
    live.placing += 1;
    Ok(Placing(()))
}

impl Drop for Placing {
    fn drop(&mut self) {
        live().placing -= 1;
    }
}

/// An output that is changed where it is, as long as this lives: whatever is committed there stays.
#[derive(Debug)]
pub struct InPlace(());

impl InPlace {
    /// Adds an output to the count.
    #[expect(clippy::new_without_default, reason = "it counts")]
    pub fn new() -> InPlace {
        live().in_place += 1;
        InPlace(())
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        live().in_place -= 1;
    }
}

/// Whether an output is being written.
pub(super) fn any() -> bool {
    let live = live();
    !live.outputs.is_empty() || live.in_place > 0
}

/// Whether an output is being changed where it is.
pub(super) fn any_in_place() -> bool {
    live().in_place > 0
}

/// Ends all outputs: none is started or placed from now on. Returns the unplaced ones, unless one is still being placed
/// after `wait`, in which case nothing may be touched.
pub(super) fn end(wait: Duration) -> Vec<Paths> {
    let clock = Instant::now();
    loop {
        {
            let mut live = live();
            live.ended = true;
            if live.placing == 0 {
                return live.outputs.values().cloned().collect();
            }
        }
        if clock.elapsed() >= wait {
            return Vec::new();
        }
        thread::sleep(PAUSE);
    }
}
