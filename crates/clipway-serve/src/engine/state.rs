//! What is admitted, queued and running, under one lock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::held::Held;
use super::model::{Kind, Prepared};
use super::outcome::{Encoded, EngineError, Refused};

/// Most texts of a batch.
const MOST_TEXTS: usize = 256;

/// Most images of a batch.
const MOST_IMAGES: usize = 32;

/// Share of a new measurement in the running mean of a kind's cost.
const WEIGHT: f64 = 0.2;

/// An input that waits for the model.
pub(super) struct Item {
    pub input: Prepared,
    pub reply: oneshot::Sender<Result<Encoded, EngineError>>,
    pub queued: Instant,
    /// The item's place in the queue, freed when the item is dropped.
    pub held: Held,
}

/// The inputs of one kind.
#[derive(Default)]
pub(super) struct Lane {
    pub waiting: VecDeque<Item>,
    /// Inputs that were accepted and are not done: to be prepared, waiting, or running.
    pub admitted: usize,
    /// Seconds that the model takes for one input, measured.
    pub cost: f64,
}

/// Everything that the engine's lock protects.
pub(super) struct State {
    pub images: Lane,
    pub texts: Lane,
    /// Bytes of bodies and of prepared inputs.
    pub bytes: u64,
    pub last: Kind,
    pub stopping: bool,
    /// When the worker last showed that it lives.
    pub beat: Instant,
    /// Times of panics, newest last.
    pub panics: VecDeque<Instant>,
}

impl State {
    pub fn new() -> State {
        State {
            images: Lane::default(),
            texts: Lane::default(),
            bytes: 0,
            last: Kind::Text,
            stopping: false,
            beat: Instant::now(),
            panics: VecDeque::new(),
        }
    }

    pub fn lane(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Image => &mut self.images,
            Kind::Text => &mut self.texts,
        }
    }

    /// Inputs of both kinds that were accepted and are not done.
    pub fn items(&self) -> usize {
        self.images.admitted + self.texts.admitted
    }

    /// Holds bytes, unless the queue is full of them. What is alone always fits: its own limits bound it.
    pub fn hold_bytes(&mut self, bytes: u64, limit: u64) -> Result<(), Refused> {
        if bytes > 0 && self.bytes > 0 && self.bytes + bytes > limit {
            return Err(Refused::Full { unit: "bytes", found: self.bytes, limit });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Adds a measurement of a batch.
    pub fn measured(&mut self, kind: Kind, items: usize, time: Duration) {
        let lane = self.lane(kind);
        let one = time.as_secs_f64() / items.max(1) as f64;
        lane.cost = if lane.cost == 0.0 { one } else { lane.cost + WEIGHT * (one - lane.cost) };
    }

    /// Most items of a batch of a kind: what fits into the time of a batch, by the measured cost.
    pub fn most(&self, kind: Kind, batch_time: Duration) -> usize {
        let (lane, most) = match kind {
            Kind::Image => (&self.images, MOST_IMAGES),
            Kind::Text => (&self.texts, MOST_TEXTS),
        };
        let fitting = batch_time.as_secs_f64() / lane.cost.max(1e-9);
        (fitting as usize).clamp(1, most)
    }

    /// How long an input of a kind would wait if it were accepted now.
    pub fn wait(&self, kind: Kind, batch_time: Duration) -> Duration {
        let images = self.images.admitted as f64 * self.images.cost;
        let texts = self.texts.admitted as f64 * self.texts.cost;
        let seconds = match kind {
            Kind::Image => images + texts,
            Kind::Text => {
                // A batch of images may run before each batch of texts.
                let batches = self.texts.admitted / self.most(Kind::Text, batch_time) + 1;
                texts + images.min(batches as f64 * batch_time.as_secs_f64().max(self.images.cost))
            }
        };
        Duration::from_secs_f64(seconds)
    }

    /// The kind of the next batch: the kinds take turns while both wait.
    pub fn next_kind(&self) -> Option<Kind> {
        match (self.images.waiting.is_empty(), self.texts.waiting.is_empty()) {
            (true, true) => None,
            (false, true) => Some(Kind::Image),
            (true, false) => Some(Kind::Text),
            (false, false) if self.last == Kind::Image => Some(Kind::Text),
            (false, false) => Some(Kind::Image),
        }
    }

    /// Takes the next batch, and besides it the items whose client is gone. An item frees its place when it is dropped,
    /// which takes the lock again.
    pub fn take(&mut self, kind: Kind, batch_time: Duration) -> (Vec<Item>, Vec<Item>) {
        let most = self.most(kind, batch_time);
        self.last = kind;
        let (mut batch, mut gone) = (Vec::new(), Vec::new());
        let waiting = &mut self.lane(kind).waiting;
        while batch.len() < most
            && let Some(item) = waiting.pop_front()
        {
            if item.reply.is_closed() { gone.push(item) } else { batch.push(item) }
        }
        (batch, gone)
    }
}
