//! From a request to its answer: what holds for every route.

mod body;
mod encode;
mod id;
mod reply;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clipway_run::clip::Clip;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response};
use tokio::sync::watch;

pub(crate) use encode::{Features, How, pixel_bytes, wanted};
pub(crate) use id::Ids;
pub(crate) use reply::{Reply, Style, inputs, server_timing};

use crate::auth::{Hosts, Keys};
use crate::engine::{Engine, Held, Kind, Refused, Wanted};
use crate::error::RequestError;
use crate::limits::Limits;
use crate::log::{Answered, Log};
use crate::metrics::Metrics;
use crate::model_info::ModelInfo;
use crate::page::Page;
use crate::parse::{Input, ParseLimits};
use crate::routes::{self, Route};

/// Everything that a request needs.
pub(crate) struct App {
    pub clip: Arc<Clip>,
    pub engine: Engine,
    pub limits: Arc<Limits>,
    pub parse: Arc<ParseLimits>,
    pub metrics: Arc<Metrics>,
    pub model: ModelInfo,
    pub keys: Keys,
    pub hosts: Hosts,
    pub page: Page,
    pub log: Log,
    pub ids: Ids,
    /// Whether the server is stopping: what was accepted is finished, and nothing more is accepted.
    pub stopping: watch::Receiver<bool>,
    /// Whether the time for finishing is over.
    pub expired: watch::Receiver<bool>,
}

/// A request whose body is read.
pub(crate) struct Call {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Room that the body takes, and for `/predict` its input.
    pub held: Held,
}

impl Call {
    /// A header, if it is text.
    pub fn header(&self, name: hyper::header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the client is a browser that wants a page.
    pub fn wants_page(&self) -> bool {
        self.header(ACCEPT).contains("text/html")
    }

    /// The type of the body.
    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE)
    }
}

impl App {
    /// Answers a request.
    pub async fn answer(
        self: Arc<App>,
        address: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let (id, trace) = self.ids.of(request.headers());
        let method = request.method().clone();
        // Where a body of chunks ends is the library's word alone, so its connection ends with it; and so does one whose
        // body was not read.
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let is_read = AtomicBool::new(request.body().is_end_stream());
        let path = request.uri().path().to_owned();
        let route = routes::find(&path);
        let style = route.map_or(Style::OpenAi, |route| route.style);
        let result = self.within_time(route, &path, request, &is_read).await;
        let code = result.as_ref().err().map(RequestError::code);
        let message = result.as_ref().err().map(ToString::to_string);
        let reply = result.unwrap_or_else(|error| {
            if matches!(error, RequestError::Refused(_) | RequestError::Slow | RequestError::Timeout(_)) {
                self.metrics.rejected(error.code());
            }
            style.error(&error)
        });
        let time = started.elapsed();
        let name = route.map_or("unknown", |route| route.path);
        self.metrics.answered(name, reply.status, time);
        let (status, bytes) = (reply.status, reply.body.len());
        (self.log)(&Answered {
            id: &id,
            trace: trace.as_deref(),
            address,
            method: method.as_str(),
            route: name,
            status,
            bytes,
            time,
            code,
            message,
        });
        let mut reply = reply.with("x-request-id", id);
        if let Some(trace) = trace {
            reply = reply.with("x-trace-id", trace);
        }
        if is_chunked || !is_read.into_inner() || *self.stopping.borrow() {
            reply = reply.with("connection", "close");
        }
        reply.response()
    }

    async fn within_time(
        &self,
        route: Option<&'static Route>,
        path: &str,
        request: Request<Incoming>,
        is_read: &AtomicBool,
    ) -> Result<Reply, RequestError> {
        let time = self.limits.request_time;
        let mut expired = self.expired.clone();
        let late = async {
            if expired.wait_for(|is_over| *is_over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = tokio::time::timeout(time, self.routed(route, path, request, is_read)) => {
                result.unwrap_or(Err(RequestError::Timeout(time)))
            }
            () = late => Err(Refused::Stopping.into()),
        }
    }

    async fn routed(
        &self,
        route: Option<&'static Route>,
        path: &str,
        request: Request<Incoming>,
        is_read: &AtomicBool,
    ) -> Result<Reply, RequestError> {
        self.hosts.check(request.headers())?;
        let is_open = route.is_some_and(|route| route.is_open);
        if !is_open {
            self.keys.check(request.headers())?;
        }
        let route = route.ok_or_else(|| RequestError::NoRoute(clipway_formats::shown(path)))?;
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_get != (route.method == "GET") || !(is_get || request.method() == Method::POST) {
            return Err(RequestError::Method(if route.method == "GET" { "GET, HEAD" } else { "POST" }));
        }
        if route.method == "POST" && *self.stopping.borrow() {
            return Err(Refused::Stopping.into());
        }
        let call = self.read(route, request).await?;
        is_read.store(true, Ordering::Relaxed);
        routes::call(self, route, call).await
    }

    /// Reads the body, if there is room for it and no need to turn the request away at once.
    async fn read(&self, route: &Route, request: Request<Incoming>) -> Result<Call, RequestError> {
        body::check_length(&request, &self.limits)?;
        let mut held = match route.patient {
            // This client does not try again, so it waits here. Its one input is accepted before its body.
            true => {
                let bytes = pixel_bytes(&self.clip);
                self.engine.admit_patiently(Wanted { images: 1, texts: 0, bytes }).await?
            }
            false => {
                self.check_wait(route.kinds)?;
                self.engine.admit(Wanted::default())?
            }
        };
        let (parts, incoming) = request.into_parts();
        let body = body::read(incoming, &self.limits, &mut held).await?;
        Ok(Call { headers: parts.headers, body, held })
    }

    /// Refuses a request before its body is read, if whatever it asks for would wait too long.
    fn check_wait(&self, kinds: &[Kind]) -> Result<(), RequestError> {
        let limit = self.limits.max_wait;
        let waits = kinds.iter().map(|kind| (self.engine.wait(*kind), *kind));
        match waits.min_by_key(|(wait, _)| *wait) {
            Some((wait, kind)) if wait > limit => Err(Refused::Wait { kind, wait, limit }.into()),
            _ => Ok(()),
        }
    }

    /// Accepts and embeds the inputs of a request.
    pub async fn embed(&self, inputs: Vec<Input>, how: How) -> Result<Features, RequestError> {
        let held = self.engine.admit(wanted(&inputs, &self.clip))?;
        self.encode(inputs, how, held).await
    }

    /// Parses a body off the threads that serve connections.
    pub async fn parsed<R: Send + 'static>(
        &self,
        body: Vec<u8>,
        parse: impl FnOnce(&[u8], &ParseLimits) -> Result<R, RequestError> + Send + 'static,
    ) -> Result<R, RequestError> {
        let limits = Arc::clone(&self.parse);
        self.off_thread(move || parse(&body, &limits)).await?
    }
}

impl Features {
    /// An answer with the times of these features, and how many texts were truncated.
    pub fn stamp(times: [Duration; 3], truncated: usize, reply: Reply) -> Reply {
        let [prepare, queue, infer] = times;
        let timing = server_timing(&[("queue", queue), ("decode", prepare), ("infer", infer)]);
        let reply = reply.with("server-timing", timing);
        match truncated {
            0 => reply,
            count => reply.with("x-clipway-truncated", count.to_string()),
        }
    }
}
