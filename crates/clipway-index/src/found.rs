//! An image that a walk found, and how it is read.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clipway_formats::{Place, ReadAt, reserve};
use clipway_model::input::{self, InputError, Kind};
use clipway_search::MOST_CAPTION_BYTES;

/// An image in a folder or in an archive.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path; a member's is that of its archive and its name in there.
    pub path: PathBuf,
    /// Number of its bytes.
    pub size: u64,
    /// When it, or the archive, was last changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// The archive that it is a member of.
    pub(crate) member: Option<Member>,
}

/// The place of an image in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The archive.
    pub archive: Arc<Path>,
    /// Bytes of the archive when its members were found.
    pub archive_size: u64,
    /// Offset of the first byte.
    pub start: u64,
    /// The text beside it.
    pub caption: Option<CaptionPlace>,
}

/// The place of a caption in an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptionPlace {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of its bytes.
    pub size: u64,
}

/// What was read of an image.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The bytes of the image.
    pub bytes: Vec<u8>,
    /// The text beside it, if it has one that is not empty.
    pub caption: Option<String>,
}

/// A place that could not be walked, or an image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Why an image has no bytes.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It might be read at another time: nothing is recorded.
    Passing(String),
    /// It stays as it is until it changes.
    Lasting(String),
}

/// Files that changed so recently that another change could leave their time as it is.
const TICK: Duration = Duration::from_millis(20);

impl Found {
    /// When the index is to say that the image was changed: a file that may still change unseen is compared again by the
    /// next run.
    pub(crate) fn settled_ns(&self) -> i64 {
        let young =
            SystemTime::now().checked_sub(TICK).is_some_and(|limit| nanoseconds(limit) < self.modified_ns);
        if young { self.modified_ns.saturating_sub(1) } else { self.modified_ns }
    }

    /// Reads the bytes, and the caption of a member of an archive.
    pub(crate) fn read(&self) -> Result<Contents, Refusal> {
        let Some(member) = &self.member else {
            let bytes = input::read(&self.path, Kind::Image).map_err(refused)?;
            return Ok(Contents { bytes, caption: None });
        };
        let limit = Kind::Image.limit();
        if self.size > limit {
            let (path, kind) = (self.path.clone(), Kind::Image);
            return Err(refused(InputError::TooLarge { path, size: self.size.to_string(), kind, limit }));
        }
        let changed = || refused(InputError::Changed { path: member.archive.to_path_buf() });
        let archive = input::open(&member.archive, Kind::Archive).map_err(refused)?;
        if archive.size() != member.archive_size {
            return Err(changed());
        }
        let mut bytes = Vec::new();
        let no_memory = |_| refused(InputError::NoMemory { path: self.path.clone(), bytes: self.size });
        reserve(&mut bytes, self.size as usize, || Place::File).map_err(no_memory)?;
        bytes.resize(self.size as usize, 0);
        let read = archive.read_exact_at(member.start, &mut bytes);
        let caption = member.caption.map(|place| place.read(&archive)).transpose();
        archive.check_unchanged().map_err(refused)?;
        let caption = read.and(caption).map_err(|error| Refusal::Passing(error.to_string()))?.flatten();
        // The member's place was found earlier.
        let now = std::fs::metadata(&member.archive).map(|metadata| modified_ns(&metadata));
        if now.ok() != Some(self.modified_ns) { Err(changed()) } else { Ok(Contents { bytes, caption }) }
    }
}

impl CaptionPlace {
    /// Reads the caption, without the space around it; `None` if nothing else is there. Of a long one only as much as an index
    /// stores.
    fn read(self, archive: &impl ReadAt) -> std::io::Result<Option<String>> {
        // Of a character that is cut here, nothing is stored.
        let most = MOST_CAPTION_BYTES + char::MAX.len_utf8();
        let mut bytes = vec![0; self.size.min(most as u64) as usize];
        archive.read_exact_at(self.start, &mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// A system's failure passes; what is no image or too large stays so.
fn refused(error: InputError) -> Refusal {
    match error {
        InputError::TooLarge { .. } | InputError::Endless { .. } | InputError::NotAFile { .. } => {
            Refusal::Lasting(error.why())
        }
        other => Refusal::Passing(other.why()),
    }
}

/// When a file was last changed, in nanoseconds since 1970; 0 where the system does not say.
pub(crate) fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.modified().map_or(0, nanoseconds)
}

/// Nanoseconds since 1970.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let of = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -of(before.duration()), of)
}
