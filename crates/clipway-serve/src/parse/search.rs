//! `/v1/search`: what is added and subtracted to get a query, and which images may be found.

use std::path::PathBuf;

use clipway_formats::{JsonCursor, JsonValue};

use super::common::{Input, ParseLimits, many, not_one_of, optional, word};
use super::image::image;
use crate::error::RequestError;
use crate::gallery::{GalleryFilter, GalleryOptions, MOST_RESULTS};

/// Results of a request that does not say how many.
const DEFAULT_RESULTS: usize = 10;

/// A request to search the index.
#[derive(Debug, PartialEq)]
pub struct SearchRequest {
    /// What is summed.
    pub terms: Vec<SearchTerm>,
    /// What to find.
    pub options: GalleryOptions,
}

/// A term and what it counts.
#[derive(Debug, PartialEq)]
pub struct SearchTerm {
    /// The term.
    pub what: SearchFor,
    /// Below 0 for a term that is subtracted.
    pub weight: f32,
}

/// What a term stands for.
#[derive(Debug, PartialEq)]
pub enum SearchFor {
    /// A text or an image, for the model.
    Input(Input),
    /// A row of the index.
    Row(u64),
    /// The row of a file, by its path in the index.
    Path(PathBuf),
}

/// Parses a request: one of `text`, `image` and `like`; `plus` and `minus`; `limit`, `min_score`, `filter`.
///
/// # Errors
/// [`RequestError`], with the path of what is wrong.
pub fn parse_search(body: &[u8], limits: &ParseLimits) -> Result<SearchRequest, RequestError> {
    let json = limits.json(body)?;
    let root = json.root();
    root.only_keys(&["model", "text", "image", "like", "plus", "minus", "limit", "min_score", "filter"])?;
    limits.check_model(word(&root, "model")?)?;
    let filter =
        optional(&root, "filter")?.map_or(Ok(GalleryFilter::default()), |filter| self::filter(&filter))?;
    let limit =
        optional(&root, "limit")?.map_or(Ok(DEFAULT_RESULTS), |limit| limit.integer(1, MOST_RESULTS))?;
    let min_score = optional(&root, "min_score")?.map(|score| finite(&score)).transpose()?;
    let options = GalleryOptions { limit, min_score, filter };
    let mut terms: Vec<SearchTerm> = term(&root, 1.0, limits)?.into_iter().collect();
    for (key, sign) in [("plus", 1.0), ("minus", -1.0)] {
        for one in many(&root, key)? {
            terms.push(change(&one, sign, limits)?);
        }
    }
    if terms.is_empty() {
        let message = "there is nothing to search for: no `text`, `image`, `like`, `plus` or `minus`";
        return Err(RequestError::Missing(message.to_owned()));
    }
    limits.check_count(terms.len())?;
    Ok(SearchRequest { terms, options })
}

/// A term that is added or subtracted: a text, or an object with one of `text`, `image` and `like`, and a `weight`.
fn change(cursor: &JsonCursor<'_>, sign: f32, limits: &ParseLimits) -> Result<SearchTerm, RequestError> {
    if let JsonValue::String(text) = cursor.value() {
        return Ok(SearchTerm { what: SearchFor::Input(limits.text(cursor.path(), text)?), weight: sign });
    }
    cursor.only_keys(&["text", "image", "like", "weight"])?;
    let weight = optional(cursor, "weight")?.map_or(Ok(1.0), |weight| finite(&weight))?;
    let missing = || RequestError::Missing(format!("`{}` has no `text`, `image` or `like`", cursor.path()));
    term(cursor, sign * weight, limits)?.ok_or_else(missing)
}

/// The one of `text`, `image` and `like` that an object has, if any.
fn term(
    object: &JsonCursor<'_>,
    weight: f32,
    limits: &ParseLimits,
) -> Result<Option<SearchTerm>, RequestError> {
    let mut given = Vec::new();
    for key in ["text", "image", "like"] {
        given.extend(optional(object, key)?.map(|cursor| (key, cursor)));
    }
    let what = match given.as_slice() {
        [] => return Ok(None),
        [("text", text)] => SearchFor::Input(limits.text(text.path(), text.string()?)?),
        [("image", data)] => SearchFor::Input(image(data, true, limits)?),
        [(_, like)] => match like.value() {
            JsonValue::String(path) => {
                limits.check_text(like.path(), path.len())?;
                SearchFor::Path(PathBuf::from(path))
            }
            _ => SearchFor::Row(like.integer(0, usize::MAX)? as u64),
        },
        [_, (_, second), ..] => {
            return Err(RequestError::BadValue {
                place: second.path().to_owned(),
                expected: "one of `text`, `image` and `like`".to_owned(),
                found: "several".to_owned(),
            });
        }
    };
    Ok(Some(SearchTerm { what, weight }))
}

/// A number that f32 can hold.
fn finite(cursor: &JsonCursor<'_>) -> Result<f32, RequestError> {
    let number = cursor.number()? as f32;
    match number.is_finite() {
        true => Ok(number),
        false => Err(not_one_of(cursor, "a number that f32 can hold")),
    }
}

fn filter(cursor: &JsonCursor<'_>) -> Result<GalleryFilter, RequestError> {
    cursor.only_keys(&["path", "after", "before", "min_size", "orientation"])?;
    let owned = |key| Ok::<_, RequestError>(word(cursor, key)?.map(str::to_owned));
    let mut path = Vec::new();
    for pattern in many(cursor, "path")? {
        path.push(pattern.string()?.to_owned());
    }
    let min_size = match optional(cursor, "min_size")? {
        Some(size) if matches!(size.value(), JsonValue::String(_)) => Some(size.string()?.to_owned()),
        Some(size) => Some(size.integer(0, usize::MAX)?.to_string()),
        None => None,
    };
    let orientation = owned("orientation")?;
    Ok(GalleryFilter { path, after: owned("after")?, before: owned("before")?, min_size, orientation })
}
