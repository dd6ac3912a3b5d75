//! Requests: one attempt, redirects followed by hand, retries. The token goes to the Hub's origin only.

mod address;
mod answer;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clipway_formats::shown;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use crate::{HubError, Settings, Watcher};
pub(crate) use address::{Address, quoted};
pub(crate) use answer::About;

/// Most redirects that are followed.
const REDIRECTS: usize = 20;
/// Most attempts without progress.
pub(crate) const ATTEMPTS: u32 = 6;
/// Longest pause that a server may ask for.
const LONGEST_WAIT: u64 = 330;
/// Most bytes of the headers of an answer.
const HEADERS: usize = 64 << 10;

/// Sends requests.
pub(crate) struct Http {
    agent: Agent,
    endpoint: Address,
    settings: Settings,
    watcher: Arc<dyn Watcher>,
    warned: std::sync::Mutex<Vec<String>>,
}

/// A request that can be sent again.
pub(crate) struct Ask<'a> {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Sent<'a>,
    /// Whether a second attempt could do the work twice.
    pub is_once: bool,
}

/// The body of a request.
pub(crate) enum Sent<'a> {
    None,
    Bytes(&'a [u8]),
    /// `open` makes a reader of `length` bytes for each attempt.
    Stream {
        length: u64,
        open: &'a dyn Fn() -> Result<Box<dyn Read + 'a>, HubError>,
    },
}

impl<'a> Ask<'a> {
    /// A request for what an address has.
    pub fn get(url: impl Into<String>) -> Ask<'a> {
        Ask { method: Method::GET, url: url.into(), headers: Vec::new(), body: Sent::None, is_once: false }
    }

    /// Sends bytes of a media type.
    pub fn post(url: impl Into<String>, kind: &str, body: &'a [u8]) -> Ask<'a> {
        let headers = vec![("content-type", kind.to_owned())];
        Ask { method: Method::POST, headers, body: Sent::Bytes(body), ..Ask::get(url) }
    }
}

impl Http {
    pub fn new(settings: Settings, watcher: Arc<dyn Watcher>) -> Result<Http, HubError> {
        let endpoint = Address::parse(&settings.endpoint)
            .ok_or_else(|| HubError::Redirects { host: shown(&settings.endpoint) })?;
        let time = Some(settings.timeout);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(settings.agent.clone())
            .accept_encoding("identity")
            .max_response_header_size(HEADERS)
            .input_buffer_size(128 << 10)
            .output_buffer_size(128 << 10)
            .timeout_resolve(time)
            .timeout_connect(time)
            .timeout_per_read(time)
            .timeout_per_write(time)
            .timeout_recv_response(time);
        if endpoint.is_secure() {
            config = config.tls_config(tls());
        }
        Ok(Http { agent: config.build().into(), endpoint, settings, watcher, warned: Default::default() })
    }

    pub fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// The Hub's host and port, for messages.
    pub fn host(&self) -> String {
        self.endpoint.host()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn watcher(&self) -> &dyn Watcher {
        &*self.watcher
    }

    pub fn is_hub(&self, address: &Address) -> bool {
        address.origin() == self.endpoint.origin()
    }

    /// Fails if the watcher wants to stop.
    pub fn check_cancelled(&self) -> Result<(), HubError> {
        if self.watcher.is_cancelled() { Err(HubError::Interrupted) } else { Ok(()) }
    }

    /// Sends a request to wherever redirects within the Hub lead, again after passing failures, and checks the status.
    /// A redirect to another origin is returned as an answer.
    pub fn ask(&self, ask: &Ask<'_>, about: &About<'_>) -> Result<Answer, HubError> {
        if self.settings.offline {
            let (repo, revision) = (about.repo.to_owned(), about.revision.to_owned());
            return Err(HubError::Offline { repo, revision });
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.check_cancelled()?;
            let result = self.attempt(ask);
            let (error, wait) = match result {
                Ok(answer) => match about.judge(answer, self, attempt) {
                    Ok(answer) => return Ok(answer),
                    Err(refusal) => (refusal.error, refusal.wait),
                },
                Err(error @ (HubError::Timeout { .. } | HubError::Unreachable { .. })) => {
                    (error, Some(self.backoff(attempt)))
                }
                Err(error) => return Err(error),
            };
            match wait {
                Some(wait) if attempt < self.attempts(&error) && !ask.is_once => {
                    self.pause(&error.to_string(), wait)?
                }
                _ => return Err(error),
            }
        }
    }

    /// A host that does not answer at all is asked once more: the time of a user is worth more.
    fn attempts(&self, error: &HubError) -> u32 {
        match error {
            HubError::Timeout { .. } => 1,
            HubError::Unreachable { .. } => 3,
            _ => ATTEMPTS,
        }
    }

    /// The pause after this many attempts.
    pub fn backoff(&self, attempt: u32) -> Duration {
        self.settings.pause * 2_u32.pow(attempt.saturating_sub(1).min(3))
    }

    /// The pause that a server asks for, if it is worth it.
    pub fn asked(&self, seconds: u64) -> Option<Duration> {
        let times = u32::try_from(seconds).ok().filter(|_| seconds <= LONGEST_WAIT)?;
        Some(self.settings.second * times)
    }

    /// Waits, unless the watcher wants to stop.
    pub fn pause(&self, reason: &str, time: Duration) -> Result<(), HubError> {
        self.watcher.wait(reason, time);
        let end = Instant::now() + time;
        loop {
            self.check_cancelled()?;
            match end.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => std::thread::sleep(rest.min(Duration::from_millis(100))),
                _ => return Ok(()),
            }
        }
    }

