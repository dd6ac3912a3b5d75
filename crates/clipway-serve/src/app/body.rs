//! Reads bodies: within their size, and not slower than the slowest allowed client.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};

use crate::error::RequestError;
use crate::limits::Limits;

/// Bytes that a body will have at most: its length, or without one the limit.
///
/// # Errors
/// A length over the limit.
pub(super) fn announced(request: &Request<Incoming>, limits: &Limits) -> Result<u64, RequestError> {
    let limit = limits.body_bytes;
    match request.body().size_hint().exact() {
        Some(length) if length > limit as u64 => Err(RequestError::BodyTooLarge { limit }),
        Some(length) => Ok(length),
        None => Ok(limit as u64),
    }
}

/// Reads a body.
///
/// # Errors
/// A body over the limit, slower than allowed, or cut.
pub(super) async fn read(mut body: Incoming, limits: &Limits) -> Result<Vec<u8>, RequestError> {
    let started = Instant::now();
    let mut bytes = Vec::with_capacity(body.size_hint().lower().min(limits.body_bytes as u64) as usize);
    loop {
        // By when the next byte must be there for the mean rate to be kept.
        let due = limits.body_grace
            + Duration::from_secs_f64((bytes.len() + 1) as f64 / limits.body_rate.max(1) as f64);
        let left = due.saturating_sub(started.elapsed());
        let frame = match tokio::time::timeout(left, body.frame()).await {
            Err(_) => return Err(RequestError::Slow),
            Ok(None) => return Ok(bytes),
            Ok(Some(frame)) => frame.map_err(|_| RequestError::Cut)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.body_bytes {
            return Err(RequestError::BodyTooLarge { limit: limits.body_bytes });
        }
        bytes.extend_from_slice(&data);
    }
}
