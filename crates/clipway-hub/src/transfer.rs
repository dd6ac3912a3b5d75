//! One file from the Hub into the cache: resumed, hashed while it arrives, named once it is right.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::mpsc::sync_channel;

use clipway_formats::shown;

use crate::cache::{Cache, files};
use crate::entry::Entry;
use crate::hash::Hasher;
use crate::http::{ATTEMPTS, About, Address, Answer, Ask, Http, quoted};
use crate::{HubError, RepoName};

/// A way to fetch the bytes of a file. Plain HTTP is the one that exists; the Hub's Xet protocol would be another.
pub trait Transfer {
    /// Writes the bytes from `offset` on to `sink`, in order; returns early with what arrived if the connection ends.
    ///
    /// # Errors
    /// A file that cannot be fetched.
    fn fetch(
        &mut self,
        offset: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), HubError>,
    ) -> Result<Fetched, HubError>;
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Everything arrived.
    Whole,
    /// The connection ended early.
    Partly,
    /// The server cannot start at this offset.
    Restart,
}

/// A file of a repository.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub repo: &'a RepoName,
    pub commit: &'a str,
    pub file: &'a str,
    pub entry: &'a Entry,
}

/// Plain HTTP.
pub(crate) struct Plain<'a> {
    pub http: &'a Http,
    pub place: Place<'a>,
    /// The signed address of the bytes, until it expires.
    pub signed: Option<Address>,
}

impl Plain<'_> {
    /// Asks for the bytes from `offset` on, up to `end` if given.
    pub fn open(&mut self, offset: u64, end: Option<u64>) -> Result<Answer, HubError> {
        let Place { repo, commit, file, .. } = self.place;
        let range = match (offset, end) {
            (0, None) => None,
            (offset, None) => Some(format!("bytes={offset}-")),
            (offset, Some(end)) => Some(format!("bytes={offset}-{}", end - 1)),
        };
        let ask = |url: String| {
            let mut ask = Ask::get(url);
            ask.headers.extend(range.clone().map(|range| ("range", range)));
            ask
        };
        let about = About { repo: repo.as_str(), revision: commit, file, handles: &[403, 416] };
        let mut refused = String::new();
        for _ in 0..3 {
            let Some(signed) = &self.signed else {
                let url = format!("{}/{repo}/resolve/{commit}/{}", self.http.endpoint(), quoted(file, true));
                let mut first = ask(url);
                first.headers.push(("x-hf-download-counter", "1".to_owned()));
                let answer = self.http.ask(&first, &About { handles: &[416], ..about })?;
                self.check_head(&answer)?;
                match answer.redirect()? {
                    Some(target) => self.signed = Some(target),
                    None => return Ok(answer),
                }
                continue;
            };
            let answer = self.http.ask(&ask(signed.as_str()), &about)?;
            if answer.status() != 403 {
                return Ok(answer);
            }
            // The signature expired.
            refused = signed.host();
            self.signed = None;
        }
        Err(HubError::Refused { host: refused, status: 403, said: String::new() })
    }

    /// The bytes of a range, which no hash covers.
    pub fn part(&mut self, range: &Range<u64>) -> Result<Vec<u8>, HubError> {
        let answer = self.open(range.start, Some(range.end))?;
        let size = self.place.entry.size;
        let expected = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let is_whole = answer.status() == 200 && range.start == 0 && range.end == size;
        if !is_whole && (answer.status() != 206 || answer.header("content-range") != Some(expected.as_str()))
        {
            let reason = "a request for a range was not answered with it".to_owned();
            return Err(HubError::Answer { host: answer.address.host(), reason });
        }
        let (host, length) = (answer.address.host(), range.end - range.start);
        let bytes = answer.bytes(self.http, length)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(HubError::Unreachable { host, reason: "the answer is cut short".to_owned() }),
        }
    }

    /// Refuses an answer of the Hub about another commit or another content.
    fn check_head(&self, answer: &Answer) -> Result<(), HubError> {
        let Place { commit, file, entry, .. } = self.place;
        let refuse = |reason: &str| {
            Err(HubError::Answer {
                host: answer.address.host(),
                reason: format!("`{}`: {reason}", shown(file)),
            })
        };
        if answer.status() == 416 {
            return Ok(());
        }
        match answer.header("x-repo-commit") {
            None => return refuse("no commit in its answer"),
            Some(found) if found != commit => return refuse("its answer is about another commit"),
            Some(_) => {}
        }
        let tag = answer.header("x-linked-etag").or_else(|| answer.header("etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        match tag {
            Some(tag) if tag == entry.content.hash() => Ok(()),
            _ => refuse("its hash is not the one of the listing"),
        }
    }
}

