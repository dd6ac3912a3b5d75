//! How long the steps of engines take.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Gathers the times of the steps of the engines that it is given to.
#[derive(Debug, Default)]
pub struct StepTimes {
    entries: Mutex<Vec<StepTime>>,
}

/// How long the steps of one kind in one module took together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Module, such as `visual.transformer.resblocks.0`.
    pub scope: String,
    /// What was computed, such as `Linear`.
    pub step: &'static str,
    /// How often.
    pub runs: usize,
    /// In all.
    pub time: Duration,
}

impl StepTimes {
    /// What was gathered, in the order of the first runs.
    pub fn entries(&self) -> Vec<StepTime> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one run.
    pub(super) fn add(&self, scope: &str, step: &'static str, time: Duration) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter_mut().find(|entry| entry.step == step && entry.scope == scope) {
            Some(entry) => {
                entry.runs += 1;
                entry.time += time;
            }
            None => entries.push(StepTime { scope: scope.to_owned(), step, runs: 1, time }),
        }
    }
}
