//! Counters and histograms, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::engine::Kind;

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the buckets of batches.
const ITEMS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A histogram with fixed buckets.
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// The sum in millionths.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, name: &str, label: &str, out: &mut String) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut total = 0;
        for (count, bound) in
            self.counts.iter().zip(self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]))
        {
            total += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {total}");
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {sum}\n{name}_count{braces} {total}");
    }
}

/// What is counted for one kind of input.
struct Lane {
    accepted: AtomicU64,
    queue: Histogram,
    inference: Histogram,
    batch: Histogram,
}

impl Lane {
    fn new() -> Lane {
        let [queue, inference] = [(); 2].map(|()| Histogram::new(&SECONDS));
        Lane { accepted: AtomicU64::new(0), queue, inference, batch: Histogram::new(&ITEMS) }
    }
}

/// Everything that is counted.
pub struct Metrics {
    lanes: [Lane; 2],
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    request_seconds: Histogram,
    decode_seconds: Histogram,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    fetches: Mutex<BTreeMap<&'static str, u64>>,
    fetch_seconds: Histogram,
    connections: AtomicUsize,
    cancelled: AtomicU64,
    panics: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            lanes: [Lane::new(), Lane::new()],
            requests: Mutex::default(),
            request_seconds: Histogram::new(&SECONDS),
            decode_seconds: Histogram::new(&SECONDS),
            rejected: Mutex::default(),
            fetches: Mutex::default(),
            fetch_seconds: Histogram::new(&SECONDS),
            connections: AtomicUsize::new(0),
            cancelled: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }
}

/// What is known outside of the counters when they are written.
pub struct Gauges<'a> {
    /// Accepted inputs that are not done.
    pub queue: [(Kind, usize); 2],
    /// Name of the model.
    pub name: &'a str,
    /// Fingerprint of the model.
    pub fingerprint: &'a str,
    /// Values of a feature.
    pub width: usize,
}

impl Metrics {
    fn lane(&self, kind: Kind) -> &Lane {
        &self.lanes[usize::from(kind == Kind::Text)]
    }

    /// Counts an answered request.
    pub fn answered(&self, route: &'static str, status: u16, time: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
        self.request_seconds.add(time.as_secs_f64());
    }

    /// Counts a request or connection that was refused to protect the server.
    pub fn rejected(&self, reason: &'static str) {
        *self.rejected.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Counts a fetch of an image and its result: `fetched`, `cancelled`, or the code of an error.
    pub fn fetched(&self, result: &'static str, time: Duration) {
        *self.fetches.lock().unwrap_or_else(PoisonError::into_inner).entry(result).or_default() += 1;
        self.fetch_seconds.add(time.as_secs_f64());
    }

    /// Counts a decoded image.
    pub fn decoded(&self, time: Duration) {
        self.decode_seconds.add(time.as_secs_f64());
    }

    /// Counts inputs that were accepted.
    pub fn accepted(&self, kind: Kind, items: usize) {
        self.lane(kind).accepted.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Counts a batch.
    pub fn ran(&self, kind: Kind, items: usize, time: Duration) {
        self.lane(kind).inference.add(time.as_secs_f64());
        self.lane(kind).batch.add(items as f64);
    }

    /// Counts the wait of an input.
    pub fn queued(&self, kind: Kind, time: Duration) {
        self.lane(kind).queue.add(time.as_secs_f64());
    }

    /// Counts inputs that were dropped, since their client was gone.
    pub fn cancelled(&self, items: usize) {
        self.cancelled.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Counts a panic of the engine.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was opened, or closed.
    pub fn connection(&self, is_open: bool) {
        match is_open {
            true => self.connections.fetch_add(1, Ordering::Relaxed),
            false => self.connections.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Number of open connections.
    pub fn open_connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Number of inputs that were dropped before they cost anything.
    pub fn cancelled_items(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn text(&self, gauges: &Gauges<'_>) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(&mut out, "clipway_requests_total", "counter", "Answered requests.");
        for ((route, code), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "clipway_requests_total{{route=\"{route}\",code=\"{code}\"}} {count}");
        }
        head(&mut out, "clipway_request_seconds", "histogram", "Time of a request.");
        self.request_seconds.write("clipway_request_seconds", "", &mut out);
        head(&mut out, "clipway_decode_seconds", "histogram", "Time to decode an image.");
        self.decode_seconds.write("clipway_decode_seconds", "", &mut out);
        head(&mut out, "clipway_fetches_total", "counter", "Fetches of images by address.");
        for (result, count) in &*self.fetches.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "clipway_fetches_total{{result=\"{result}\"}} {count}");
        }
        head(&mut out, "clipway_fetch_seconds", "histogram", "Time to fetch an image.");
        self.fetch_seconds.write("clipway_fetch_seconds", "", &mut out);
        head(&mut out, "clipway_accepted_items_total", "counter", "Accepted inputs.");
        for kind in Kind::ALL {
            let count = self.lane(kind).accepted.load(Ordering::Relaxed);
            let _ = writeln!(out, "clipway_accepted_items_total{{kind=\"{}\"}} {count}", kind.name());
        }
        head(&mut out, "clipway_queue_items", "gauge", "Accepted inputs that are not done.");
        for (kind, count) in gauges.queue {
            let _ = writeln!(out, "clipway_queue_items{{kind=\"{}\"}} {count}", kind.name());
        }
        for (name, help, which) in [
            ("clipway_queue_seconds", "Time of an input in the queue.", 0),
            ("clipway_inference_seconds", "Time of a batch.", 1),
            ("clipway_batch_items", "Inputs of a batch.", 2),
        ] {
            head(&mut out, name, "histogram", help);
            for kind in Kind::ALL {
                let Lane { queue, inference, batch, .. } = self.lane(kind);
                let label = format!("kind=\"{}\"", kind.name());
                [queue, inference, batch][which].write(name, &label, &mut out);
            }
        }
        head(
            &mut out,
            "clipway_rejected_total",
            "counter",
            "Requests and connections refused for protection.",
        );
        for (reason, count) in &*self.rejected.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "clipway_rejected_total{{reason=\"{reason}\"}} {count}");
        }
        head(
            &mut out,
            "clipway_cancelled_items_total",
            "counter",
            "Inputs dropped because their client was gone.",
        );
        let _ = writeln!(out, "clipway_cancelled_items_total {}", self.cancelled_items());
        head(&mut out, "clipway_panics_total", "counter", "Panics of the engine.");
        let _ = writeln!(out, "clipway_panics_total {}", self.panics.load(Ordering::Relaxed));
        head(&mut out, "clipway_connections", "gauge", "Open connections.");
        let _ = writeln!(out, "clipway_connections {}", self.open_connections());
        head(&mut out, "clipway_model_info", "gauge", "The model.");
        let Gauges { name, fingerprint, width, .. } = gauges;
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let (name, fingerprint) = (quoted(name), quoted(fingerprint));
        let _ = writeln!(
            out,
            "clipway_model_info{{name=\"{name}\",fingerprint=\"{fingerprint}\",dims=\"{width}\"}} 1"
        );
        out
    }
}
