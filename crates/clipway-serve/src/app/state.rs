//! What a request is answered with, and a request itself.

use std::sync::Arc;

use clipway_fetch::Fetcher;
use clipway_run::clip::Clip;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{HeaderMap, Uri};
use tokio::sync::watch;

use super::id::Ids;
use super::shelf::Shelf;
use crate::auth::{Hosts, Keys};
use crate::engine::{Engine, Held};
use crate::limits::Limits;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::model_info::ModelInfo;
use crate::page::Page;
use crate::parse::ParseLimits;

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
    /// What fetches images by address, if any host is allowed.
    pub fetcher: Option<Arc<Fetcher>>,
    /// The index, if there is one.
    pub shelf: Option<Shelf>,
    pub log: Log,
    pub ids: Ids,
    /// Whether the server is stopping: what was accepted is finished, and nothing more is accepted.
    pub stopping: watch::Receiver<bool>,
    /// Whether the time for finishing is over.
    pub expired: watch::Receiver<bool>,
}

/// A request whose body is read.
pub(crate) struct Call {
    /// The id that its answer and its line in the log have.
    pub id: String,
    pub uri: Uri,
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
