//! Fetches: the name, its addresses, the connection, redirects, and the time of all of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::Address;
use crate::error::FetchError;
use crate::exchange::{Found, exchange};
use crate::hosts::Hosts;
use crate::network::{Network, System};
use crate::public::is_public;

/// Addresses of a host that are tried.
const TRIED: usize = 4;

/// What a fetch may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of an image.
    pub bytes: u64,
    /// Time of a fetch, redirects included, from when it begins.
    pub time: Duration,
    /// Time of one attempt to connect, and again of TLS.
    pub connect_time: Duration,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Fetches at a time; the rest waits.
    pub at_once: usize,
}

impl Default for FetchLimits {
    fn default() -> FetchLimits {
        FetchLimits {
            bytes: 10 << 20,
            time: Duration::from_secs(10),
            connect_time: Duration::from_secs(3),
            redirects: 3,
            at_once: 16,
        }
    }
}

/// Nothing can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system has no root certificates.
    #[error("the system has no root certificates, so no server can be verified")]
    NoCertificates,
    /// The root certificates cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl StartError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        "serve-fetch"
    }
}

/// Fetches images from allowed hosts.
pub struct Fetcher {
    hosts: Arc<Hosts>,
    limits: FetchLimits,
    tls: TlsConnector,
    network: Arc<dyn Network>,
    places: Semaphore,
}

impl Fetcher {
    /// Fetches by the system's network, and trusts its root certificates.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn system(hosts: Hosts, limits: FetchLimits) -> Result<Fetcher, StartError> {
        let certificates = rustls_native_certs::load_native_certs().certs;
        Fetcher::new(hosts, limits, certificates, Arc::new(System::default()))
    }

    /// Fetches by a network, and trusts these authorities.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        hosts: Hosts,
        limits: FetchLimits,
        authorities: Vec<CertificateDer<'static>>,
        network: Arc<dyn Network>,
    ) -> Result<Fetcher, StartError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        if roots.is_empty() && hosts.need_certificates() {
            return Err(StartError::NoCertificates);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StartError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nothing is kept from one fetch to the next.
        config.resumption = rustls::client::Resumption::disabled();
        let (places, tls) = (Semaphore::new(limits.at_once), TlsConnector::from(Arc::new(config)));
        Ok(Fetcher { hosts: Arc::new(hosts), limits, tls, network, places })
    }

    /// The allowed hosts.
    pub fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.hosts)
    }

    /// Fetches an image. `hold` is asked for room for bytes as they arrive. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        address: Address,
        mut hold: impl FnMut(u64) -> bool + Send,
    ) -> Result<Vec<u8>, FetchError> {
        let time = self.limits.time;
        let _place = self.places.acquire().await.map_err(|_| FetchError::NoRoom)?;
        timeout(time, self.follow(address, &mut hold)).await.unwrap_or(Err(FetchError::Timeout(time)))
    }

    /// Follows redirects, each by the same rules.
    async fn follow(
        &self,
        mut address: Address,
        hold: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<Vec<u8>, FetchError> {
        for _ in 0..=self.limits.redirects {
            let location = match self.ask(&address, hold).await? {
                Found::Image(bytes) => return Ok(bytes),
                Found::Elsewhere(location) => location,
            };
            let next = address.follow(&location).and_then(|next| self.hosts.allow(next));
            // What came by a safe way does not go on by an unsafe one.
            let next = next.ok().filter(|next| next.is_secure || !address.is_secure);
            address = next.ok_or(FetchError::Redirect)?;
        }
        Err(FetchError::Redirects(self.limits.redirects))
    }

    async fn ask(
        &self,
        address: &Address,
        hold: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<Found, FetchError> {
        let stream = self.connect(address).await?;
        if !address.is_secure {
            return exchange(stream, address, self.limits.bytes, hold).await;
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|_| FetchError::Tls("a bad name"))?;
        let shaken = timeout(self.limits.connect_time, self.tls.connect(name, stream)).await;
        let stream = shaken
            .map_err(|_| FetchError::Tls("it takes too long"))?
            .map_err(|error| FetchError::Tls(reason(&error)))?;
        exchange(stream, address, self.limits.bytes, hold).await
    }

    /// Connects to one of a host's addresses. All of them must be public: whoever answers for the name also decides
    /// which of them would be tried.
    async fn connect(&self, address: &Address) -> Result<TcpStream, FetchError> {
        let found: Vec<IpAddr> = self.network.resolve(&address.host).await.map_err(|_| FetchError::NoHost)?;
        if found.is_empty() {
            return Err(FetchError::NoHost);
        }
        if !found.iter().all(|ip| is_public(*ip)) {
            return Err(FetchError::NotPublic);
        }
        for ip in found.into_iter().take(TRIED) {
            let connecting = self.network.connect(SocketAddr::new(ip, address.port));
            if let Ok(Ok(stream)) = timeout(self.limits.connect_time, connecting).await {
                return Ok(stream);
            }
        }
        Err(FetchError::NoConnection)
    }
}

/// Why there is no TLS, in our words.
fn reason(error: &std::io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(cause)) => match cause {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::UnknownIssuer => "its certificate is from an unknown authority",
            _ => "its certificate is not valid",
        },
        Some(_) => "it does not speak TLS as this server does",
        None => "the connection broke",
    }
}
