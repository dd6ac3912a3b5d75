//! What the server says about each answer. The caller decides where it goes.

use std::net::SocketAddr;
use std::time::Duration;

/// An answered request.
#[derive(Clone, Debug)]
pub struct Answered<'a> {
    /// Id of the request.
    pub id: &'a str,
    /// Id of its trace, if the client gave one.
    pub trace: Option<&'a str>,
    /// Address of the client.
    pub address: SocketAddr,
    /// Method.
    pub method: &'a str,
    /// Route, or `unknown`.
    pub route: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Bytes of the answer.
    pub bytes: usize,
    /// Time from the head to the answer.
    pub time: Duration,
    /// Code of the error.
    pub code: Option<&'static str>,
    /// Its message.
    pub message: Option<String>,
}

/// Takes each answered request, on any thread.
pub type Log = Box<dyn Fn(&Answered<'_>) + Send + Sync>;
