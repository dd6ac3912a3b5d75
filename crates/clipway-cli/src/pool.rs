//! One thread pool for all work of a command: reading, decoding, tokenizing, writing and the engine.

use clipway_formats::{Place, check_room};
use clipway_run::engine::Processor;

use crate::failure::{Failure, chain};
use crate::ui::Ui;

/// Address space that each thread takes for its stack and its part of the heap, before any data.
const THREAD_BYTES: usize = 64 << 20;

/// Runs a command on the requested number of threads, and no others.
///
/// # Errors
/// Too little address space for the threads, threads that cannot be started, and the command's own failure.
pub fn run<R: Send>(ui: &Ui, command: impl FnOnce() -> Result<R, Failure> + Send) -> Result<R, Failure> {
    check_threads(ui)?;
    if ui.threads() == 1 {
        // The engine starts no threads for one; other parallel work must not start any either.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        if ui.is_keeping() {
            return pool.build().map_err(|error| not_started(&error))?.install(command);
        }
        pool.use_current_thread().build_global().map_err(|error| not_started(&error))?;
        return command();
    }
    processor(ui)?.install(command)
}

/// Starts the requested number of threads for parallel work outside of the engine's own: for a command that keeps its
/// main thread for something else.
///
/// # Errors
/// Too little address space for the threads, and threads that cannot be started.
#[cfg(feature = "serve")]
pub fn start_global(ui: &Ui) -> Result<(), Failure> {
    check_threads(ui)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(ui.threads());
    pool.build_global().map_err(|error| not_started(&error))
}

/// Failure for threads that cannot be started.
pub fn not_started(error: &dyn std::error::Error) -> Failure {
    Failure::could_not_run("threads", chain(error))
}

/// Refuses too little address space for the threads.
fn check_threads(ui: &Ui) -> Result<(), Failure> {
    // Below this the first small allocation that fails would abort the process.
    let bytes = THREAD_BYTES.saturating_mul(ui.threads().saturating_add(1));
    check_room(bytes, || Place::File).map_err(|_| {
        let threads = crate::text::counted(ui.threads(), "thread");
        let failure = Failure::could_not_run(
            "no-memory",
            format!("no memory for {threads}: the system gives less than {bytes} bytes of address space"),
        );
        failure.hint("raise the limit (`ulimit -v`), or run with fewer threads (`--threads 1`)")
    })
}

/// The processor of the command. Its threads start on first use.
///
/// # Errors
/// Threads that cannot be started, and instructions that this machine does not have.
pub fn processor(ui: &Ui) -> Result<&Processor, Failure> {
    if let Some(processor) = ui.processor().get() {
        return Ok(processor);
    }
    let unavailable = |error| Failure::could_not_run("processor", chain(&error));
    let started = match ui.debug().isa {
        Some(set) => Processor::new(set, ui.threads()).map_err(unavailable)?,
        None => Processor::with_threads(ui.threads()).map_err(|error| not_started(&error))?,
    };
    let started = match ui.debug().bf16 {
        Some(products) => started.with_bf16(products).map_err(unavailable)?,
        None => started,
    };
    Ok(ui.processor().get_or_init(|| started))
}
