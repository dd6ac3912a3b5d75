//! Shows whether a file is still the one that was opened.

use std::fs::{File, Metadata};
use std::io;
use std::thread;
use std::time::{Duration, SystemTime};

/// Size, times and identity of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    identity: Identity,
    modified: Option<SystemTime>,
}

/// The longest interval in which a system gives two changes the same time: its file clock ticks at least 100 times a
/// second.
const TICK: Duration = Duration::from_millis(20);

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp { size: metadata.len(), identity: Identity::of(metadata), modified: metadata.modified().ok() }
    }

    /// The stamp of a file, once it is old enough that the next change must change the stamp: for a file written just
    /// now, this waits.
    pub(super) fn settled(file: &File, metadata: &Metadata) -> io::Result<Stamp> {
        let mut stamp = Stamp::of(metadata);
        let age = |stamp: &Stamp| {
            let changed = stamp.identity.changed().or(stamp.modified)?;
            SystemTime::now().duration_since(changed).ok()
        };
        if let Some(wait) = age(&stamp).and_then(|age| TICK.checked_sub(age)) {
            thread::sleep(wait);
            stamp = Stamp::of(&file.metadata()?);
        }
        Ok(stamp)
    }
}

#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

#[cfg(unix)]
impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        use std::os::unix::fs::MetadataExt;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Identity { device: metadata.dev(), inode: metadata.ino(), changed }
    }

    fn changed(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) =
            (u64::try_from(self.changed.0).ok()?, u32::try_from(self.changed.1).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
    }
}

#[cfg(not(unix))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity;

#[cfg(not(unix))]
impl Identity {
    fn of(_: &Metadata) -> Identity {
        Identity
    }

    fn changed(&self) -> Option<SystemTime> {
        None
    }
}
