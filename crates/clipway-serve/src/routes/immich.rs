//! `/predict` of immich's machine learning service.

use serde_json::{Map, Value};

use crate::app::{App, Call, Features, How, Reply};
use crate::error::RequestError;
use crate::parse::parse_predict;

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let content_type = call.content_type().to_owned();
    let Call { body, held, .. } = call;
    let request = app.parsed(body, move |body, limits| parse_predict(&content_type, body, limits)).await?;
    // The input was accepted with its body.
    let features = app.encode(vec![request.input], How::default(), held).await?;
    let (times, size) = (features.times, features.sizes[0]);
    let rows = features.whole()?;
    // A string that holds a list: what the database of the client takes.
    let vector = serde_json::to_string(rows.first().map_or(&[][..], Vec::as_slice)).unwrap_or_default();
    let mut answer = Map::new();
    answer.insert("clip".to_owned(), Value::String(vector));
    if let Some([width, height]) = size {
        answer.insert("imageHeight".to_owned(), height.into());
        answer.insert("imageWidth".to_owned(), width.into());
    }
    Ok(Features::stamp(times, 0, Reply::json(&answer)))
}