impl Transfer for Plain<'_> {
    fn fetch(
        &mut self,
        offset: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), HubError>,
    ) -> Result<Fetched, HubError> {
        let size = self.place.entry.size;
        let answer = self.open(offset, None)?;
        match answer.status() {
            206 if offset > 0 => {
                let expected = format!("bytes {offset}-{}/{size}", size - 1);
                if answer.header("content-range") != Some(expected.as_str()) {
                    return Ok(Fetched::Restart);
                }
            }
            200 if offset == 0 => {}
            200 | 206 | 416 => return Ok(Fetched::Restart),
            status => {
                let host = answer.address.host();
                return Err(HubError::Refused { host, status, said: String::new() });
            }
        }
        let Answer { response, address } = answer;
        // One byte more than announced shows an answer that is too long.
        let mut reader = response.into_body().into_reader().take(size - offset + 1);
        let mut buffer = vec![0; 256 << 10];
        let mut left = size - offset;
        loop {
            self.http.check_cancelled()?;
            let count = match reader.read(&mut buffer) {
                Ok(count) => count,
                // A server that sends nothing at all is not asked again and again.
                Err(error) if left == size - offset => match self.http.lost(&address, &error) {
                    error @ HubError::Timeout { .. } => return Err(error),
                    _ => return Ok(Fetched::Partly),
                },
                Err(_) => return Ok(Fetched::Partly),
            };
            if count as u64 > left {
                return Ok(Fetched::Restart);
            }
            if count == 0 {
                return Ok(if left == 0 { Fetched::Whole } else { Fetched::Partly });
            }
            sink(&buffer[..count])?;
            left -= count as u64;
        }
    }
}

/// Brings a file into the cache's blobs; returns whether bytes were transferred.
pub(crate) fn bring(http: &Http, cache: &Cache, place: Place<'_>) -> Result<bool, HubError> {
    let Place { repo, file, entry, .. } = place;
    let content = &entry.content;
    if cache.is_good(repo, content, entry.size)? {
        return Ok(false);
    }
    let lock = cache.lock(repo, content.hash());
    let _lock = files::lock(&lock, || http.check_cancelled())?;
    // Another process may have brought it in the meantime.
    if cache.is_good(repo, content, entry.size)? {
        return Ok(false);
    }
    let blob = cache.blob(repo, content.hash());
    let mut partial = files::partial(&blob, entry.size)?;
    let mut transfer = Plain { http, place, signed: None };
    let mut wrong = 0;
    loop {
        let found = fill(http, &mut transfer, &mut partial, &blob, place)?;
        if found == content.hash() {
            break;
        }
        // Either what an earlier run left was wrong, or what arrived is: one fresh start decides.
        files::remove(&partial.path)?;
        wrong += 1;
        if wrong == 2 {
            let expected = content.hash().to_owned();
            return Err(HubError::Mismatch { file: shown(file), expected, found });
        }
        partial = files::new_partial(&blob)?;
    }
    partial.file.sync_data().map_err(|cause| HubError::io(&partial.path, cause))?;
    let is_whole = partial.file.metadata().is_ok_and(|metadata| metadata.len() == entry.size);
    if !is_whole {
        let cause = std::io::Error::other("another process changed the partial file");
        return Err(HubError::io(&partial.path, cause));
    }
    files::rename(&partial.path, &blob)?;
    cache.mark(repo, content)?;
    Ok(true)
}

/// Completes a partial file; returns the hash of all of it.
fn fill(
    http: &Http,
    transfer: &mut dyn Transfer,
    partial: &mut files::Partial,
    blob: &std::path::Path,
    place: Place<'_>,
) -> Result<String, HubError> {
    let Entry { size, content, .. } = place.entry;
    let mut hasher = Hasher::of(content, *size);
    partial.file.seek(SeekFrom::Start(0)).map_err(|cause| HubError::io(&partial.path, cause))?;
    let mut done = files::each_piece(&mut partial.file, &partial.path, |bytes| hasher.update(bytes))?;
    http.watcher().begin(place.file, *size, done);
    let mut failures = 0;
    let mut restarts = 0;
    while done < *size {
        let before = done;
        let (fetched, now) = pumped(http, transfer, partial, hasher, done)?;
        (hasher, done) = now;
        failures = if done > before { 0 } else { failures + 1 };
        match fetched {
            Fetched::Whole if done == *size => break,
            Fetched::Restart => {
                restarts += 1;
                files::remove(&partial.path)?;
                *partial = files::new_partial(blob)?;
                (hasher, done) = (Hasher::of(content, *size), 0);
                http.watcher().begin(place.file, *size, 0);
            }
            _ => {}
        }
        if failures == ATTEMPTS || restarts == ATTEMPTS {
            let reason = format!("`{}` did not arrive whole in {ATTEMPTS} attempts", shown(place.file));
            return Err(HubError::Unreachable { host: http.endpoint().to_owned(), reason });
        }
        if done < *size && failures > 0 {
            http.pause("the connection ended early", http.backoff(failures))?;
        }
    }
    http.watcher().end();
    Ok(hasher.finish())
}

/// Runs one fetch: bytes are written here, and hashed by another thread.
fn pumped(
    http: &Http,
    transfer: &mut dyn Transfer,
    partial: &mut files::Partial,
    mut hasher: Hasher,
    mut done: u64,
) -> Result<(Fetched, (Hasher, u64)), HubError> {
    let (send, receive) = sync_channel::<Vec<u8>>(16);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            for bytes in receive {
                hasher.update(&bytes);
            }
            hasher
        });
        let path = &partial.path;
        let file = &mut partial.file;
        let fetched = transfer.fetch(done, &mut |bytes| {
            file.write_all(bytes).map_err(|cause| HubError::io(path, cause))?;
            let _ = send.send(bytes.to_vec());
            done += bytes.len() as u64;
            http.watcher().advance(bytes.len() as u64);
            Ok(())
        });
        drop(send);
        let hasher =
            hashing.join().map_err(|_| HubError::io(path, std::io::Error::other("hashing failed")))?;
        Ok((fetched?, (hasher, done)))
    })
}
