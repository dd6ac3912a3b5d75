//! `clipway index`: fills an index of image features from folders and archives, and keeps it up to date.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use clipway_formats::shown_path;
use clipway_index::{FillError, FillOptions, Progress, Summary, WalkOptions, Walked, fill, walk};
use clipway_model::output::InPlace;
use clipway_model::plan::Towers;
use clipway_run::clip::Clip;
use clipway_run::load::LoadOptions;
use clipway_run::space::Space;
use clipway_search::{Index as Opened, NewIndex, Writer};
use glob::Pattern;
use indicatif::ProgressBar;
use serde::Serialize;

use super::index_actions::IndexAction;
use crate::failure::{Failure, INTERRUPTED, chain};
use crate::images::ImageOptions;
use crate::options::RunArguments;
use crate::searching::{BackendOption, IndexModel, index_failure, load_model, same_space};
use crate::signals;
use crate::source::{clip_failure, load_options};
use crate::source_name::SourceName;
use crate::text::counted;
use crate::ui::Ui;

/// Embed the images of folders and archives into an index, and keep it up to date; or work on indices
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Index {
    #[command(subcommand)]
    action: Option<IndexAction>,

    /// Folders, tar archives and images; the images below folders and in archives are taken
    #[arg(required = true, value_name = "DIR")]
    roots: Vec<PathBuf>,

    /// The index: a folder, which is made if it is missing
    #[arg(long, required = true, value_name = "DIR")]
    index: Option<PathBuf>,

    /// The model: an exported folder or another source [default: the one that the index names]
    #[arg(long, value_name = "SOURCE", default_value = "", hide_default_value = true)]
    model: SourceName,

    /// What to leave out: a pattern of names, such as '*.gif', or of paths below the folders, such as 'a/cache/**'; can be
    /// repeated
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    exclude: Vec<Pattern>,

    /// Take files and folders whose names begin with a dot
    #[arg(long)]
    hidden: bool,

    /// Follow links to folders
    #[arg(long)]
    follow: bool,

    /// Keep running and look for changes every SECONDS [default: 2], or less often if a look takes long; Ctrl-C stops it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = seconds)]
    watch: Option<f64>,

    /// Seconds between commits
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, hide = true, value_parser = seconds)]
    commit_every: f64,

    #[command(flatten)]
    images: ImageOptions,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    backend: BackendOption,
}

/// How many times as long as a look the time between two is, at least.
const LOOK_SHARE: u32 = 10;

/// Parses a number of seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected a number from 0 to 3600".to_owned())
}

/// Parses a pattern.
fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.to_string())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    index: &'a Path,
    fingerprint: &'a str,
    #[serde(flatten)]
    summary: &'a Summary,
    seconds: f64,
}

