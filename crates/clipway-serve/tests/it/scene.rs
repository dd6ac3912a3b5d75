//! A server with the demo model on a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clipway_model::source::{ModelChoice, SourceOptions};
use clipway_run::Clip;
use clipway_run::encoder::normalize;
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_serve::metrics::Metrics;
use clipway_serve::{Keys, Limits, ModelInfo, ServeOptions, Server, Stopper};
use serde_json::Value;

use crate::client::{Answer, Connection, request};

/// Name of the model in requests.
pub const NAME: &str = "emoji-clip";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/emoji-clip")
}

/// The demo model.
pub fn clip() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let load = || {
        let config = folder().join("emoji-clip.json").to_string_lossy().into_owned();
        let options = SourceOptions { model: Some(ModelChoice::of(&config)), ..SourceOptions::default() };
        let load = LoadOptions::new(Processor::detect().expect("a processor"));
        Arc::new(Clip::open_with(folder().join("emoji-clip.pt"), &options, &load).expect("the demo model"))
    };
    Arc::clone(CLIP.get_or_init(load))
}

/// The bytes of an image.
pub fn image(name: &str) -> Vec<u8> {
    std::fs::read(folder().join("pictures").join(format!("{name}.png"))).expect("an image of the demo")
}

/// A data URI.
pub fn data_uri(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// The vector of an image, of length 1, as the library gives it.
pub fn image_vector(name: &str) -> Vec<f32> {
    normalized(clip().embed_image(&image(name)).expect("a vector"))
}

/// The vector of a text, of length 1, as the library gives it.
pub fn text_vector(text: &str) -> Vec<f32> {
    normalized(clip().embed_text(text).expect("a vector"))
}

pub fn normalized(mut vector: Vec<f32>) -> Vec<f32> {
    let width = vector.len();
    normalize(&mut vector, width);
    vector
}

/// A vector of an answer.
pub fn vector(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_f64().expect("a number") as f32).collect(),
        Value::String(text) => {
            let bytes = STANDARD.decode(text).expect("base 64");
            bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
                .collect()
        }
        other => panic!("{other} is no vector"),
    }
}

/// A running server.
pub struct Scene {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    pub log: Arc<Mutex<Vec<String>>>,
    /// Ids of requests in the log.
    pub ids: Arc<Mutex<Vec<String>>>,
    stopper: Stopper,
    thread: Option<JoinHandle<bool>>,
}

impl Scene {
    pub fn new() -> Scene {
        Scene::with(Limits::default(), |_| {})
    }

    pub fn limited(change: impl FnOnce(&mut Limits)) -> Scene {
        let mut limits = Limits::default();
        change(&mut limits);
        Scene::with(limits, |_| {})
    }

    pub fn keyed(keys: &str) -> Scene {
        Scene::with(Limits::default(), |options| options.keys = Keys::read(keys).expect("keys"))
    }

    pub fn with(limits: Limits, change: impl FnOnce(&mut ServeOptions)) -> Scene {
        let log = Arc::new(Mutex::new(Vec::new()));
        let ids = Arc::new(Mutex::new(Vec::new()));
        let (lines, named) = (Arc::clone(&log), Arc::clone(&ids));
        let mut options = ServeOptions {
            address: "127.0.0.1:0".parse().expect("an address"),
            limits,
            keys: Keys::default(),
            without_keys: false,
            hosts: Vec::new(),
            fetcher: None,
            gallery: None,
            model: ModelInfo::new(vec![NAME.to_owned(), "Emoji__demo".to_owned()], None, None),
            log: Box::new(move |answered| {
                let line = format!("{} {} {}", answered.method, answered.route, answered.status);
                lines.lock().expect("the log").push(line);
                named.lock().expect("ids").push(answered.id.to_owned());
            }),
        };
        change(&mut options);
        let server = Server::start(clip(), options).expect("a server");
        let (address, metrics, stopper) = (server.address(), server.metrics(), server.stopper());
        let thread = Some(std::thread::spawn(move || server.run()));
        Scene { address, metrics, log, ids, stopper, thread }
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Sends bytes on a connection of their own, and reads the answer.
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect();
        connection.send(bytes);
        connection.read().expect("an answer")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.raw(request("GET", path, &[], b""))
    }

    /// Posts JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw(post(path, body))
    }

    /// The value of a line of the metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics").with_status(200);
        let line = answer.text().lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops the server; whether everything was answered in time.
    pub fn stop(mut self) -> bool {
        self.stopper.stop();
        self.thread.take().expect("a thread").join().expect("the server ends")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request that posts JSON.
pub fn post(path: &str, body: &Value) -> Vec<u8> {
    request("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

/// Waits until something happens.
#[track_caller]
pub fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
