//! Ids of requests, for logs and answers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;

/// Longest id that a client may give.
const LONGEST: usize = 128;

/// Makes ids.
pub(crate) struct Ids {
    state: RandomState,
    count: AtomicU64,
}

impl Ids {
    /// Ids of a run of the server.
    pub fn new() -> Ids {
        Ids { state: RandomState::new(), count: AtomicU64::new(0) }
    }

    /// The id of a request, the client's own if it gave one, and the id of its trace (W3C `traceparent`).
    pub fn of(&self, headers: &HeaderMap) -> (String, Option<String>) {
        let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        let is_good = |id: &&str| {
            (1..=LONGEST).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
        };
        let id = given.filter(is_good).map_or_else(|| self.next(), str::to_owned);
        let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace);
        (id, trace)
    }

    fn next(&self) -> String {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.count.fetch_add(1, Ordering::Relaxed));
        format!("{:016x}", hasher.finish())
    }
}

/// The trace id of `00-TRACE-SPAN-FLAGS`.
fn trace(text: &str) -> Option<String> {
    let trace = text.split('-').nth(1)?;
    let is_good = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_good.then(|| trace.to_owned())
}
