//! `/embed` of text-embeddings-inference.

use crate::app::{App, Call, Features, How, Reply};
use crate::error::RequestError;
use crate::parse::parse_tei;

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let Call { body, held, .. } = call;
    let request = app.parsed(body, parse_tei).await?;
    let how = How { normalize: request.normalize, truncate: request.truncate };
    let features = app.embed(request.inputs, how).await?;
    drop(held);
    let (times, truncated, tokens) = (features.times, features.truncated, features.tokens);
    let milliseconds = |time: std::time::Duration| time.as_millis().to_string();
    let reply = Reply::json(&features.whole()?)
        .with("x-compute-type", "cpu")
        .with("x-compute-tokens", tokens.to_string())
        .with("x-tokenization-time", milliseconds(times[0]))
        .with("x-queue-time", milliseconds(times[1]))
        .with("x-inference-time", milliseconds(times[2]));
    Ok(Features::stamp(times, truncated, reply))
}
