//! The only place that prints: data to stdout, everything else to stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use clipway_formats::is_invisible;
use clipway_run::budget::Budget;
use clipway_run::engine::{Processor, StepTime, StepTimes};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::options::{Debug, Global};

/// Lines of a message after which the hint would be overlooked.
const LONG: usize = 12;

/// Why a client of the Hub could not read a part of a file.
#[cfg(feature = "hub")]
pub type Trouble = Arc<Mutex<Option<Failure>>>;

/// What a command run for another program says.
#[derive(Debug, Default)]
pub struct Kept {
    /// Data, which a program would print to stdout.
    pub data: String,
    /// Notes that a user must see.
    pub notes: Vec<String>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// The output of a command.
pub struct Ui {
    /// Where output is kept instead of printed.
    kept: Option<Mutex<Kept>>,
    json: bool,
    quiet: bool,
    #[cfg(feature = "hub")]
    offline: bool,
    #[cfg(feature = "hub")]
    trouble: Trouble,
    threads: usize,
    budget: Budget,
    debug: Debug,
    step_times: Option<Arc<StepTimes>>,
    cancel: Arc<AtomicBool>,
    processor: OnceLock<Processor>,
}

impl Ui {
    /// Takes the global options and the flag that an interrupt sets.
    pub fn new(global: &Global, cancel: Arc<AtomicBool>) -> Ui {
        let threads = global
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ui {
            kept: None,
            json: global.json,
            quiet: global.quiet,
            #[cfg(feature = "hub")]
            offline: global.offline,
            #[cfg(feature = "hub")]
            trouble: Trouble::default(),
            threads,
            budget: global.budget(),
            debug: global.debug,
            step_times: global.debug.step_times.then(Arc::default),
            cancel,
            processor: OnceLock::new(),
        }
    }

    /// Keeps output instead of printing it, for a program that runs commands.
    pub fn keeping(global: &Global, cancel: Arc<AtomicBool>) -> Ui {
        Ui { kept: Some(Mutex::default()), ..Ui::new(global, cancel) }
    }

    /// Whether output is kept.
    pub fn is_keeping(&self) -> bool {
        self.kept.is_some()
    }

    /// What was kept.
    pub fn into_kept(self) -> Kept {
        self.kept.map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }

