//! The accept loop. It is our own, since every limit on connections and on slow clients belongs here.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::guarded::Guarded;
use super::places::{Place, Places};
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Time for which a connection between two requests is still read when the server stops: a request that was sent by then gets
/// an answer, instead of a connection that closes.
const PARTING: Duration = Duration::from_millis(100);

/// Most fields of a head.
const FIELDS: usize = 64;

/// Pause after an accept that failed, such as for a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in, and what holds for each.
pub(crate) struct Door {
    pub listener: TcpListener,
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    /// Whether the server is stopping.
    pub stopping: watch::Receiver<bool>,
}

/// Accepts connections and answers their requests, until `until` is done, whose result it returns.
pub(crate) async fn accept<A, F, R>(door: Door, answer: A, until: impl Future<Output = R>) -> R
where
    A: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Places::default());
    tokio::pin!(until);
    let result = loop {
        let accepted = tokio::select! {
            result = &mut until => break result,
            accepted = door.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => door.let_in(stream, address, &places, answer.clone()),
            Err(_) => {
                door.metrics.rejected("accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    // Closing the door would reset those that stand before it.
    while let Ok(Ok((stream, address))) = tokio::time::timeout(Duration::ZERO, door.listener.accept()).await {
        door.let_in(stream, address, &places, answer.clone());
    }
    result
}

impl Door {
    /// Serves a connection if there is room for it.
    fn let_in<A, F>(&self, stream: TcpStream, address: SocketAddr, places: &Arc<Places>, answer: A)
    where
        A: Fn(SocketAddr, Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        match places.take(address.ip(), &self.limits, &self.metrics) {
            Ok(place) => {
                let (limits, stopping) = (Arc::clone(&self.limits), self.stopping.clone());
                tokio::spawn(Connection { stream, address, limits, stopping, place }.serve(answer));
            }
            Err(reason) => {
                self.metrics.rejected(reason);
                turn_away(stream);
            }
        }
    }
}

/// Says that there is no room, if the client takes it at once.
fn turn_away(stream: TcpStream) {
    let Ok(mut stream) = stream.into_std() else { return };
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = stream.write(answer);
}

/// An accepted connection.
struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    limits: Arc<Limits>,
    stopping: watch::Receiver<bool>,
    place: Place,
}

impl Connection {
    async fn serve<A, F>(self, answer: A)
    where
        A: Fn(SocketAddr, Request<Incoming>) -> F,
        F: Future<Output = Response<Full<Bytes>>>,
    {
        let Connection { stream, address, limits, mut stopping, place } = self;
        // Answers are whole when they are written; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let answering = Arc::new(AtomicBool::new(false));
        let head_bytes = limits.head_bytes;
        let io = Guarded::new(stream, limits, Arc::clone(&answering));
        let service = service_fn(|request| {
            answering.store(true, Ordering::SeqCst);
            let answer = answer(address, request);
            let answering = Arc::clone(&answering);
            async move {
                let response = answer.await;
                answering.store(false, Ordering::SeqCst);
                Ok::<_, Infallible>(response)
            }
        });
        // While the server stops, a new connection gets one answer.
        let is_late = *stopping.borrow();
        let connection = http1::Builder::new()
            .keep_alive(!is_late)
            .timer(TokioTimer::new())
            // The head arrives whole: its time is kept where it is read.
            .header_read_timeout(None)
            .max_headers(FIELDS)
            // The least that the library takes.
            .max_buf_size(head_bytes.max(8192))
            .serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        let stop = async {
            if is_late || stopping.wait_for(|is_stopping| *is_stopping).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let is_over = tokio::select! {
            biased;
            _ = connection.as_mut() => true,
            () = stop => tokio::time::timeout(PARTING, connection.as_mut()).await.is_ok(),
        };
        if !is_over {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        drop(place);
    }
}
