//! `clipway serve`: a model over HTTP.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use clap::{Args, ValueEnum};
use clipway_fetch::{FetchLimits, Fetcher, Hosts};
use clipway_formats::shown_path;
use clipway_model::input;
use clipway_model::plan::Towers;
use clipway_run::clip::Clip;
use clipway_run::space::Identity;
use clipway_serve::gallery::Gallery;
use clipway_serve::{Answered, Keys, Limits, Log, ModelInfo, ServeError, ServeOptions, Server};
use serde_json::json;

use crate::failure::{self, Failure, chain};
use crate::hub::{self, Reads};
use crate::running::ModelArguments;
#[cfg(feature = "search")]
use crate::searching::Served;
use crate::signals;
use crate::source::MainSource;
use crate::ui::{Ui, printable};
use crate::{pool, serve_limits::LimitOptions};

/// Serve embeddings, zero-shot classification and the images of an index over HTTP, with a page for browsers
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    source: MainSource,

    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Name of the model in requests, such as `ViT-B-32__openai` for immich; may be repeated [default: its registered name
    /// and the name of its folder]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,

    /// A file with API keys, one per line; every request needs one, but those for health and the page
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    api_key_file: Option<PathBuf>,

    /// Serve an address that others can reach without keys
    #[arg(long)]
    no_auth: bool,

    /// A name besides the address by which browsers reach the server, such as that of a proxy; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// A host from which images are fetched by their address: `NAME` by HTTPS on port 443, `*.NAME` for the names below it,
    /// `NAME:PORT` for another port, `http://NAME` for plain HTTP; may be repeated [default: none, so that addresses are refused]
    #[arg(long, value_name = "HOST")]
    allow_image_host: Vec<String>,

    /// An index whose images `/v1/search` and the page find
    #[cfg(feature = "search")]
    #[arg(long, value_name = "DIR")]
    index: Option<PathBuf>,

    /// How requests are logged to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,

    #[command(flatten)]
    limits: LimitOptions,

    #[command(flatten)]
    model: ModelArguments,
}

/// How requests are logged.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
    /// Not at all
    Off,
}

/// What is served.
struct Loaded {
    clip: Clip,
    /// The fingerprint of the space of its features.
    fingerprint: String,
    gallery: Option<Arc<dyn Gallery>>,
}

impl Serve {
    /// Loads the model, and serves it until an interrupt.
    pub fn run(mut self, ui: &Ui) -> Result<bool, Failure> {
        pool::start_global(ui)?;
        for source in self.model.source.sources(&mut self.source.name)? {
            hub::bring(source, Reads::Weights, ui)?;
        }
        let keys = self.keys()?;
        let fetcher = self.fetcher()?;
        let Loaded { clip, fingerprint, gallery } = pool::processor(ui)?.install(|| self.load(ui))?;
        let model = self.model(fingerprint);
        let (said, logger) = (model.clone(), Logger::start());
        let options = ServeOptions {
            address: self.listen,
            limits: self.limits(),
            keys,
            without_keys: self.no_auth,
            hosts: self.allow_host,
            model,
            fetcher,
            gallery,
            log: logger.log(self.log),
        };
        let drain = options.limits.drain;
        let server = Server::start(Arc::new(clip), options).map_err(|error| serve_failure(&error))?;
        let stopper = server.stopper();
        signals::stop_with(move || stopper.stop());
        announce(&server, &said, ui)?;
        if !server.run() {
            ui.warn(&format!("requests were left unanswered after {} s", drain.as_secs()));
        }
        match logger.end() {
            0 => {}
            dropped => ui.warn(&format!("{dropped} lines of the log were dropped: nobody read them in time")),
        }
        Ok(true)
    }

    /// The model, and the index if there is one.
    fn load(&self, ui: &Ui) -> Result<Loaded, Failure> {
        let (clip, origin) = self.model.load(&self.source.name, Towers::Both, ui)?;
        let identity = origin.identity(&clip)?;
        let fingerprint = identity.fingerprint().to_owned();
        let gallery = self.gallery(identity, &clip, ui)?;
        Ok(Loaded { clip, fingerprint, gallery })
    }

    /// The index, whose features must be comparable with the model's.
    #[cfg(feature = "search")]
    fn gallery(&self, identity: Identity, clip: &Clip, ui: &Ui) -> Result<Option<Arc<dyn Gallery>>, Failure> {
        let open = |path: &PathBuf| Served::open(path, identity, clip, ui.threads());
        let served = self.index.as_ref().map(open).transpose()?;
        Ok(served.map(|served| Arc::new(served) as Arc<dyn Gallery>))
    }

    /// No index: this build has none.
    #[cfg(not(feature = "search"))]
    fn gallery(&self, _: Identity, _: &Clip, _: &Ui) -> Result<Option<Arc<dyn Gallery>>, Failure> {
        Ok(None)
    }

    /// Names of the model, and what its artifact says.
    fn model(&self, fingerprint: String) -> ModelInfo {
        let path = &*self.source.name;
        // A folder of ONNX files alone is no checkpoint, and says nothing.
        let checkpoint = self.model.source.open(&self.source.name).ok();
        let artifact = checkpoint.as_ref().and_then(|checkpoint| checkpoint.artifact());
        let mut names = self.name.clone();
        if names.is_empty() {
            names.extend(artifact.and_then(|artifact| artifact.model.name.clone()));
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            names.dedup();
        }
        ModelInfo::new(names, Some(fingerprint), artifact)
    }

