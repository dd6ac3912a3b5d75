//! The thread that runs batches. One that panics is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::model::{Kind, Model, Prepared, together};
use super::outcome::{Encoded, EngineError};
use super::shared::Shared;
use super::state::Item;

/// Time after which an idle worker shows that it lives.
const BEAT: Duration = Duration::from_millis(500);

/// Starts a worker.
///
/// # Errors
/// A thread that cannot be started.
pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<()> {
    let name = "clipway-engine".to_owned();
    let work = move || {
        while let Some(next) = next(&shared) {
            let is_sound = match next {
                Next::Batch(kind, batch) => run(&shared, kind, batch),
                Next::SelfTest => {
                    let test = AssertUnwindSafe(|| shared.self_test.run(&*shared.model));
                    catch_unwind(test).is_ok()
                }
            };
            if !is_sound {
                shared.panicked();
                if start(Arc::clone(&shared)).is_err() {
                    shared.stop();
                }
                return;
            }
        }
        shared.ended();
    };
    thread::Builder::new().name(name).spawn(work).map(|_| ())
}

/// What a worker does next.
enum Next {
    Batch(Kind, Vec<Item>),
    SelfTest,
}

/// Waits for work; `None` means that the engine stops.
fn next(shared: &Shared) -> Option<Next> {
    let mut state = shared.lock();
    loop {
        state.beat = Instant::now();
        if let Some(kind) = state.next_kind() {
            let (batch, gone) = state.take(kind, shared.limits.batch_time);
            drop(state);
            shared.metrics.cancelled(gone.len());
            drop(gone);
            if !batch.is_empty() {
                return Some(Next::Batch(kind, batch));
            }
            state = shared.lock();
            continue;
        }
        if state.stopping {
            return None;
        }
        let waited = shared.work.wait_timeout(state, BEAT);
        let result;
        (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        if result.timed_out() && state.next_kind().is_none() && shared.self_test.is_due() {
            return Some(Next::SelfTest);
        }
    }
}

/// Runs a batch and answers its items; `false` after a panic.
fn run(shared: &Shared, kind: Kind, batch: Vec<Item>) -> bool {
    let started = Instant::now();
    let inputs: Vec<&Prepared> = batch.iter().map(|item| &item.input).collect();
    let results = catch_unwind(AssertUnwindSafe(|| encode(&*shared.model, &inputs)));
    let time = started.elapsed();
    let is_sound = results.is_ok();
    if is_sound {
        shared.lock().measured(kind, batch.len(), time);
    }
    let results = results.unwrap_or_else(|_| batch.iter().map(|_| Err(EngineError::Panicked)).collect());
    let mut answers = Vec::with_capacity(batch.len());
    for (Item { reply, queued, held, .. }, result) in batch.into_iter().zip(results) {
        let queued = started.duration_since(queued);
        shared.metrics.queued(kind, queued);
        // The place is free before the client can ask again.
        drop(held);
        answers.push((reply, result.map(|features| Encoded { features, queued, inference: time })));
    }
    // No input counts as waiting and as done, and all count as done before their answers are there.
    shared.metrics.ran(kind, answers.len(), time);
    for (reply, answer) in answers {
        let _ = reply.send(answer);
    }
    is_sound
}

/// Features of inputs of one kind, each with its own failure. Where the batch fails, each input is tried alone.
fn encode(model: &dyn Model, inputs: &[&Prepared]) -> Vec<Result<Vec<f32>, EngineError>> {
    match together(model, inputs) {
        Ok(features) => features.chunks_exact(model.width()).map(|row| Ok(row.to_vec())).collect(),
        Err(error) if inputs.len() == 1 => vec![Err(EngineError::Input(Arc::new(error)))],
        Err(_) => {
            let alone =
                |input| together(model, &[input]).map_err(|error| EngineError::Input(Arc::new(error)));
            inputs.iter().map(|input| alone(*input)).collect()
        }
    }
}
