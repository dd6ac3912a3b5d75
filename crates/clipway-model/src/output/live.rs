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
    /// Where it will be.
    pub(super) target: PathBuf,
    /// Its temporary paths, without their endings.
    pub(super) stem: PathBuf,
}

struct Live {
    /// Whether the process is about to end: nothing is begun or placed any more.
    ended: bool,
    /// Outputs that are being put in place.
    placing: usize,
    next: u64,
    outputs: BTreeMap<u64, Paths>,
}

static LIVE: Mutex<Live> = Mutex::new(Live { ended: false, placing: 0, next: 0, outputs: BTreeMap::new() });

/// Time between two looks at outputs that are being placed.
const PAUSE: Duration = Duration::from_millis(5);

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An output on the list, as long as this lives.
#[derive(Debug)]
pub(super) struct Entry(u64);

/// Puts an output on the list.
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

/// An output that is being put in place, as long as this lives.
#[derive(Debug)]
pub(super) struct Placing(());

/// Begins to put an output in place.
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

/// Whether an output is being written.
pub(super) fn any() -> bool {
    !live().outputs.is_empty()
}

/// Ends all outputs: none is begun or put in place from now on. Gives those that were not, unless one is still being
/// put in place after `wait`, in which case nothing may be touched.
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
