//! The engine without HTTP, with a model that does what a test says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use clipway_run::clip::ClipError;
use clipway_serve::Limits;
use clipway_serve::engine::{Engine, EngineError, Kind, Model, Prepared, Refused, Wanted};
use clipway_serve::metrics::Metrics;

/// A model of width 1: a feature is its input. Infinity is not finite, NaN is a panic.
#[derive(Default)]
struct Fake {
    batches: Mutex<Vec<(Kind, usize)>>,
    held: Mutex<bool>,
    changed: Condvar,
    running: AtomicBool,
}

impl Fake {
    /// Holds the next batches back, or lets them go.
    fn hold(&self, is_held: bool) {
        *self.held.lock().expect("the gate") = is_held;
        self.changed.notify_all();
    }

    fn run(&self, kind: Kind, values: Vec<f32>) -> Result<Vec<f32>, ClipError> {
        self.running.store(true, Ordering::SeqCst);
        let held = self.held.lock().expect("the gate");
        drop(self.changed.wait_while(held, |held| *held).expect("the gate"));
        self.running.store(false, Ordering::SeqCst);
        self.batches.lock().expect("batches").push((kind, values.len()));
        assert!(!values.iter().any(|value| value.is_nan()), "a panic, as asked for");
        match values.iter().position(|value| value.is_infinite()) {
            Some(at) => {
                Err(ClipError::NotFinite { input: format!("input {at}"), position: 0, value: values[at] })
            }
            None => Ok(values),
        }
    }
}

impl Model for Fake {
    fn width(&self) -> usize {
        1
    }

    fn images(&self, pixels: &[f32]) -> Result<Vec<f32>, ClipError> {
        self.run(Kind::Image, pixels.to_vec())
    }

    fn texts(&self, ids: &[i64]) -> Result<Vec<f32>, ClipError> {
        self.run(Kind::Text, ids.iter().map(|id| *id as f32).collect())
    }

    fn sample(&self, kind: Kind) -> Option<Prepared> {
        Some(match kind {
            Kind::Image => Prepared::Pixels(vec![1.0]),
            Kind::Text => Prepared::Tokens(vec![1]),
        })
    }
}

type Answer = tokio::sync::oneshot::Receiver<Result<clipway_serve::engine::Encoded, EngineError>>;

struct Stage {
    model: Arc<Fake>,
    engine: Engine,
    metrics: Arc<Metrics>,
}

impl Stage {
    fn new(change: impl FnOnce(&mut Limits)) -> Stage {
        let (model, metrics) = (Arc::new(Fake::default()), Arc::new(Metrics::default()));
        let mut limits = Limits::default();
        change(&mut limits);
        let engine = Engine::start(Arc::clone(&model) as _, limits, Arc::clone(&metrics)).expect("an engine");
        model.batches.lock().expect("batches").clear();
        Stage { model, engine, metrics }
    }

    fn image(&self, value: f32) -> Answer {
        let held = self.engine.admit(Wanted { images: 1, ..Wanted::default() }).expect("room");
        self.engine.submit(Prepared::Pixels(vec![value]), held)
    }

    fn text(&self, value: i64) -> Answer {
        let held = self.engine.admit(Wanted { texts: 1, ..Wanted::default() }).expect("room");
        self.engine.submit(Prepared::Tokens(vec![value]), held)
    }

    /// Keeps the worker busy with one image, and everything after it waiting.
    fn busy(&self) -> Answer {
        self.model.hold(true);
        let answer = self.image(0.5);
        while !self.model.running.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        answer
    }

    fn batches(&self) -> Vec<(Kind, usize)> {
        self.model.batches.lock().expect("batches").clone()
    }
}

#[track_caller]
fn feature(answer: Answer) -> f32 {
    answer.blocking_recv().expect("an answer").expect("a feature").features[0]
}

#[track_caller]
fn failure(answer: Answer) -> EngineError {
    answer.blocking_recv().expect("an answer").expect_err("a failure")
}

#[test]
fn what_waits_is_taken_together_and_the_kinds_take_turns() {
    let stage = Stage::new(|_| {});
    let first = stage.busy();
    let images: Vec<Answer> = (0..40).map(|value| stage.image(value as f32)).collect();
    let texts: Vec<Answer> = (0..3).map(|value| stage.text(value)).collect();
    stage.model.hold(false);
    assert_eq!(feature(first), 0.5);
    for (value, answer) in texts.into_iter().enumerate() {
        assert_eq!(feature(answer), value as f32);
    }
    for (value, answer) in images.into_iter().enumerate() {
        assert_eq!(feature(answer), value as f32);
    }
    let expected = [(Kind::Image, 1), (Kind::Text, 3), (Kind::Image, 32), (Kind::Image, 8)];
    // The time that the first image was held counts as its cost, which may cut the next batches.
    let batches = stage.batches();
    assert_eq!(batches[..2], expected[..2]);
    assert_eq!(batches[2..].iter().map(|(_, items)| items).sum::<usize>(), 40);
    assert_eq!(stage.engine.admitted(Kind::Image), 0);
}

#[test]
fn a_batch_of_images_is_cut_by_time() {
    let stage = Stage::new(|limits| limits.batch_time = Duration::from_micros(1));
    let first = stage.busy();
    std::thread::sleep(Duration::from_millis(5));
    let images: Vec<Answer> = (0..3).map(|value| stage.image(value as f32)).collect();
    stage.model.hold(false);
    feature(first);
    images.into_iter().enumerate().for_each(|(value, answer)| assert_eq!(feature(answer), value as f32));
    assert_eq!(stage.batches(), [(Kind::Image, 1); 4]);
}

