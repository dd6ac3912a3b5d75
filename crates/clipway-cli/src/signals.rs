//! Signals: an interrupt ends the run within a grace period, whatever it is waiting for, and leaves nothing behind.

use std::io::Write;
use std::process;
use std::sync::Arc;
#[cfg(any(feature = "search", feature = "serve"))]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clipway_model::output;

use crate::failure::{Failure, INTERRUPTED};

/// Time for work to notice an interrupt and clean up by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Time for an output that is being moved into place to get there.
const PLACING: Duration = Duration::from_millis(500);

/// Time for a terminal or pipe to take the last message.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the first interrupt does instead of ending the run.
#[cfg(any(feature = "search", feature = "serve"))]
static STOP: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// From now on the first interrupt calls `stop`, after which the run ends by itself; a second one still ends it at once.
#[cfg(any(feature = "search", feature = "serve"))]
pub fn stop_with(stop: impl Fn() + Send + Sync + 'static) {
    let _ = STOP.set(Box::new(stop));
}

/// Watches for interrupts (`SIGINT`, `SIGTERM`, `SIGHUP`), and turns exceeding the file-size limit into a write error.
/// An interrupt sets the flag; work that writes checks it and cleans up. A second interrupt ends the process at once,
/// and so does the first if nothing is being written.
pub fn watch(json: bool) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let cancel = Arc::clone(&flag);
    let handler = move || {
        let is_second = cancel.swap(true, Ordering::SeqCst);
        #[cfg(any(feature = "search", feature = "serve"))]
        if let (Some(stop), false) = (STOP.get(), is_second) {
            return stop();
        }
        if is_second || !output::is_writing() {
            end(json);
        }
        // The handler's thread stays free for the next signal.
        let waiting = thread::Builder::new().spawn(move || {
            thread::sleep(GRACE);
            end(json);
        });
        if waiting.is_err() {
            end(json);
        }
    };
    on_interrupt(handler);
    #[cfg(unix)]
    {
        // Setting the flag is enough: the write then fails and is reported like any other failed write.
        let over = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, over);
    }
    flag
}

/// Calls `handler` for each interrupt. If no descriptor or thread is left for that, signals end the process.
#[cfg(unix)]
fn on_interrupt(handler: impl Fn() + Send + 'static) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let signals = [SIGINT, SIGTERM, SIGHUP];
    let Ok(mut watched) = signal_hook::iterator::Signals::new(signals) else { return };
    let started = thread::Builder::new().spawn(move || watched.forever().for_each(|_| handler()));
    if started.is_err() {
        let always = Arc::new(AtomicBool::new(true));
        for signal in signals {
            let _ = signal_hook::flag::register_conditional_default(signal, Arc::clone(&always));
        }
    }
}

/// Calls `handler` for each interrupt.
#[cfg(not(unix))]
fn on_interrupt(handler: impl Fn() + Send + 'static) {
    let _ = ctrlc::set_handler(handler);
}

/// Ends the process: removes temporary files, reports the interrupt, and waits for neither threads nor readers.
fn end(json: bool) -> ! {
    output::abandon(PLACING);
    let message = match output::is_in_place() {
        true => "interrupted; what was committed before stays",
        false => "interrupted; nothing was written",
    };
    let failure = Failure { exit_code: INTERRUPTED, ..Failure::no("interrupted", message) };
    let (done, told) = mpsc::channel();
    // A pipe that nobody reads accepts nothing, and another thread may hold the streams.
    let _ = thread::Builder::new().spawn(move || {
        let _ = writeln!(anstream::stderr(), "error: {}", failure.coded());
        if json {
            let _ = writeln!(anstream::stdout(), "{:#}", failure.json());
        }
        let _ = done.send(());
    });
    let _ = told.recv_timeout(LAST_WORDS);
    #[cfg(all(unix, feature = "search"))]
    crate::terminal::restore();
    process::exit(i32::from(INTERRUPTED))
}
