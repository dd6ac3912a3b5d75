//! Long work that an interrupt from the keyboard ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clipway_model::output;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Time between two looks at signals.
const LOOK: Duration = Duration::from_millis(50);

/// Time for work that writes nothing to notice that it was cancelled.
const GRACE: Duration = Duration::from_secs(2);

/// Runs work on a thread of its own without holding the interpreter, and looks at signals meanwhile. The work gets a flag
/// that a signal's exception sets: what writes cleans up first, and work that does not look at the flag is left behind.
///
/// # Errors
/// The exception of a signal's handler, such as `KeyboardInterrupt`; a thread that cannot be started.
pub fn watched<R: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(Arc<AtomicBool>) -> R + Send + 'static,
) -> PyResult<R> {
    let cancel = Arc::new(AtomicBool::new(false));
    let (done, results) = channel();
    let flag = Arc::clone(&cancel);
    let worker = move || {
        // Nobody waits for the result of work that was left behind.
        let _ = done.send(catch_unwind(AssertUnwindSafe(|| work(flag))));
    };
    let started = thread::Builder::new().name("clipway-call".to_owned()).spawn(worker);
    started.map_err(|cause| PyRuntimeError::new_err(format!("cannot start a thread: {cause}")))?;
    let results = Mutex::new(results);
    let wait = || results.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK);
    loop {
        match py.detach(wait) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("the work was lost")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(exception) = py.check_signals() {
            cancel.store(true, Ordering::SeqCst);
            py.detach(|| {
                let start = Instant::now();
                while matches!(wait(), Err(RecvTimeoutError::Timeout)) {
                    if start.elapsed() > GRACE && !output::is_writing() {
                        return;
                    }
                }
            });
            return Err(exception);
        }
    }
}
