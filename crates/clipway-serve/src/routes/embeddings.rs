//! `/v1/embeddings`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{self, App, Call, Features, How, Reply};
use crate::error::RequestError;
use crate::parse::{Encoding, parse_embeddings};

/// An embedding, as OpenAI answers it.
#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// The values of an embedding.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

impl Vector {
    /// Little-endian f32 in base 64.
    pub fn base64(row: &[f32]) -> Vector {
        let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        Vector::Base64(STANDARD.encode(bytes))
    }
}

/// The answer.
#[derive(Serialize)]
struct Embeddings<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Value>,
}

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let Call { body, held, .. } = call;
    let request = app.parsed(body, parse_embeddings).await?;
    let how = How { normalize: request.normalize, truncate: request.truncate };
    let features = app.embed(request.inputs, how).await?;
    drop(held);
    let Features { rows, tokens, truncated, times, .. } = features;
    let (mut data, mut errors) = (Vec::with_capacity(rows.len()), Vec::new());
    for (index, row) in rows.into_iter().enumerate() {
        match row {
            Ok(row) => {
                let embedding = match request.encoding {
                    Encoding::Float => Vector::Float(row),
                    Encoding::Base64 => Vector::base64(&row),
                };
                data.push(Embedding { object: "embedding", index, embedding });
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() && (!request.partial || data.is_empty()) {
        return Err(RequestError::Inputs(errors));
    }
    let errors = (!errors.is_empty()).then(|| app::inputs(&errors));
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    let answer = Embeddings { object: "list", data, model: app.model.name(), usage, errors };
    Ok(Features::stamp(times, truncated, Reply::json(&answer)))
}
