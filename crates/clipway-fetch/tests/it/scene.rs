//! A fetcher on a network that lies, and its servers: one with TLS and one without.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use clipway_fetch::{FetchLimits, Fetcher, Hosts};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::lies::{Lies, Origin, Stream};

/// The bytes of the image that is served.
pub const IMAGE: &[u8] = b"the bytes of an image";

/// Hosts that are allowed. The certificate of the server is for the first two.
pub const HOSTS: [&str; 7] = [
    "images.example",
    "*.images.example",
    "other.example",
    "http://plain.example",
    "http://plain.example:8080",
    "http://rebinding.example",
    "http://*.private.example",
];

pub struct Scene {
    pub network: Arc<Lies>,
    pub plain: Origin,
    pub secure: Origin,
    pub hosts: Arc<Hosts>,
    fetcher: Fetcher,
}

impl Scene {
    pub fn new() -> Scene {
        Scene::limited(|_| {})
    }

    pub fn limited(change: impl FnOnce(&mut FetchLimits)) -> Scene {
        let mut limits = FetchLimits {
            bytes: 10_000,
            time: Duration::from_secs(20),
            connect_time: Duration::from_secs(5),
            ..FetchLimits::default()
        };
        change(&mut limits);
        let network = Arc::new(Lies::default());
        let plain = Origin::start(IMAGE.to_vec(), |stream| Box::new(stream));
        let config = tls();
        let speak = move |stream: TcpStream| -> Box<dyn Stream> {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("TLS");
            Box::new(Ending(StreamOwned::new(connection, stream)))
        };
        let secure = Origin::start(IMAGE.to_vec(), speak);
        for port in [80, 8080] {
            network.lead(port, plain.address);
        }
        network.lead(443, secure.address);
        let authority =
            CertificateDer::from_pem_slice(include_bytes!("../../../clipway-hub/tests/tls/authority.pem"));
        let hosts = Hosts::parse(&HOSTS).expect("hosts");
        let authorities = vec![authority.expect("a certificate")];
        let fetcher = Fetcher::new(hosts, limits, authorities, Arc::clone(&network) as _).expect("a fetcher");
        Scene { network, plain, secure, hosts: fetcher.hosts(), fetcher }
    }

    /// Fetches an address; the code of what went wrong, and its message.
    pub async fn fetch(&self, text: &str) -> Result<Vec<u8>, (&'static str, String)> {
        let address = self.hosts.address(text).map_err(|error| (error.code(), error.to_string()))?;
        let fetched = self.fetcher.fetch(address, |_| true).await;
        fetched.map_err(|error| (error.code(), error.to_string()))
    }

    /// Fetches an address with room for a number of bytes.
    pub async fn fetch_within(&self, text: &str, mut room: u64) -> Result<Vec<u8>, (&'static str, String)> {
        let address = self.hosts.address(text).expect("an allowed address");
        let hold = move |bytes| {
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        self.fetcher.fetch(address, hold).await.map_err(|error| (error.code(), error.to_string()))
    }
}

fn tls() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from(&include_bytes!("../../../clipway-hub/tests/tls/server.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../../../clipway-hub/tests/tls/server.key.der")[..]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS").with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key.into()).expect("a certificate"))
}

/// A TLS connection that says when it ends.
struct Ending(StreamOwned<ServerConnection, TcpStream>);

impl std::io::Read for Ending {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(out)
    }
}

impl std::io::Write for Ending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        let _ = std::io::Write::flush(&mut self.0);
    }
}
