//! Deflated storages shared by several tensors: inflated once, however many tensors read them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::tensor::{Data, StorageSpec};
use crate::error::{Code, FormatError, Place};
use crate::zip::{Method, ZipArchive};

/// Maximum size of deflated storages shared by several tensors, which stay in memory once inflated.
const MOST_SHARED: u64 = 512 << 20;

/// The storages of an archive that are kept inflated.
#[derive(Default)]
pub(super) struct Inflated {
    /// By the index of their entry; empty until first read.
    storages: HashMap<usize, Kept>,
}

type Kept = Mutex<Option<Arc<Vec<u8>>>>;

impl Inflated {
    /// Finds the deflated storages shared by several tensors.
    ///
    /// # Errors
    /// `Code::TooLarge` if they are too large to keep.
    pub(super) fn new(
        archive: Option<&ZipArchive>,
        storages: &[StorageSpec],
        uses: &[usize],
    ) -> Result<Inflated, FormatError> {
        let Some(archive) = archive else { return Ok(Inflated::default()) };
        let mut shared = Inflated::default();
        let mut total = 0u64;
        for (storage, &uses) in storages.iter().zip(uses) {
            let Data::Entry(index) = storage.data else { continue };
            let entry = &archive.entries()[index];
            if uses < 2 || entry.method() == Method::Stored {
                continue;
            }
            total = total.saturating_add(entry.size());
            if total > MOST_SHARED {
                let cause = format!(
                    "deflated storages that several tensors share have more than {MOST_SHARED} bytes together; write \
                     the archive without compression"
                );
                return Err(FormatError::new(Code::TooLarge, Place::Entry(entry.name().to_owned()), cause));
            }
            shared.storages.insert(index, Kept::default());
        }
        Ok(shared)
    }

    /// The content of entry `index` if it is one to keep; the first call inflates it.
    ///
    /// # Errors
    /// Damaged content.
    pub(super) fn get(
        &self,
        archive: &ZipArchive,
        index: usize,
    ) -> Result<Option<Arc<Vec<u8>>>, FormatError> {
        let Some(kept) = self.storages.get(&index) else { return Ok(None) };
        // A panic leaves either nothing or the whole content here.
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            let mut content = Vec::new();
            archive.read_range(index, 0, archive.entries()[index].size(), &mut content)?;
            *kept = Some(Arc::new(content));
        }
        Ok(kept.clone())
    }
}
