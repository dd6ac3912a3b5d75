//! Names and connections, as the system has them; tests have others.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// Names that are looked up at a time, each on a thread of its own: the system's resolver blocks, and may do so for long.
const LOOKUPS: usize = 8;

/// A result that comes later.
pub type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Resolves names and opens connections.
pub trait Network: Send + Sync + 'static {
    /// The IP addresses of a host.
    fn resolve(&self, host: &str) -> Later<Vec<IpAddr>>;

    /// A connection to an address.
    fn connect(&self, address: SocketAddr) -> Later<TcpStream>;
}

/// The system's network.
pub struct System {
    lookups: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> System {
        System { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Network for System {
    fn resolve(&self, host: &str) -> Later<Vec<IpAddr>> {
        let (lookups, host) = (Arc::clone(&self.lookups), host.to_owned());
        Box::pin(async move {
            // The thread keeps its place until the lookup ends, even if nobody waits for it any more.
            let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let (done, found) = oneshot::channel();
            std::thread::Builder::new().name("clipway-lookup".to_owned()).spawn(move || {
                let _place = place;
                let found = (host.as_str(), 0).to_socket_addrs();
                let _ = done.send(found.map(|found| found.map(|address| address.ip()).collect()));
            })?;
            found.await.map_err(io::Error::other)?
        })
    }

    fn connect(&self, address: SocketAddr) -> Later<TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}
