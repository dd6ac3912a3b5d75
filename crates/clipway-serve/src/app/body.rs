//! Reads bodies: within their size, and not slower than the slowest allowed client.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_ENCODING;

use crate::engine::Held;
use crate::error::RequestError;
use crate::limits::Limits;

/// Refuses a body that is compressed, or whose length is over the limit, before it is read.
///
/// # Errors
/// [`RequestError::Encoded`] and [`RequestError::BodyTooLarge`].
pub(crate) fn check_announced(request: &Request<Incoming>, limits: &Limits) -> Result<(), RequestError> {
    let limit = limits.body_bytes;
    if request.headers().get_all(CONTENT_ENCODING).iter().any(|value| value != "identity") {
        return Err(RequestError::Encoded);
    }
    match request.body().size_hint().exact() {
        Some(length) if length > limit as u64 => Err(RequestError::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}

/// Bytes at the start of a body by which it may be refused.
const START: usize = 1024;

/// Reads a body, and holds room for it as it arrives. `check_start` gets its start as soon as that has arrived, and may refuse
/// the rest.
///
/// # Errors
/// A body over the limit, slower than allowed, or cut, a full queue, and what `check_start` returns.
pub(crate) async fn read(
    mut body: Incoming,
    limits: &Limits,
    held: &mut Held,
    check_start: impl Fn(&[u8]) -> Result<(), RequestError>,
) -> Result<Vec<u8>, RequestError> {
    let started = Instant::now();
    let mut bytes = Vec::new();
    let mut is_checked = false;
    loop {
        // By when the next byte must be there for the mean rate to be kept.
        let due = limits.body_grace
            + Duration::from_secs_f64((bytes.len() + 1) as f64 / limits.body_rate.max(1) as f64);
        let left = due.saturating_sub(started.elapsed());
        let frame = match tokio::time::timeout(left, body.frame()).await {
            Err(_) => return Err(RequestError::Slow),
            Ok(None) if is_checked => return Ok(bytes),
            Ok(None) => return check_start(&bytes).map(|()| bytes),
            Ok(Some(frame)) => frame.map_err(|error| broken(&error))?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.body_bytes {
            return Err(RequestError::BodyTooLarge { limit: limits.body_bytes });
        }
        held.grow(data.len() as u64)?;
        bytes.extend_from_slice(&data);
        if !is_checked && bytes.len() >= START {
            check_start(&bytes[..START])?;
            is_checked = true;
        }
    }
}

/// Why no more of a body can be read.
fn broken(error: &hyper::Error) -> RequestError {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match cause {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => RequestError::Chunks,
        _ => RequestError::Cut,
    }
}
