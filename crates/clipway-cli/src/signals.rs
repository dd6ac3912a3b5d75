//! Signals: an interrupt ends the run within a grace time, whatever it waits for, and leaves nothing behind.

use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clipway_model::output;

use crate::failure::{Failure, INTERRUPTED};

/// Time that work has to notice an interrupt and to clean up by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Time that an output which is being put in place has to get there.
const PLACING: Duration = Duration::from_millis(500);

/// Time that a terminal or pipe has to take the last message.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Watches for interrupts (`SIGINT`, `SIGTERM`, `SIGHUP`), and turns a file over the limit of its size into an error
/// of writing. The flag becomes true at an interrupt: work that writes looks at it and cleans up. A second interrupt
/// ends the process at once, and so does the first while nothing is written.
pub fn watch(json: bool) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let cancel = Arc::clone(&flag);
    let handler = move || {
        let is_second = cancel.swap(true, Ordering::SeqCst);
        if is_second || !output::is_writing() {
            end(json);
        }
        // The thread of the handler stays free for the next signal.
        let waiting = thread::Builder::new().spawn(move || {
            thread::sleep(GRACE);
            end(json);
        });
        if waiting.is_err() {
            end(json);
        }
    };
    // Where the system has no descriptor left for it, a signal ends the process as it always does.
    let _ = ctrlc::set_handler(handler);
    #[cfg(unix)]
    {
        // Setting the flag is all that happens: the write then fails, and is reported as any failed write is.
        let over = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, over);
    }
    flag
}

/// Ends the process: removes what is temporary, says so, and waits for neither threads nor readers.
fn end(json: bool) -> ! {
    output::abandon(PLACING);
    let failure =
        Failure { exit_code: INTERRUPTED, ..Failure::no("interrupted", "interrupted; nothing was written") };
    let (done, told) = mpsc::channel();
    // A pipe that nobody reads takes nothing, and another thread may hold the streams.
    let _ = thread::Builder::new().spawn(move || {
        let _ = writeln!(anstream::stderr(), "error: {}", failure.coded());
        if json {
            let _ = writeln!(anstream::stdout(), "{:#}", failure.json());
        }
        let _ = done.send(());
    });
    let _ = told.recv_timeout(LAST_WORDS);
    process::exit(i32::from(INTERRUPTED))
}
