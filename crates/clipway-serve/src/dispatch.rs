//! From a request to its answer: what holds for every route.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::TRANSFER_ENCODING;
use hyper::{Method, Request, Response};

use crate::app::{self, App, Call, Reply, Style, pixel_bytes};
use crate::engine::{Kind, Refused, Wanted};
use crate::error::RequestError;
use crate::log::Answered;
use crate::routes::{self, Route};

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
        let route = routes::find(request.uri().path());
        let style = route.map_or(Style::OpenAi, |route| route.style);
        let result = self.within_time(route, &id, request, &is_read).await;
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
        id: &str,
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
            result = tokio::time::timeout(time, self.routed(route, id, request, is_read)) => {
                result.unwrap_or(Err(RequestError::Timeout(time)))
            }
            () = late => Err(Refused::Stopping.into()),
        }
    }

    async fn routed(
        &self,
        route: Option<&'static Route>,
        id: &str,
        request: Request<Incoming>,
        is_read: &AtomicBool,
    ) -> Result<Reply, RequestError> {
        self.hosts.check(request.headers())?;
        let is_open = route.is_some_and(|route| route.is_open);
        if !is_open {
            self.keys.check(request.headers())?;
        }
        let route =
            route.ok_or_else(|| RequestError::NoRoute(clipway_formats::shown(request.uri().path())))?;
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_get != (route.method == "GET") || !(is_get || request.method() == Method::POST) {
            return Err(RequestError::Method(if route.method == "GET" { "GET, HEAD" } else { "POST" }));
        }
        if route.method == "POST" && *self.stopping.borrow() {
            return Err(Refused::Stopping.into());
        }
        let call = self.read(route, id, request).await?;
        is_read.store(true, Ordering::Relaxed);
        routes::call(self, route, call).await
    }

    /// Reads the body, if there is room for it and no need to turn the request away at once.
    async fn read(&self, route: &Route, id: &str, request: Request<Incoming>) -> Result<Call, RequestError> {
        app::check_announced(&request, &self.limits)?;
        let mut held = match route.patient {
            // This client does not try again, so it waits here. Its one input is accepted before its body.
            true => {
                let bytes = pixel_bytes(&self.clip);
                self.engine.admit_patiently(Wanted { images: 1, texts: 0, bytes }).await?
            }
            false => {
                self.check_wait(route.kinds)?;
                if !route.kinds.is_empty() {
                    self.engine.check_room()?;
                }
                self.engine.admit(Wanted::default())?
            }
        };
        let (parts, incoming) = request.into_parts();
        // Reading and parsing many images costs more than it takes to see them.
        let check_start = |start: &[u8]| match !route.patient && has_image(start) {
            true if route.kinds.contains(&Kind::Image) => self.check_wait(&[Kind::Image]),
            _ => Ok(()),
        };
        let body = app::read(incoming, &self.limits, &mut held, check_start).await?;
        Ok(Call { id: id.to_owned(), uri: parts.uri, headers: parts.headers, body, held })
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
}

/// Whether the start of a body has an image as a data URI.
fn has_image(start: &[u8]) -> bool {
    let mark = b"data:image/";
    start.windows(mark.len()).any(|bytes| bytes == mark)
}
