//! The stages of long work as progress bars.

use std::sync::Mutex;

use clipway_model::export::{Progress, Stage};
use indicatif::ProgressBar;

use crate::ui::Ui;

/// The bar of the current stage.
pub struct StageBars<'a> {
    ui: &'a Ui,
    bar: Mutex<ProgressBar>,
}

impl<'a> StageBars<'a> {
    /// No bar yet.
    pub fn new(ui: &'a Ui) -> StageBars<'a> {
        StageBars { ui, bar: Mutex::new(ProgressBar::hidden()) }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar().finish_and_clear();
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for StageBars<'_> {
    fn begin(&self, stage: Stage, bytes: u64) {
        let what = match stage {
            Stage::Write => "writing",
            Stage::ReadBack => "reading back",
            Stage::Verify => "verifying",
            Stage::Sync => "waiting for the disk",
            Stage::Statistics => "reading weights",
        };
        let mut bar = self.bar();
        bar.finish_and_clear();
        *bar = match bytes {
            0 => self.ui.spinner(what),
            _ => self.ui.progress(bytes, what, true),
        };
    }

    fn advance(&self, bytes: u64) {
        self.bar().inc(bytes);
    }
}
