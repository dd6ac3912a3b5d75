//! A file of a repository that is read in parts, without a download.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clipway_formats::ReadAt;

use crate::http::Address;
use crate::transfer::{Place, Plain};
use crate::{Entry, Hub, HubError, RepoName, Tree};

/// Bytes that are fetched at least.
const BLOCK: u64 = 4 << 10;
/// Most blocks that are kept.
const BLOCKS: usize = 4096;

/// A file of a repository that is read in parts. Its size, commit and hash are checked in the headers of every answer,
/// but bytes that were not all read have no hash to check.
pub struct Distant {
    hub: Arc<Hub>,
    repo: RepoName,
    commit: String,
    file: String,
    entry: Entry,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: BTreeMap<u64, Vec<u8>>,
    signed: Option<Address>,
    fetched: u64,
}

impl Distant {
    /// A file of a commit. Nothing is fetched yet.
    ///
    /// # Errors
    /// A file that the commit does not have.
    pub fn open(hub: &Arc<Hub>, repo: &RepoName, tree: &Tree, file: &str) -> Result<Distant, HubError> {
        let absent = || HubError::NoFile {
            repo: repo.to_string(),
            file: clipway_formats::shown(file),
            revision: tree.commit.clone(),
        };
        let entry = tree.files.get(file).ok_or_else(absent)?;
        Ok(Distant {
            hub: Arc::clone(hub),
            repo: repo.clone(),
            commit: tree.commit.clone(),
            file: file.to_owned(),
            entry: entry.clone(),
            state: Mutex::default(),
        })
    }

    /// Bytes that were fetched so far.
    pub fn fetched(&self) -> u64 {
        self.state().fetched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the missing blocks of a range, each run of them at once.
    fn fill(&self, state: &mut State, blocks: Range<u64>) -> Result<(), HubError> {
        if state.blocks.len() as u64 + (blocks.end - blocks.start) > BLOCKS as u64 {
            state.blocks.clear();
        }
        let mut at = blocks.start;
        while at < blocks.end {
            if state.blocks.contains_key(&at) {
                at += 1;
                continue;
            }
            let end = (at..blocks.end).find(|block| state.blocks.contains_key(block)).unwrap_or(blocks.end);
            let range = at * BLOCK..(end * BLOCK).min(self.entry.size);
            let bytes = self.fetch(state, range)?;
            for (block, bytes) in (at..end).zip(bytes.chunks(BLOCK as usize)) {
                state.blocks.insert(block, bytes.to_vec());
            }
            at = end;
        }
        Ok(())
    }

    fn fetch(&self, state: &mut State, range: Range<u64>) -> Result<Vec<u8>, HubError> {
        let Distant { repo, commit, file, entry, .. } = self;
        let place = Place { repo, commit, file, entry };
        let mut plain = Plain { http: &self.hub.http, place, signed: state.signed.take() };
        let bytes = plain.part(&range)?;
        state.signed = plain.signed;
        state.fetched += bytes.len() as u64;
        Ok(bytes)
    }

    fn read(&self, state: &mut State, offset: u64, buffer: &mut [u8]) -> Result<(), HubError> {
        let end = offset + buffer.len() as u64;
        // What would not be kept is fetched piece by piece.
        for (index, piece) in buffer.chunks_mut(BLOCKS / 2 * BLOCK as usize).enumerate() {
            let from = offset + (index * (BLOCKS / 2)) as u64 * BLOCK;
            let to = (from + piece.len() as u64).min(end);
            self.fill(state, from / BLOCK..to.div_ceil(BLOCK))?;
            let mut at = from;
            while at < to {
                let (block, skip) = (at / BLOCK, (at % BLOCK) as usize);
                let bytes = &state.blocks[&block][skip..];
                let count = bytes.len().min((to - at) as usize);
                let done = (at - from) as usize;
                piece[done..done + count].copy_from_slice(&bytes[..count]);
                at += count as u64;
            }
        }
        Ok(())
    }
}

impl ReadAt for Distant {
    fn size(&self) -> u64 {
        self.entry.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let is_inside = offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.entry.size);
        if !is_inside {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read(&mut self.state(), offset, buffer).map_err(|error| {
            let message = error.to_string();
            self.hub.http.watcher().fail(error);
            io::Error::other(message)
        })
    }
}
