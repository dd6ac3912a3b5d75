//! Work on many tensors at once, stopped by the first error or an interrupt.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::ExportError;

/// Where an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The source is read and hashed, the weights are written.
    Write,
    /// What was written is read back and compared.
    ReadBack,
    /// Weights are read for statistics.
    Statistics,
    /// The folder is verified against the source.
    Verify,
    /// The disk is waited for.
    Sync,
}

/// Learns how an export advances.
pub trait Progress: Sync {
    /// A stage begins, in which this many bytes are to be handled.
    fn begin(&self, stage: Stage, bytes: u64);

    /// So many more bytes of the stage are done. Called from many threads.
    fn advance(&self, bytes: u64);
}

/// Progress that nobody looks at.
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
    /// Says how far it is, and stops where an interrupt was asked for.
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
    // Of several errors the one of the first job is reported, so that the message does not depend on timing.
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Indices from the largest to the smallest, so that no thread is left with a large one at the end.
pub(crate) fn largest_first(sizes: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sizes[index]));
    order
}
