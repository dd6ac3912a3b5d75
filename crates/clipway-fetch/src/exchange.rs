//! One request and its answer, on a connection which exists already.

use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName,
    LOCATION, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Address;
use crate::error::FetchError;

/// Most fields and bytes of an answer's head.
const FIELDS: usize = 64;
const HEAD: usize = 32 << 10;

/// Bytes of a body for which room is made at once: what a server announces takes none.
const PIECE: u64 = 64 << 10;

/// Content types that images have. Object stores give the second and third to what was uploaded without one.
const TYPES: [&str; 3] = ["image/", "application/octet-stream", "binary/octet-stream"];

/// What an address gives.
pub(crate) enum Found {
    Image(Vec<u8>),
    /// Where it is instead.
    Elsewhere(String),
}

/// Asks for an image; `hold` makes room for bytes as they arrive.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    address: &Address,
    limit: u64,
    hold: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<Found, FetchError> {
    let request = Request::get(&address.target)
        .header(HOST, address.authority())
        .header(USER_AGENT, concat!("clipway/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "image/*")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Broken)?;
    let mut builder = http1::Builder::new();
    builder.max_headers(FIELDS).max_buf_size(HEAD);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| FetchError::Broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| FetchError::Broken)?;
        judge(response, limit, hold).await
    };
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    tokio::select! {
        // What arrived before the connection ended is read first.
        biased;
        found = answer.as_mut() => found,
        _ = connection.as_mut() => answer.await,
    }
}

/// What an answer means.
async fn judge(
    response: Response<Incoming>,
    limit: u64,
    hold: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<Found, FetchError> {
    let (head, mut body) = response.into_parts();
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    match head.status.as_u16() {
        200 => {}
        301 | 302 | 303 | 307 | 308 => {
            return header(LOCATION)
                .map(|location| Found::Elsewhere(location.to_owned()))
                .ok_or(FetchError::Redirect);
        }
        status => return Err(FetchError::Status(status)),
    }
    let kind = header(CONTENT_TYPE).unwrap_or_default().trim_start().to_ascii_lowercase();
    if !TYPES.iter().any(|known| kind.starts_with(known)) {
        return Err(FetchError::NotAnImage);
    }
    if head.headers.contains_key(CONTENT_ENCODING) && header(CONTENT_ENCODING) != Some("identity") {
        return Err(FetchError::Encoded);
    }
    let announced = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    if announced > limit {
        return Err(FetchError::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(announced.min(PIECE) as usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| FetchError::Broken)?.into_data() else { continue };
        if bytes.len() as u64 + data.len() as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        if !hold(data.len() as u64) {
            return Err(FetchError::NoRoom);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Found::Image(bytes))
}
