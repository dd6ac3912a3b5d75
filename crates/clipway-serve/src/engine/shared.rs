//! What workers and askers share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::model::Model;
use super::self_test::SelfTest;
use super::state::State;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Number of panics within [`PANIC_TIME`] from which on the engine is not healthy.
pub(super) const PANICS: usize = 3;

/// What workers and askers share.
pub(super) struct Shared {
    pub state: Mutex<State>,
    /// Something waits.
    pub work: Condvar,
    /// Something was freed.
    pub room: Notify,
    /// The last worker ended.
    pub end: Notify,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub model: Arc<dyn Model>,
    pub self_test: SelfTest,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn panicked(&self) {
        self.metrics.panicked();
        let mut state = self.lock();
        state.panics.push_back(Instant::now());
        while state.panics.len() > PANICS {
            state.panics.pop_front();
        }
    }

    pub fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
        self.room.notify_waiters();
    }

    pub fn ended(&self) {
        self.end.notify_one();
    }
}
