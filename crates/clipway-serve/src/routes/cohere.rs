//! `/v2/embed` of Cohere.

use serde::Serialize;
use serde_json::{Value, json};

use super::embeddings::Vector;
use crate::app::{App, Call, Features, How, Reply};
use crate::error::RequestError;
use crate::parse::{CohereRequest, Input, parse_cohere};

/// The answer.
#[derive(Serialize)]
struct Answer {
    id: String,
    embeddings: Embeddings,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<String>>,
    meta: Value,
    response_type: &'static str,
}

/// The embeddings in each of the requested forms.
#[derive(Serialize)]
struct Embeddings {
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<Vec<Vector>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<Vector>>,
}

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let Call { id, body, held, .. } = call;
    let CohereRequest { inputs, float, base64, truncate } = app.parsed(body, parse_cohere).await?;
    let text = |input: &Input| match input {
        Input::Text(text) => Some(text.clone()),
        Input::Image(_) | Input::Remote(_) => None,
    };
    let (texts, count): (Vec<String>, usize) = (inputs.iter().filter_map(text).collect(), inputs.len());
    let features = app.embed(inputs, How { truncate, ..How::default() }).await?;
    drop(held);
    let (times, truncated, tokens) = (features.times, features.truncated, features.tokens);
    let rows = features.whole()?;
    let embeddings = Embeddings {
        base64: base64.then(|| rows.iter().map(|row| Vector::base64(row)).collect()),
        float: float.then(|| rows.into_iter().map(Vector::Float).collect()),
    };
    let units = json!({ "input_tokens": tokens, "images": count - texts.len() });
    let answer = Answer {
        id,
        embeddings,
        texts: (!texts.is_empty()).then_some(texts),
        meta: json!({ "api_version": { "version": "2" }, "billed_units": units, "tokens": { "input_tokens": tokens } }),
        response_type: "embeddings_by_type",
    };
    Ok(Features::stamp(times, truncated, Reply::json(&answer)))
}
