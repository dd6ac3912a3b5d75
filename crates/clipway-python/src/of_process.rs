//! What belongs to one process, since its threads do not survive a fork.

use std::process;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::errors;

/// Something with threads.
pub struct OfProcess<T> {
    value: Arc<T>,
    /// The process that made it.
    process: u32,
    /// For messages: what it is, that it was made, and how to make it, such as `model`, `loaded` and `load`.
    words: [&'static str; 3],
}

impl<T> OfProcess<T> {
    /// Something that this process made.
    pub fn new(value: T, words: [&'static str; 3]) -> OfProcess<T> {
        OfProcess { value: Arc::new(value), process: process::id(), words }
    }

    /// It, for what needs none of its threads.
    pub fn anywhere(&self) -> &T {
        &self.value
    }

    /// It.
    ///
    /// # Errors
    /// A process forked after it was made.
    pub fn here(&self, py: Python<'_>) -> PyResult<&T> {
        if self.process == process::id() {
            return Ok(&self.value);
        }
        let [what, made, make] = self.words;
        let message = format!(
            "the {what} was {made} before this process was forked, and its threads do not exist here"
        );
        let hint = format!(
            "{make} the {what} in this process, or start processes with `multiprocessing.get_context(\"spawn\")`"
        );
        Err(errors::error(py, "processor", &message, Some(&hint)))
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            // The threads of a forked process are gone, and waiting for them would not end.
            std::mem::forget(Arc::clone(&self.value));
        }
    }
}
