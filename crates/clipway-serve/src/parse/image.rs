//! Images in JSON: data URIs, addresses of allowed hosts, and base 64 alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clipway_formats::JsonCursor;

use super::common::{Input, ParseLimits, within};
use crate::error::RequestError;

/// An image from a string: `data:image/*;base64,…`, the address of an image of an allowed host, or base 64 alone where the
/// route's own service takes that.
///
/// # Errors
/// An address that is not allowed, another kind of data URI, text that is not base 64, and an image over the limit.
pub(super) fn image(
    cursor: &JsonCursor<'_>,
    takes_bare: bool,
    limits: &ParseLimits,
) -> Result<Input, RequestError> {
    let text = cursor.string()?;
    let place = || cursor.path().to_owned();
    let digits = match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => {
            let (kind, digits) = text[5..].split_once(',').unwrap_or(("", ""));
            let kind = kind.to_ascii_lowercase();
            let format = kind.strip_prefix("image/").and_then(|kind| kind.strip_suffix(";base64"));
            let is_name = |name: &str| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-*".contains(&b))
            };
            if !format.is_some_and(is_name) {
                let expected = "`data:image/…;base64,…`".to_owned();
                return Err(RequestError::BadValue {
                    place: place(),
                    expected,
                    found: "another data URI".to_owned(),
                });
            }
            digits
        }
        // No colon is in the alphabet of base 64.
        _ if text.contains(':') || !takes_bare => return remote(text, cursor.path(), limits),
        _ => text,
    };
    // The last four digits may stand for one byte.
    within(cursor.path(), (digits.len() / 4 * 3).saturating_sub(2), limits.image_bytes)?;
    let bytes = STANDARD.decode(digits).map_err(|error| RequestError::BadValue {
        place: place(),
        expected: "base 64".to_owned(),
        found: error.to_string(),
    })?;
    checked(bytes, cursor.path(), limits)
}

/// The address of an image elsewhere.
fn remote(text: &str, place: &str, limits: &ParseLimits) -> Result<Input, RequestError> {
    let place = place.to_owned();
    match limits.image_hosts.is_empty() {
        true => Err(RequestError::RemoteImage { place }),
        false => limits
            .image_hosts
            .address(text)
            .map(Input::Remote)
            .map_err(|reason| RequestError::ImageAddress { place, reason }),
    }
}

/// An image file, within its limit.
pub(super) fn checked(bytes: Vec<u8>, place: &str, limits: &ParseLimits) -> Result<Input, RequestError> {
    within(place, bytes.len(), limits.image_bytes)?;
    Ok(Input::Image(bytes))
}
