//! `/predict` as immich's machine learning service defines it.

use clipway_formats::{JsonCursor, shown};

use super::common::{Input, ParseLimits, unsupported};
use super::image::checked;
use super::multipart::{boundary, parts};
use crate::error::RequestError;

/// A request of immich: one image or one text.
#[derive(Debug, PartialEq)]
pub struct PredictRequest {
    /// What to embed.
    pub input: Input,
}

/// Parses a request. The `Content-Type` names the boundary of the parts.
///
/// # Errors
/// [`RequestError`]; [`RequestError::Task`] for tasks of other models.
pub fn parse_predict(
    content_type: &str,
    body: &[u8],
    limits: &ParseLimits,
) -> Result<PredictRequest, RequestError> {
    let (mut entries, mut image, mut text) = (None, None, None);
    for part in parts(body, boundary(content_type)?)? {
        match part.name.as_str() {
            "entries" => entries = Some(part.bytes),
            "image" => image = Some(part.bytes),
            "text" => text = Some(part.bytes),
            _ => return Err(RequestError::Multipart("a part is not `entries`, `image` or `text`")),
        }
    }
    let entries = entries.ok_or(RequestError::Missing("the part `entries` is missing".to_owned()))?;
    let json = limits.json(entries)?;
    let root = json.root();
    for (task, _) in root.members()? {
        if task != "clip" {
            return Err(RequestError::Task(shown(task)));
        }
    }
    let task = root.require("clip")?;
    let wanted: Vec<(&str, JsonCursor<'_>)> = task.members()?.collect();
    let [(kind, model)] = &wanted[..] else {
        return Err(unsupported("$.clip", "anything but one of `visual` and `textual`"));
    };
    model.only_keys(&["modelName", "options"])?;
    limits.check_model(Some(model.require("modelName")?.string()?))?;
    let input = match (*kind, image, text) {
        ("visual", Some(bytes), _) => checked(bytes.to_vec(), "image", limits)?,
        ("textual", _, Some(bytes)) => {
            let text =
                std::str::from_utf8(bytes).map_err(|_| RequestError::Multipart("`text` is not UTF-8"))?;
            limits.text("text", text)?
        }
        ("visual", None, _) => return Err(RequestError::Missing("the part `image` is missing".to_owned())),
        ("textual", _, None) => return Err(RequestError::Missing("the part `text` is missing".to_owned())),
        _ => return Err(RequestError::Task(format!("clip.{}", shown(kind)))),
    };
    Ok(PredictRequest { input })
}