    /// One attempt, with the redirects that stay on the Hub.
    fn attempt(&self, ask: &Ask<'_>) -> Result<Answer, HubError> {
        let lost = |address: &Address| HubError::Redirects { host: address.host() };
        let mut address = Address::parse(&ask.url)
            .ok_or_else(|| HubError::Redirects { host: shown(&self.settings.endpoint) })?;
        for _ in 0..=REDIRECTS {
            let response = self.once(ask, &address)?;
            self.warnings(response.headers());
            let answer = Answer { address, response };
            let Some(target) = answer.redirect()? else { return Ok(answer) };
            if !self.is_hub(&target) {
                return match self.is_hub(&answer.address) {
                    true => Ok(answer),
                    // A server of files has no business sending its callers elsewhere.
                    false => Err(lost(&answer.address)),
                };
            }
            if !self.is_hub(&answer.address) {
                return Err(lost(&answer.address));
            }
            address = target;
        }
        Err(lost(&address))
    }

    fn once(&self, ask: &Ask<'_>, address: &Address) -> Result<Response<Body>, HubError> {
        let mut request = Request::builder().method(ask.method.clone()).uri(address.as_str());
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let (Some(token), true) = (&self.settings.token, self.is_hub(address)) {
            request = request.header("authorization", token.header());
        }
        let failed = |cause| HubError::Answer { host: address.host(), reason: shown(&format!("{cause}")) };
        let sent = match &ask.body {
            Sent::None => self.agent.run(request.body(()).map_err(failed)?),
            Sent::Bytes(bytes) => self.agent.run(request.body(*bytes).map_err(failed)?),
            Sent::Stream { length, open } => {
                let mut reader = open()?;
                let request = request.header("content-length", length.to_string());
                self.agent.run(request.body(SendBody::from_reader(&mut reader)).map_err(failed)?)
            }
        };
        sent.map_err(|error| self.transport(address, &error))
    }

    /// What a failed exchange means.
    pub fn transport(&self, address: &Address, error: &ureq::Error) -> HubError {
        let host = address.host();
        match error {
            ureq::Error::Timeout(_) => HubError::Timeout { host },
            ureq::Error::Io(error) => self.lost(address, error),
            ureq::Error::LargeResponseHeader(..) => {
                HubError::TooLarge { what: format!("the head of an answer of {host}"), limit: HEADERS as u64 }
            }
            ureq::Error::HostNotFound => HubError::Unreachable { host, reason: "unknown host".to_owned() },
            ureq::Error::ConnectionFailed => {
                HubError::Unreachable { host, reason: "no connection".to_owned() }
            }
            other => HubError::Unreachable { host, reason: self.safe(&other.to_string()) },
        }
    }