impl Index {
    /// The model, which may be on the Hub: the one that is given, or the one that the index names.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        if self.action.is_some() {
            return self.action.as_mut().map_or(Ok(Vec::new()), IndexAction::sources);
        }
        if self.model.is_empty() {
            let named = match self.is_new() {
                true => None,
                false => self.opened()?.model().map(Path::to_owned),
            };
            let Some(named) = named else {
                let message = "no model was given, and the index names none";
                let failure = Failure::could_not_run("bad-option", message);
                return Err(failure.hint("pass `--model` with a folder that `clipway export` wrote"));
            };
            self.model = SourceName::from(named.into_os_string());
        }
        Ok(vec![&mut self.model])
    }

    /// Fills the index; false if an image or a folder could not be read.
    pub fn run(mut self, ui: &Ui) -> Result<bool, Failure> {
        if let Some(action) = self.action.take() {
            return action.run(ui);
        }
        if self.watch.is_some() && ui.is_keeping() {
            let message = "`watch`: only the command line goes on until it is interrupted";
            return Err(Failure::could_not_run("bad-option", message));
        }
        let clock = Instant::now();
        let spinner = ui.spinner("looking for images");
        let walked = walk(&self.roots, &self.walk_options());
        spinner.finish_and_clear();
        warnings(&walked).for_each(|text| ui.warn(&text));
        if walked.roots.is_empty() {
            let message = "none of the folders can be read";
            return Err(Failure::could_not_run("io", message).hint("nothing was changed in the index"));
        }
        let model = load_images(&self.model, &self.images, &self.run, &self.backend, ui)?;
        let space = self.space(&model)?;
        let clip = model.clip;
        let summary = self.brought_up(&walked, &clip, ui)?;
        for empty in summary.empty.iter().filter(|_| summary.kept > 0) {
            ui.warn(&format!(
                "`{}` is empty, so what the index knows of it was kept, as if its disk were not mounted",
                shown_path(empty)
            ));
        }
        self.report(&space, &summary, clock.elapsed(), ui)?;
        if self.watch.is_some() {
            self.watch(&clip, &space, (&walked, clock.elapsed()), ui)?;
            return Ok(true);
        }
        Ok(summary.is_whole())
    }

    /// Brings the index up to date with what was walked.
    fn brought_up(&self, walked: &Walked, clip: &Clip, ui: &Ui) -> Result<Summary, Failure> {
        let mut writer = Writer::open(self.path()).map_err(|error| index_failure(&error))?;
        let options = FillOptions {
            limits: self.images.limits(),
            commit_every: Duration::from_secs_f64(self.commit_every),
        };
        let bar = Bar { ui, bar: std::sync::OnceLock::new() };
        let in_place = InPlace::new();
        let filled = fill(&mut writer, clip, walked, &options, &bar, &ui.cancel_flag());
        drop(in_place);
        bar.finish();
        let summary = filled.map_err(|error| fill_failure(&error))?;
        if summary.interrupted {
            let message = format!(
                "interrupted; {} were embedded and stay",
                counted(summary.embedded as usize, "image")
            );
            return Err(Failure { exit_code: INTERRUPTED, ..Failure::no("interrupted", message) });
        }
        Ok(summary)
    }

    /// Prints what was done.
    fn report(&self, space: &Space, summary: &Summary, took: Duration, ui: &Ui) -> Result<(), Failure> {
        let seconds = took.as_secs_f64();
        if ui.json() {
            let report = Report { index: self.path(), fingerprint: &space.fingerprint, summary, seconds };
            ui.data_json(&report)
        } else {
            ui.data(&told(summary, seconds))
        }
    }

    /// Looks for changes until it is interrupted, which is its end and no failure. Between two looks the index is free for
    /// others; while another program writes to it, a look is left out.
    fn watch(&self, clip: &Clip, space: &Space, first: (&Walked, Duration), ui: &Ui) -> Result<(), Failure> {
        let every = Duration::from_secs_f64(self.watch.unwrap_or_default());
        let (walked, mut took) = first;
        let mut told: HashSet<String> = warnings(walked).collect();
        ui.note("looking for changes until it is interrupted");
        // The first interrupt sets the flag, and nothing else.
        signals::stop_with(|| ());
        while waited(every.max(took * LOOK_SHARE), ui) {
            let clock = Instant::now();
            let walked = walk(&self.roots, &self.walk_options());
            warnings(&walked).filter(|text| told.insert(text.clone())).for_each(|text| ui.warn(&text));
            let summary = match walked.roots.is_empty() {
                // They may come back, as a disk that is mounted again.
                true => Ok(Summary::default()),
                false => self.brought_up(&walked, clip, ui),
            };
            took = clock.elapsed();
            match summary {
                Ok(summary) if summary.has_changes() => self.report(space, &summary, took, ui)?,
                Ok(_) => {}
                Err(failure) if failure.code == "locked" => {}
                Err(failure) if failure.exit_code == INTERRUPTED => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn walk_options(&self) -> WalkOptions {
        WalkOptions { exclude: self.exclude.clone(), hidden: self.hidden, follow: self.follow }
    }

    /// The path of the index, which the options require.
    fn path(&self) -> &Path {
        self.index.as_deref().unwrap_or(Path::new(""))
    }

    /// Whether nothing is at the path of the index.
    fn is_new(&self) -> bool {
        self.path().symlink_metadata().is_err()
    }

    fn opened(&self) -> Result<Opened, Failure> {
        Opened::open(self.path()).map_err(|error| index_failure(&error))
    }

    /// The space of the index, which the model's must be; a new index takes the model's.
    fn space(&self, loaded: &IndexModel) -> Result<Space, Failure> {
        if self.is_new() {
            let space = loaded.new_space()?;
            let model = std::path::absolute(&*self.model).unwrap_or_else(|_| self.model.to_path_buf());
            let new = NewIndex { space: space.clone(), model: Some(model) };
            Opened::create(self.path(), new).map_err(|error| index_failure(&error))?;
            return Ok(space);
        }
        same_space(self.path(), loaded)
    }
}

/// Waits; false if it was interrupted.
fn waited(time: Duration, ui: &Ui) -> bool {
    let (cancel, start) = (ui.cancel_flag(), Instant::now());
    while !cancel.load(Ordering::Relaxed) {
        let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
            return true;
        };
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    false
}

/// Loads the image tower of a model, for features of an index.
pub(super) fn load_images(
    model: &SourceName,
    images: &ImageOptions,
    run: &RunArguments,
    backend: &BackendOption,
    ui: &Ui,
) -> Result<IndexModel, Failure> {
    let load = LoadOptions {
        towers: Some(Towers::Image),
        apply_orientation: images.apply_orientation,
        compute: run.compute(),
        ..load_options(ui)?
    };
    load_model(model, load, backend, ui)
}

/// The bar of the images that are read.
struct Bar<'a> {
    ui: &'a Ui,
    bar: std::sync::OnceLock<ProgressBar>,
}

impl Bar<'_> {
    fn finish(&self) {
        self.bar.get().into_iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Progress for Bar<'_> {
    fn begin(&self, images: u64) {
        let _ = self.bar.set(self.ui.progress(images, "images", false));
    }

    fn advance(&self, images: u64) {
        self.bar.get().into_iter().for_each(|bar| bar.inc(images));
    }

    fn unreadable(&self, path: &Path, reason: &str) {
        let warn = || self.ui.warn(&format!("`{}`: {reason}", shown_path(path)));
        match self.bar.get() {
            Some(bar) => bar.suspend(warn),
            None => warn(),
        }
    }
}

/// What could not be walked, for people.
fn warnings(walked: &Walked) -> impl Iterator<Item = String> {
    walked.troubles.iter().map(|trouble| {
        format!("`{}`: {}; what the index knows of it is kept", shown_path(&trouble.path), trouble.reason)
    })
}

/// A summary for people.
fn told(summary: &Summary, seconds: f64) -> String {
    let mut text = format!("{} in {seconds:.1} s\n", counted(summary.images as usize, "image"));
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("{count:>9} {what}\n"));
        }
    };
    line(summary.embedded, "embedded");
    line(summary.reused, "with known bytes: their vectors were reused");
    line(summary.unchanged, "unchanged");
    line(summary.unreadable + summary.still_unreadable, "unreadable; they are tried again when they change");
    line(summary.not_read, "not read this time");
    line(summary.removed, "gone, and removed from the index");
    line(summary.kept, "kept, though their folder or archive could not be read or is empty");
    for (end, count) in &summary.unsupported {
        line(*count, &format!("skipped: {end} cannot be read"));
    }
    text
}

/// Failure, with its exit status, for an index that cannot be filled.
fn fill_failure(error: &FillError) -> Failure {
    match error {
        FillError::Index(error) => index_failure(error),
        FillError::Model(error) => clip_failure(error),
        _ => Failure::could_not_run(error.code(), chain(error)),
    }
}
