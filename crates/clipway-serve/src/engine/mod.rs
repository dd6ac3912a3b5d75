//! The engine behind a bounded queue, without HTTP.
//!
//! A free worker takes what waits: there is no timer. Texts and images wait in lanes of their own, which take turns, and
//! a batch of images is cut by time, so that a text never waits behind many images. What is accepted is counted in
//! inputs and bytes, not in requests. An input whose asker is gone is dropped before it costs anything.

mod model;
mod outcome;
mod self_test;
mod held;
mod state;
mod shared;
mod worker;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use clipway_run::clip::ClipError;
use tokio::sync::{Notify, oneshot};

pub use held::Held;
pub use model::{Kind, Model, Prepared};
pub use outcome::{Encoded, EngineError, Refused, Wanted};

use crate::limits::Limits;
use crate::metrics::Metrics;
use self_test::SelfTest;
use shared::{PANICS, Shared};
use state::{Item, State};

/// Time for which a panic counts.
const PANIC_TIME: Duration = Duration::from_secs(60);

/// Time without a sign of life after which the engine is not healthy, unless a batch is expected to take longer.
const SILENCE: Duration = Duration::from_secs(30);

/// The queue is nearly full when less than this part of it is free.
const NEARLY_FULL: usize = 8;

/// A model on a thread of its own, behind a queue.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts the engine: runs each kind of input once, and keeps the result for the self-test.
    ///
    /// # Errors
    /// A model that fails the first run, or a thread that cannot be started.
    pub fn start(model: Arc<dyn Model>, limits: Limits, metrics: Arc<Metrics>) -> Result<Engine, StartError> {
        let (self_test, times) = SelfTest::first(&*model)?;
        let mut state = State::new();
        times.into_iter().for_each(|(kind, time)| state.measured(kind, 1, time));
        let (work, room, end) = (Condvar::new(), Notify::new(), Notify::new());
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { state, work, room, end, limits, metrics, model, self_test });
        worker::start(Arc::clone(&shared)).map_err(StartError::Thread)?;
        Ok(Engine { shared })
    }

    /// Accepts inputs and bytes, unless they would wait too long or the queue is full.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, wanted: Wanted) -> Result<Held, Refused> {
        self.admit_within(wanted, self.shared.limits.max_wait)
    }

    /// Accepts inputs and bytes as soon as there is room, however long they wait then.
    ///
    /// # Errors
    /// [`Refused::Stopping`].
    pub async fn admit_patiently(&self, wanted: Wanted) -> Result<Held, Refused> {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            // Whatever is freed from here on is noticed.
            room.as_mut().enable();
            match self.admit_within(wanted, Duration::MAX) {
                Err(Refused::Full { .. }) => room.await,
                result => return result,
            }
        }
    }

    fn admit_within(&self, wanted: Wanted, max_wait: Duration) -> Result<Held, Refused> {
        let Wanted { images, texts, bytes } = wanted;
        let limits = &self.shared.limits;
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(Refused::Stopping);
        }
        for (kind, count) in [(Kind::Image, images), (Kind::Text, texts)] {
            let wait = state.wait(kind, limits.batch_time);
            if count > 0 && wait > max_wait {
                return Err(Refused::Wait { kind, wait, limit: max_wait });
            }
        }
        let items = state.items();
        // One request alone always fits: its own limits bound it.
        if items > 0 && images + texts > 0 && items + images + texts > limits.queue_items {
            let (found, limit) = (items as u64, limits.queue_items as u64);
            return Err(Refused::Full { unit: "inputs", found, limit });
        }
        state.hold_bytes(bytes, limits.queue_bytes)?;
        for (kind, count) in [(Kind::Image, images), (Kind::Text, texts)] {
            self.shared.metrics.accepted(kind, count);
        }
        state.images.admitted += images;
        state.texts.admitted += texts;
        drop(state);
        Ok(Held { shared: Arc::clone(&self.shared), images, texts, bytes })
    }

    /// Refuses a request whose inputs are not known yet, if the queue is nearly full: reading and parsing it would cost more
    /// than the little room that is left is worth.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn check_room(&self) -> Result<(), Refused> {
        let limit = self.shared.limits.queue_items;
        let items = self.shared.lock().items();
        match items > 0 && items >= limit - limit / NEARLY_FULL {
            true => Err(Refused::Full { unit: "inputs", found: items as u64, limit: limit as u64 }),
            false => Ok(()),
        }
    }

    /// Queues an accepted input. Dropping the answer cancels it.
    pub fn submit(&self, input: Prepared, held: Held) -> oneshot::Receiver<Result<Encoded, EngineError>> {
        let (reply, answer) = oneshot::channel();
        let kind = input.kind();
        let item = Item { input, reply, queued: Instant::now(), held };
        self.shared.lock().lane(kind).waiting.push_back(item);
        self.shared.work.notify_one();
        answer
    }

    /// How long an input would wait if it were accepted now.
    pub fn wait(&self, kind: Kind) -> Duration {
        self.shared.lock().wait(kind, self.shared.limits.batch_time)
    }

    /// Number of accepted inputs of a kind that are not done.
    pub fn admitted(&self, kind: Kind) -> usize {
        self.shared.lock().lane(kind).admitted
    }

    /// Why the engine should get no requests; `None` if it is healthy.
    pub fn trouble(&self) -> Option<String> {
        let mut state = self.shared.lock();
        let slowest = Kind::ALL.map(|kind| state.lane(kind).cost).into_iter().fold(0.0, f64::max);
        let silent = state.beat.elapsed();
        let allowed = SILENCE.max(Duration::from_secs_f64(10.0 * slowest));
        let panics = state.panics.iter().filter(|time| time.elapsed() < PANIC_TIME).count();
        let stopping = state.stopping;
        drop(state);
        if stopping {
            Some("the server is stopping".to_owned())
        } else if silent > allowed {
            Some(format!("the engine gave no sign of life for {:.0} s", silent.as_secs_f64()))
        } else if panics >= PANICS {
            Some(format!("the engine failed {panics} times within a minute"))
        } else {
            self.shared.self_test.failure().map(|failure| format!("self-test: {failure}"))
        }
    }

    /// Accepts nothing more, and finishes what was accepted.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until the last worker has ended, after [`Engine::stop`].
    pub async fn ended(&self) {
        self.shared.end.notified().await;
    }
}

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The first run of the model failed.
    #[error("self-test")]
    SelfTest(#[from] ClipError),
    /// A thread cannot be started.
    #[error("cannot start the engine's thread")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::SelfTest(error) => error.code(),
            StartError::Thread(_) => "threads",
        }
    }
}