    /// Keeps output if that was asked for.
    fn keep(&self, keep: impl FnOnce(&mut Kept)) -> bool {
        let kept =
            self.kept.as_ref().map(|kept| keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner)));
        kept.is_some()
    }

    /// Whether to write JSON to stdout.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether the network is off.
    #[cfg(feature = "hub")]
    pub fn offline(&self) -> bool {
        self.offline
    }

    /// Where a client of the Hub puts why it could not read a part of a file, which whoever reads only sees as a failed
    /// read.
    #[cfg(feature = "hub")]
    pub fn trouble(&self) -> Trouble {
        Arc::clone(&self.trouble)
    }

    /// Number of threads to compute with.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The limits for one image or text.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The command's processor, once requested.
    pub fn processor(&self) -> &OnceLock<Processor> {
        &self.processor
    }

    /// Options for finding a mismatch.
    pub fn debug(&self) -> Debug {
        self.debug
    }

    /// Where the times of steps are gathered, if they were asked for.
    pub fn step_times(&self) -> Option<Arc<StepTimes>> {
        self.step_times.clone()
    }

    /// Says how long the steps of the models that were run took, if that was asked for.
    pub fn say_step_times(&self) {
        for StepTime { scope, step, runs, time } in self.step_times.iter().flat_map(|times| times.entries()) {
            let milliseconds = time.as_secs_f64() * 1e3;
            let _ = writeln!(anstream::stderr(), "{milliseconds:10.3} ms {runs:6} times {step} {scope}");
        }
    }

    /// A flag set by an interrupt: work that writes checks it and cleans up.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Writes data to stdout.
    ///
    /// # Errors
    /// A stdout that cannot be written to. If it was closed early, as by `head`, the process ends quietly.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        if self.keep(|kept| kept.data.push_str(text)) {
            return Ok(());
        }
        let mut out = anstream::stdout().lock();
        let written = out.write_all(printable(text).as_bytes()).and_then(|()| out.flush());
        self.ended(written)
    }

    /// Writes bytes to stdout as they are, for another program to read.
    ///
    /// # Errors
    /// As [`Ui::data`].
    #[cfg(feature = "search")]
    pub fn data_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        self.ended(written)
    }

    /// What it means that data was or was not written.
    fn ended(&self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::could_not_run("io", format!("stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Writes a value to stdout as indented JSON.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn data_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let mut text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::could_not_run("internal", error))?;
        text.push('\n');
        // Characters that control or hide text on a terminal are escaped as JSON, which changes no value.
        self.data(&escape_invisible(&text, |c, out| {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }))
    }

    /// Prints a message for people.
    pub fn say(&self, text: &str) {
        if !self.quiet && !self.is_keeping() {
            let _ = writeln!(anstream::stderr(), "{}", printable(text));
        }
    }

    /// Prints a warning, even when quiet.
    pub fn warn(&self, text: &str) {
        if self.keep(|kept| kept.warnings.push(text.to_owned())) {
            return;
        }
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        let _ = writeln!(anstream::stderr(), "{style}warning:{style:#} {}", printable(text));
    }

    /// Prints a note that the user must see; it is no failure.
    pub fn note(&self, text: &str) {
        if self.keep(|kept| kept.notes.push(text.to_owned())) {
            return;
        }
        let style = anstyle::AnsiColor::Cyan.on_default().bold();
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{style}note:{style:#} {}", printable(text));
        }
    }

    /// Says what a client of the Hub waits for, from any thread.
    #[cfg(feature = "hub")]
    pub fn speaker(&self) -> Box<dyn Fn(&str) + Send + Sync> {
        let quiet = self.quiet || self.is_keeping();
        Box::new(move |text| {
            if !quiet {
                let _ = writeln!(anstream::stderr(), "{}", printable(text));
            }
        })
    }

    /// Warns, once per run, about texts longer than the model's context.
    pub fn warn_truncated(&self, truncated: usize, texts: usize) {
        if truncated > 0 {
            self.warn(&format!(
                "{truncated} of {texts} texts are longer than the model's context and were truncated"
            ));
        }
    }

    /// The cause of a failure: what a client of the Hub met, if anything.
    pub fn cause(&self, failure: Failure) -> Failure {
        #[cfg(feature = "hub")]
        let failure = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(failure);
        failure
    }

    /// Reports why the command failed and what to do; with `--json`, also on stdout as `{"error": …}`.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            // If stdout cannot be written to, stderr still has the message.
            let _ = self.data_json(&failure.json());
        }
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let mut err = anstream::stderr();
        let message = failure.coded();
        let mut lines = message.splitn(2, '\n');
        let (first, rest) = (lines.next().unwrap_or_default(), lines.next());
        let _ = writeln!(err, "{red}error:{red:#} {}", printable(first));
        let is_long = rest.is_some_and(|rest| rest.lines().count() > LONG);
        if let (Some(rest), false) = (rest, is_long) {
            let _ = writeln!(err, "{}", printable(rest));
        }
        if let Some(hint) = &failure.hint {
            let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
            let _ = writeln!(err, "\n{cyan}hint:{cyan:#} {}", printable(hint));
        }
        // A long list comes last, so that it does not hide the hint.
        if let (Some(rest), true) = (rest, is_long) {
            let _ = writeln!(err, "\n{}", printable(rest));
        }
    }

    /// A progress bar on stderr; none when quiet or when stderr is not a terminal.
    pub fn progress(&self, length: u64, what: &str, bytes: bool) -> ProgressBar {
        if self.quiet || self.is_keeping() || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let count = if bytes { "{bytes}/{total_bytes} {bytes_per_sec}" } else { "{pos}/{len} {per_sec}" };
        let template = format!("{{prefix}} [{{bar:30}}] {count} {{eta}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style.progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        bar
    }

    /// Shows that work of unknown length goes on.
    pub fn spinner(&self, what: &str) -> ProgressBar {
        if self.quiet || self.is_keeping() || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.enable_steady_tick(std::time::Duration::from_millis(100));
        spinner
    }
}

/// Text for people, parts of which may come from strangers: line ends and tabs stay, and any other character that
/// controls or hides text on a terminal is escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape_invisible(text, |c, out| out.extend(c.escape_unicode()))
}

fn escape_invisible(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let is_obeyed = |c: char| is_invisible(c) && c != '\n' && c != '\t';
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(
            printable("a\tb\n`w\u{1b}]0;x\u{7}\u{202e}\u{9b}`"),
            "a\tb\n`w\\u{1b}]0;x\\u{7}\\u{202e}\\u{9b}`"
        );
        assert!(matches!(printable("plain: ä 日本 🦁"), Cow::Borrowed(_)));
    }
}