#[test]
fn one_bad_input_fails_alone() {
    let stage = Stage::new(|_| {});
    let first = stage.busy();
    let good = stage.text(7);
    let bad = stage.image(f32::INFINITY);
    let fine = stage.image(3.0);
    stage.model.hold(false);
    assert_eq!((feature(first), feature(good), feature(fine)), (0.5, 7.0, 3.0));
    assert_eq!(failure(bad).code(), "not-finite");
    assert_eq!(stage.engine.trouble(), None);
}

#[test]
fn a_panic_costs_one_batch_and_the_worker_is_replaced() {
    let stage = Stage::new(|_| {});
    for count in 1..=3 {
        let error = failure(stage.image(f32::NAN));
        assert!(matches!(error, EngineError::Panicked) && error.code() == "internal", "{error}");
        assert_eq!(feature(stage.text(5)), 5.0);
        assert_eq!(stage.engine.trouble().is_some(), count == 3, "{count}");
    }
}

#[test]
fn what_is_cancelled_is_never_run() {
    let stage = Stage::new(|_| {});
    let first = stage.busy();
    let gone: Vec<Answer> = (0..5).map(|value| stage.image(value as f32)).collect();
    let kept = stage.image(9.0);
    drop(gone);
    stage.model.hold(false);
    assert_eq!((feature(first), feature(kept)), (0.5, 9.0));
    assert_eq!(stage.batches(), [(Kind::Image, 1); 2]);
    assert_eq!(stage.metrics.cancelled_items(), 5);
    assert_eq!(stage.engine.admitted(Kind::Image), 0);
}

#[test]
fn inputs_and_bytes_are_counted_not_requests() {
    let stage = Stage::new(|limits| {
        limits.queue_items = 4;
        limits.queue_bytes = 100;
    });
    let admit = |images, texts, bytes| stage.engine.admit(Wanted { images, texts, bytes });
    let held = admit(2, 1, 60).expect("room");
    let full = |result: Result<clipway_serve::engine::Held, Refused>, expected: &str| {
        let error = result.map(|_| ()).expect_err("no room");
        assert!(matches!(&error, Refused::Full { unit, .. } if *unit == expected), "{error}");
        assert_eq!(error.code(), "serve-full");
    };
    full(admit(2, 0, 0), "inputs");
    full(admit(0, 0, 41), "bytes");
    let more = admit(0, 1, 40).expect("room");
    full(admit(1, 0, 0), "inputs");
    drop((held, more));
    // A body takes its room as it arrives.
    let mut body = admit(0, 0, 0).expect("room");
    body.grow(60).expect("room");
    full(admit(0, 0, 41), "bytes");
    full(body.grow(41).map(|()| body), "bytes");
    // One request alone always fits.
    drop(admit(5, 0, 1000).expect("room"));
    assert_eq!(stage.engine.admitted(Kind::Image) + stage.engine.admitted(Kind::Text), 0);
}

#[test]
fn a_queue_that_is_nearly_full_takes_no_request_of_unknown_size() {
    for (limit, least) in [(1, 1), (2, 2), (8, 7), (100, 88)] {
        let stage = Stage::new(|limits| limits.queue_items = limit);
        let held = |images: usize| {
            (images > 0).then(|| stage.engine.admit(Wanted { images, ..Wanted::default() }).expect("room"))
        };
        let before = held(least - 1);
        stage.engine.check_room().expect("room");
        drop(before);
        let full = held(least);
        let error = stage.engine.check_room().expect_err("nearly full");
        let (found, limit) = (least as u64, limit as u64);
        assert_eq!(error, Refused::Full { unit: "inputs", found, limit });
        drop(full);
        stage.engine.check_room().expect("room");
    }
}

#[test]
fn a_long_wait_is_refused_and_the_patient_wait() {
    let stage = Stage::new(|limits| {
        limits.max_wait = Duration::from_nanos(1);
        limits.queue_items = 2;
    });
    // Nothing waits yet, so nothing would wait.
    let first = stage.busy();
    let error =
        stage.engine.admit(Wanted { images: 1, ..Wanted::default() }).map(|_| ()).expect_err("a wait");
    assert!(
        matches!(error, Refused::Wait { kind: Kind::Image, .. }) && error.code() == "serve-overloaded",
        "{error}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let patient = || stage.engine.admit_patiently(Wanted { images: 2, ..Wanted::default() });
    let in_vain =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(50), patient()).await });
    assert!(in_vain.is_err(), "there is no room for two");
    stage.model.hold(false);
    feature(first);
    let held = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), patient()).await });
    assert!(held.is_ok_and(|held| held.is_ok()));
}

#[test]
fn an_engine_that_stops_finishes_first() {
    let stage = Stage::new(|_| {});
    let first = stage.busy();
    let waiting = stage.image(4.0);
    stage.engine.stop();
    assert_eq!(stage.engine.admit(Wanted::default()).map(|_| ()).expect_err("it stops"), Refused::Stopping);
    assert!(stage.engine.trouble().is_some());
    stage.model.hold(false);
    assert_eq!((feature(first), feature(waiting)), (0.5, 4.0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let started = Instant::now();
    runtime.block_on(stage.engine.ended());
    assert!(started.elapsed() < Duration::from_secs(5));
}
