//! `/thumb/{row}`: a small copy of an indexed image.

use clipway_formats::shown;
use clipway_run::image::DecodeLimits;
use hyper::header::IF_NONE_MATCH;

use crate::app::{App, Call, Reply, Work};
use crate::error::RequestError;
use crate::thumb::{DEFAULT_SIDE, SIDES, Thumb, thumb};

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let row = row(call.uri.path())?;
    let side = side(call.uri.query())?;
    let known = call.header(IF_NONE_MATCH).to_owned();
    let limits = DecodeLimits { max_pixels: app.limits.max_pixels };
    drop(call);
    let make = move |gallery: &_| Ok(thumb(gallery, row, side, &known, &limits)?);
    let Thumb { tag, png } = app.on_shelf(Work::Thumbnail, make).await?;
    let status = if png.is_some() { 200 } else { 304 };
    let reply = Reply::of("image/png", png.unwrap_or_default()).with_status(status);
    // Numbers of rows begin anew with another index, so browsers ask again each time.
    Ok(reply.with("etag", tag).with("cache-control", "private, no-cache"))
}

/// The last part of a path: digits alone.
fn row(path: &str) -> Result<u64, RequestError> {
    let text = path.rsplit('/').next().unwrap_or_default();
    number(text).ok_or_else(|| RequestError::BadValue {
        place: "row".to_owned(),
        expected: "the number of a row".to_owned(),
        found: shown(text),
    })
}

/// `w=` of a query.
fn side(query: Option<&str>) -> Result<usize, RequestError> {
    let Some(query) = query else { return Ok(DEFAULT_SIDE) };
    let side = query.strip_prefix("w=").and_then(number).and_then(|side| usize::try_from(side).ok());
    side.filter(|side| SIDES.contains(side)).ok_or_else(|| RequestError::BadValue {
        place: "w".to_owned(),
        expected: format!("`w={}` to `w={}`", SIDES.start(), SIDES.end()),
        found: shown(query),
    })
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}