    fn keys(&self) -> Result<Keys, Failure> {
        let Some(path) = &self.api_key_file else { return Ok(Keys::default()) };
        let bytes = input::read(path, input::Kind::Texts).map_err(|error| failure::input(&error))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::no("malformed", format!("`{}`: the keys are not valid UTF-8", shown_path(path)))
        })?;
        Keys::read(&text)
            .map_err(|error| Failure::no(error.code(), format!("`{}`: {error}", shown_path(path))))
    }

    /// What fetches images by address, if a host is allowed.
    fn fetcher(&self) -> Result<Option<Fetcher>, Failure> {
        if self.allow_image_host.is_empty() {
            return Ok(None);
        }
        let hosts = Hosts::parse(&self.allow_image_host);
        let hosts = hosts.map_err(|error| Failure::no(error.code(), error.to_string()))?;
        let FetchLimits { time, at_once, .. } = FetchLimits::default();
        let limits = FetchLimits {
            bytes: self.limits().image_bytes as u64,
            time: self.limits.fetch_timeout.unwrap_or(time),
            at_once: self.limits.max_fetches.map_or(at_once, |count| count as usize),
            ..FetchLimits::default()
        };
        let fetcher = Fetcher::system(hosts, limits).map_err(|error| {
            Failure::could_not_run(error.code(), error.to_string())
                .hint("install the system's root certificates, such as the package `ca-certificates`")
        })?;
        Ok(Some(fetcher))
    }

    fn limits(&self) -> Limits {
        Limits { max_pixels: self.model.images.max_pixels, ..self.limits.limits() }
    }
}

/// Says where the server is: to people on stderr, and with `--json` to programs on stdout.
fn announce(server: &Server, model: &ModelInfo, ui: &Ui) -> Result<(), Failure> {
    let address = format!("http://{}", server.address());
    if ui.json() {
        ui.data_json(&json!({ "address": address, "model": model }))?;
    }
    ui.say(&format!("serving `{}` at {address}", model.name()));
    let none = "no stored verification; the self-test compares with this run's first result";
    ui.say(model.verification.as_deref().unwrap_or(none));
    Ok(())
}

/// Lines that wait for stderr; further ones are dropped, since whoever reads the log must not hold up requests.
const WAITING: usize = 4096;

/// Time for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes lines to stderr on a thread of its own.
struct Logger {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    ended: Receiver<()>,
}

impl Logger {
    /// Starts the thread. Without one, nothing is logged.
    fn start() -> Logger {
        let (lines, taken) = mpsc::sync_channel::<String>(WAITING);
        let (end, ended) = mpsc::channel();
        let _ = std::thread::Builder::new().name("clipway-log".to_owned()).spawn(move || {
            for line in taken {
                let _ = writeln!(anstream::stderr(), "{line}");
            }
            let _ = end.send(());
        });
        Logger { lines, dropped: Arc::default(), ended }
    }

    /// Takes each answered request.
    fn log(&self, format: LogFormat) -> Log {
        let (lines, dropped) = (self.lines.clone(), Arc::clone(&self.dropped));
        Box::new(move |answered| {
            let line = match format {
                LogFormat::Off => return,
                LogFormat::Text => text_line(answered),
                LogFormat::Json => json_line(answered),
            };
            if lines.try_send(line).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Waits for the last lines, and returns how many were dropped.
    fn end(self) -> u64 {
        drop(self.lines);
        let _ = self.ended.recv_timeout(LAST_LINES);
        self.dropped.load(Ordering::Relaxed)
    }
}

fn text_line(answered: &Answered<'_>) -> String {
    let Answered { method, route, status, time, id, code, message, .. } = answered;
    let milliseconds = time.as_secs_f64() * 1e3;
    let line = format!("{method} {route} {status} {milliseconds:.1} ms {id}");
    match (code, message) {
        (Some(code), Some(message)) => {
            format!("{line} {} [{code}]", printable(message))
        }
        _ => line,
    }
}

fn json_line(answered: &Answered<'_>) -> String {
    let Answered { id, trace, address, method, route, status, bytes, time, code, message } = answered;
    json!({
        "time": seconds_now(),
        "id": id,
        "trace": trace,
        "client": address.to_string(),
        "method": method,
        "route": route,
        "status": status,
        "bytes": bytes,
        "seconds": time.as_secs_f64(),
        "code": code,
        "message": message,
    })
    .to_string()
}

/// Seconds since 1970.
fn seconds_now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs_f64()
}

fn serve_failure(error: &ServeError) -> Failure {
    let failure = Failure::could_not_run(error.code(), chain(error));
    match error {
        ServeError::Unprotected { .. } => failure
            .hint("pass `--api-key-file FILE`, or `--no-auth` if something in front of it checks who asks"),
        ServeError::Address { .. } => failure.hint("choose another address or port with `--listen`"),
        _ => failure,
    }
}
