//! Fills an index: one batch runs through the model while the next is decoded and the one after that is read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clipway_formats::shown_path;
use clipway_run::clip::{Clip, ClipError};
use clipway_run::image::DecodeLimits;
use clipway_search::Writer;

use crate::compare::compare;
use crate::error::FillError;
use crate::prepare::{self, Facts, State, Work};
use crate::summary::Summary;
use crate::walk::Walked;

/// How an index is filled.
#[derive(Clone, Debug)]
pub struct FillOptions {
    /// Limits for one image.
    pub limits: DecodeLimits,
    /// How often what was done is made safe.
    pub commit_every: Duration,
}

impl Default for FillOptions {
    fn default() -> FillOptions {
        FillOptions { limits: DecodeLimits::default(), commit_every: Duration::from_secs(3) }
    }
}

/// Hears how far the work is, and what could not be read.
pub trait Progress: Sync {
    /// So many images are to be read; all others are unchanged.
    fn begin(&self, _images: u64) {}
    /// So many more images are done.
    fn advance(&self, _images: u64) {}
    /// An image could not be read.
    fn unreadable(&self, _path: &Path, _reason: &str) {}
}

impl Progress for () {}

/// Brings an index up to date with what was walked. `cancel` stops it after the batch at hand; what was done by then is
/// committed.
///
/// # Errors
/// An index that cannot be written, as on a full disk, pixels that the model refuses, and roots of which none could be
/// walked. What was committed before stays.
pub fn fill(
    writer: &mut Writer,
    clip: &Clip,
    walked: &Walked,
    options: &FillOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Summary, FillError> {
    if let (true, Some(trouble)) = (walked.roots.is_empty(), walked.troubles.first()) {
        return Err(FillError::NoFolder { path: trouble.path.clone(), reason: trouble.reason.clone() });
    }
    let mut summary = Summary {
        images: walked.images.len() as u64,
        unsupported: walked.unsupported.clone(),
        not_walked: walked.troubles.iter().map(|trouble| trouble.path.clone()).collect(),
        empty: walked.empty.clone(),
        ..Summary::default()
    };
    let comparison = compare(writer, walked, &mut summary)?;
    progress.begin(comparison.todo.len() as u64);
    let mut filling = Filling { writer, clip, progress, summary: &mut summary, committed: Instant::now() };
    let mut batches = prepare::batches(&walked.images, comparison.todo, clip.pixel_values()).into_iter();
    let mut read: Option<Vec<Work>> = None;
    let mut prepared: Option<Vec<Work>> = None;
    loop {
        let next = if cancel.load(Ordering::Relaxed) { None } else { batches.next() };
        if cancel.load(Ordering::Relaxed) {
            read = None;
        }
        if next.is_none() && read.is_none() && prepared.is_none() {
            break;
        }
        let (features, (mut decoded, hashed)) = rayon::join(
            || prepared.as_deref().map(|works| features(clip, works)).transpose(),
            || {
                rayon::join(
                    || {
                        let mut works = read.take()?;
                        prepare::prepare(&mut works, clip, &options.limits);
                        Some(works)
                    },
                    || next.map(|batch| prepare::read(&walked.images, batch)),
                )
            },
        );
        if let (Some(works), Some(features)) = (prepared.take(), features?) {
            filling.put(works, &features)?;
            filling.commit_after(options.commit_every)?;
        }
        read = hashed;
        if let Some(works) = &mut read {
            let on_the_way: HashSet<[u8; 32]> =
                decoded.iter().flatten().filter_map(Work::embedded_hash).collect();
            prepare::look_up(works, filling.writer, &comparison.facts, &on_the_way)?;
        }
        prepared = decoded.take();
    }
    filling.summary.interrupted = cancel.load(Ordering::Relaxed);
    if !filling.summary.interrupted {
        for path in &comparison.vanished {
            filling.summary.removed += u64::from(filling.writer.remove(path)?);
        }
    }
    filling.writer.commit()?;
    Ok(summary)
}

struct Filling<'a> {
    writer: &'a mut Writer,
    clip: &'a Clip,
    progress: &'a dyn Progress,
    summary: &'a mut Summary,
    committed: Instant,
}

impl Filling<'_> {
    /// Puts a batch into the index.
    fn put(&mut self, works: Vec<Work>, features: &[f32]) -> Result<(), FillError> {
        let mut features = features.chunks_exact(self.clip.embed_dim());
        let now = prepare::now();
        let count = works.len() as u64;
        for work in works {
            let path = &work.found.path;
            let (facts, unreadable, feature) = match &work.state {
                State::Pixels(facts, _) => {
                    self.summary.embedded += 1;
                    (*facts, None, features.next())
                }
                State::Known(facts) => {
                    self.summary.reused += 1;
                    (*facts, None, None)
                }
                State::Unreadable(reason) => {
                    self.summary.unreadable += 1;
                    self.progress.unreadable(path, reason);
                    (Facts::default(), Some(reason.clone()), None)
                }
                State::NotRead(reason) => {
                    self.summary.not_read += 1;
                    self.progress.unreadable(path, reason);
                    continue;
                }
                _ => unreachable!("every image of the batch was prepared"),
            };
            self.writer.put(path, &work.item(facts, unreadable, now), feature)?;
        }
        self.progress.advance(count);
        Ok(())
    }

    fn commit_after(&mut self, interval: Duration) -> Result<(), FillError> {
        if self.committed.elapsed() >= interval {
            self.writer.commit()?;
            self.committed = Instant::now();
        }
        Ok(())
    }
}

/// Features of the images of a batch that the model has to see.
fn features(clip: &Clip, works: &[Work]) -> Result<Vec<f32>, ClipError> {
    let mut paths: Vec<&PathBuf> = Vec::new();
    let mut pixels = Vec::new();
    for work in works {
        if let State::Pixels(_, one) = &work.state {
            paths.push(&work.found.path);
            pixels.extend_from_slice(one);
        }
    }
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let named = |index: usize| format!("`{}`", shown_path(paths[index]));
    clip.encode_pixels(&pixels).map_err(|error| error.naming(named))
}
