//! Parallel work on many tensors, stopped by the first error or an interrupt.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::ExportError;

/// The stage of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading and hashing the source, writing the weights.
    Write,
    /// Reading back and comparing what was written.
    ReadBack,
    /// Reading weights for statistics.
    Statistics,
    /// Verifying the folder against the source.
    Verify,
    /// Waiting for the disk.
    Sync,
}

/// Receives the progress of an export.
pub trait Progress: Sync {
    /// A stage begins; it will process this many bytes.
    fn begin(&self, stage: Stage, bytes: u64);

    /// `bytes` more bytes of the stage are done. Called from many threads.
    fn advance(&self, bytes: u64);
}

/// Ignores progress.
impl Progress for () {
    fn begin(&self, _stage: Stage, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}
}

/// What every part of a running export needs.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a AtomicBool,
}

impl Run<'_> {
    /// Reports progress, and stops if an interrupt was requested.
    pub(crate) fn advance(&self, bytes: usize) -> Result<(), ExportError> {
        self.progress.advance(bytes as u64);
        self.check()
    }

    pub(crate) fn check(&self) -> Result<(), ExportError> {
        if self.cancel.load(Ordering::Relaxed) { Err(ExportError::Interrupted) } else { Ok(()) }
    }
}

/// Runs `job` for every index in `order` on all threads, each taking the next when it is free. After an error no
/// more are begun.
pub(crate) fn run_jobs<T: Send, E: Send>(
    order: &[usize],
    job: &(dyn Fn(usize) -> Result<T, E> + Sync),
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::new(Vec::with_capacity(order.len()));
    let keep = |index, result| {
        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
    };
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads().min(order.len()) {
            scope.spawn(|_| {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = job(index);
                    if result.is_err() {
                        next.store(order.len(), Ordering::Relaxed);
                    }
                    keep(index, result);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The error of the first job is reported, so that the message does not depend on timing.
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Indices from largest to smallest, so that no thread is left with a large one at the end.
pub(crate) fn largest_first(sizes: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sizes[index]));
    order
}
