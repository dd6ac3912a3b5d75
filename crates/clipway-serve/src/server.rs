//! The server: binds an address, runs, and stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clipway_fetch::Fetcher;
use clipway_run::clip::Clip;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::app::{App, Ids, SHELF_THREADS, Shelf};
use crate::auth::{Hosts, Keys};
use crate::engine::{Engine, StartError};
use crate::gallery::Gallery;
use crate::http::{Door, accept};
use crate::limits::Limits;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::model_info::ModelInfo;
use crate::page::Page;
use crate::parse::ParseLimits;

/// Threads that move bytes and run timers; the model has its own.
const THREADS: usize = 2;

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Time for answers to be written after the time for finishing is over.
const LAST: Duration = Duration::from_secs(1);

/// How to serve.
pub struct ServeOptions {
    /// The address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Every limit.
    pub limits: Limits,
    /// API keys; none if requests need none.
    pub keys: Keys,
    /// Whether an address that others can reach may be served without keys.
    pub without_keys: bool,
    /// Names besides the address by which browsers may reach the server.
    pub hosts: Vec<String>,
    /// What the server says about its model.
    pub model: ModelInfo,
    /// Fetches images by address from allowed hosts; without it, no image is fetched.
    pub fetcher: Option<Fetcher>,
    /// The index that is searched; its features are of the model's space.
    pub gallery: Option<Arc<dyn Gallery>>,
    /// Takes each answered request.
    pub log: Log,
}

/// The server cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// Others can reach the address, and there are no keys.
    #[error("{address} can be reached by others, and there are no API keys")]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// Threads cannot be started.
    #[error("cannot start the server's threads")]
    Threads(#[source] std::io::Error),
    /// The engine cannot start.
    #[error(transparent)]
    Engine(#[from] StartError),
}

impl ServeError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ServeError::Address { .. } => "serve-address",
            ServeError::Unprotected { .. } => "serve-unprotected",
            ServeError::Threads(_) => "threads",
            ServeError::Engine(error) => error.code(),
        }
    }
}

/// Stops a server, from any thread.
#[derive(Clone)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// Accepts no more work, finishes what was accepted, and lets [`Server::run`] return.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A server that listens and does not answer yet.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    door: Door,
    app: Arc<App>,
    address: SocketAddr,
    stopper: Stopper,
    expire: watch::Sender<bool>,
}

impl Server {
    /// Binds the address, starts the engine and runs its self-test.
    ///
    /// Images are decoded on rayon's global pool.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(clip: Arc<Clip>, options: ServeOptions) -> Result<Server, ServeError> {
        let ServeOptions { address, limits, keys, without_keys, hosts, model, fetcher, gallery, log } =
            options;
        if !address.ip().is_loopback() && !keys.are_needed() && !without_keys {
            return Err(ServeError::Unprotected { address });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(rayon::current_num_threads().max(2) + SHELF_THREADS)
            .thread_name("clipway-http")
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServeError::Threads)?;
        let listener = {
            let _runtime = runtime.enter();
            listen(address).map_err(|cause| ServeError::Address { address, cause })?
        };
        let address = listener.local_addr().map_err(|cause| ServeError::Address { address, cause })?;
        let metrics = Arc::new(Metrics::default());
        let engine = Engine::start(Arc::clone(&clip) as _, limits.clone(), Arc::clone(&metrics))?;
        let (stop, stopping) = watch::channel(false);
        let (expire, expired) = watch::channel(false);
        let limits = Arc::new(limits);
        let image_hosts = fetcher.as_ref().map(Fetcher::hosts).unwrap_or_default();
        let app = Arc::new(App {
            parse: Arc::new(ParseLimits::of(&limits, &model.names, clip.embed_dim(), image_hosts)),
            page: Page::new(),
            fetcher: fetcher.map(Arc::new),
            shelf: gallery.map(Shelf::new),
            hosts: Hosts::of(address.ip(), &hosts),
            ids: Ids::new(),
            limits: Arc::clone(&limits),
            metrics: Arc::clone(&metrics),
            clip,
            engine,
            model,
            keys,
            log,
            stopping: stopping.clone(),
            expired,
        });
        let door = Door { listener, limits, metrics, stopping };
        Ok(Server { runtime, door, app, address, stopper: Stopper(Arc::new(stop)), expire })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops the server.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The counters of the server.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.app.metrics)
    }

    /// Serves until it is stopped and what was accepted is answered, or the time for that is over. Returns whether
    /// everything was answered in time.
    pub fn run(self) -> bool {
        let Server { runtime, door, app, expire, .. } = self;
        let (metrics, drain, mut stopping) =
            (Arc::clone(&door.metrics), door.limits.drain, door.stopping.clone());
        let engine = app.engine.clone();
        let answer = {
            let app = Arc::clone(&app);
            move |address, request| Arc::clone(&app).answer(address, request)
        };
        let in_time = runtime.block_on(async {
            let until = async {
                let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
                let in_time = tokio::time::timeout(drain, closed(&metrics)).await.is_ok();
                if !in_time {
                    expire.send_replace(true);
                    let _ = tokio::time::timeout(LAST, closed(&metrics)).await;
                }
                in_time
            };
            let in_time = accept(door, answer, until).await;
            let _ = tokio::time::timeout(LAST, closed(&metrics)).await;
            engine.stop();
            // What is left belongs to clients that are gone.
            let _ = tokio::time::timeout(LAST, engine.ended()).await;
            in_time
        });
        runtime.shutdown_timeout(LAST);
        in_time
    }
}

/// Listens with room for a burst of connections: where the system's own short queue is full, clients wait for seconds.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that starts again takes the address of the one before it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Waits until no connection is open.
async fn closed(metrics: &Metrics) {
    while metrics.open_connections() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