    /// What a connection that broke means.
    pub fn lost(&self, address: &Address, error: &std::io::Error) -> HubError {
        let host = address.host();
        // While a body is read, the client wraps its own error.
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        if error.kind() == std::io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_))) {
            return HubError::Timeout { host };
        }
        HubError::Unreachable { host, reason: self.safe(&error.to_string()) }
    }

    /// A stranger's text for a message: escaped, shortened, without the token and without signed addresses.
    pub fn safe(&self, text: &str) -> String {
        match &self.settings.token {
            Some(token) if token.is_in(text) => "(a text with the token in it)".to_owned(),
            _ => shown(text),
        }
    }

    /// Passes on each topic of `X-HF-Warning` once.
    fn warnings(&self, headers: &HeaderMap) {
        let Some(text) = headers.get("x-hf-warning").and_then(|value| value.to_str().ok()) else { return };
        let topic = shown(text.split(';').next().unwrap_or_default());
        let mut warned = self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if warned.len() < 16 && !warned.contains(&topic) {
            self.watcher.warn(&self.safe(text));
            warned.push(topic);
        }
    }
}

/// An answer, and the address that gave it.
pub(crate) struct Answer {
    pub address: Address,
    pub response: Response<Body>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Where a redirect leads.
    pub fn redirect(&self) -> Result<Option<Address>, HubError> {
        let moved = [
            StatusCode::MOVED_PERMANENTLY,
            StatusCode::FOUND,
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        if !moved.contains(&self.response.status()) {
            return Ok(None);
        }
        let target = self.header("location").and_then(|location| self.address.join(location));
        // What came by a safe way does not go on by an unsafe one.
        let target = target.filter(|target| target.is_secure() || !self.address.is_secure());
        target.map(Some).ok_or_else(|| HubError::Redirects { host: self.address.host() })
    }

    /// The whole body, of at most `limit` bytes.
    pub fn bytes(self, http: &Http, limit: u64) -> Result<Vec<u8>, HubError> {
        let Answer { address, response } = self;
        let expected = response.body().content_length();
        let mut bytes = Vec::new();
        let read = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| http.lost(&address, &error))?;
        if bytes.len() as u64 > limit {
            return Err(HubError::TooLarge { what: format!("an answer of {}", address.host()), limit });
        }
        match expected {
            Some(length) if length != bytes.len() as u64 => Err(HubError::Unreachable {
                host: address.host(),
                reason: "the answer is cut short".to_owned(),
            }),
            _ => Ok(bytes),
        }
    }
}

/// TLS with the system's root certificates.
fn tls() -> TlsConfig {
    let roots: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safe_address_does_not_lead_to_an_unsafe_one() {
        let redirect = |from: &str, to: &str| {
            let response = Response::builder().status(302).header("location", to);
            let response = response.body(Body::builder().data(Vec::new())).unwrap();
            let answer = Answer { address: Address::parse(from).unwrap(), response };
            answer.redirect().map(|target| target.unwrap().as_str())
        };
        for unsafe_address in
            ["http://hub.example/a", "http://cdn.example/a", "//user@hub.example/", "file:///etc"]
        {
            let error = redirect("https://hub.example/a", unsafe_address).unwrap_err();
            assert_eq!(error.code(), "hub-redirects", "{unsafe_address}");
        }
        let cdn = redirect("https://hub.example/a", "https://cdn.example/b").unwrap();
        assert_eq!(cdn, "https://cdn.example/b");
        assert_eq!(redirect("http://127.0.0.1:9/a", "http://127.0.0.1:8/b").unwrap(), "http://127.0.0.1:8/b");
    }

    #[test]
    fn the_token_is_for_the_hub_s_scheme_host_and_port() {
        let settings = Settings {
            endpoint: "https://hub.example".to_owned(),
            cache: "cache".into(),
            token: crate::Token::new("hf_secret").unwrap(),
            offline: false,
            timeout: Duration::from_secs(1),
            pause: Duration::ZERO,
            second: Duration::from_secs(1),
            agent: "test".to_owned(),
        };
        assert!(!format!("{settings:?}").contains("hf_secret"));
        let http = Http::new(settings, Arc::new(crate::Quiet)).unwrap();
        let has = |address: &str| http.is_hub(&Address::parse(address).unwrap());
        assert!(has("https://hub.example/a") && has("https://HUB.example:443/b"));
        for other in ["http://hub.example/a", "https://hub.example:444/a", "https://cdn.hub.example/a"] {
            assert!(!has(other), "{other}");
        }
        assert_eq!(http.safe("a page with hf_secret in it"), "(a text with the token in it)");
    }
}
