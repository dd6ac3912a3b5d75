//! The threads of a model, and no others.

use std::sync::{Mutex, PoisonError};

use clipway_run::engine::Processor;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::errors;

/// Where a model's work runs. With several threads, calls share them. With one, each call that runs at a time has a thread
/// of its own, so that as many calls as the program makes compute in parallel.
pub struct Threads {
    processor: Processor,
    idle: Mutex<Vec<ThreadPool>>,
}

impl Threads {
    /// The threads of a processor.
    pub fn new(processor: Processor) -> Threads {
        Threads { processor, idle: Mutex::default() }
    }

    /// Number of threads that one call uses.
    pub fn count(&self) -> usize {
        self.processor.threads()
    }

    /// Runs work without holding the interpreter.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn run<R: Send>(&self, py: Python<'_>, work: impl FnOnce() -> R + Send) -> PyResult<R> {
        py.detach(|| self.detached(work))
            .map_err(|cause| errors::error(py, "threads", &format!("cannot start a thread: {cause}"), None))
    }

    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, ThreadPoolBuildError> {
        if self.count() > 1 {
            return Ok(self.processor.install(work));
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle().pop();
        let pool = match found {
            Some(pool) => pool,
            None => {
                ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "clipway-0".to_owned()).build()?
            }
        };
        let result = pool.install(work);
        idle().push(pool);
        Ok(result)
    }
}
