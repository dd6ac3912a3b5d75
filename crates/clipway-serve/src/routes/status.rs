//! Health, metrics, and what the server is.

use serde_json::json;

use crate::app::{App, Call, Reply};
use crate::engine::Kind;
use crate::error::RequestError;
use crate::metrics::Gauges;

/// The page for browsers; for others, the greeting that immich asks for.
pub(super) fn root(app: &App, call: &Call) -> Reply {
    match call.wants_page() {
        true => Reply::of("text/html; charset=utf-8", app.page.html.clone())
            .with("content-security-policy", app.page.policy.clone())
            .with("cache-control", "no-cache"),
        false => Reply::json(&json!({ "message": "clipway", "model": app.model })),
    }
}

/// Whether requests would be answered: the engine's own account, not that of this thread.
pub(super) fn ready(app: &App) -> Result<Reply, RequestError> {
    if *app.stopping.borrow() {
        return Err(RequestError::NotReady("the server is stopping".to_owned()));
    }
    if let Some(trouble) = app.engine.trouble() {
        return Err(RequestError::NotReady(trouble));
    }
    let test = json!({ "passed": true, "compared_with": "this run's first result" });
    Ok(Reply::json(&json!({ "status": "ready", "model": app.model, "self_test": test })))
}

/// Everything that is counted.
pub(super) fn metrics(app: &App) -> Reply {
    let gauges = Gauges {
        queue: Kind::ALL.map(|kind| (kind, app.engine.admitted(kind))),
        name: app.model.name(),
        fingerprint: app.model.fingerprint.as_deref().unwrap_or_default(),
        width: app.clip.embed_dim(),
    };
    Reply::of("text/plain; version=0.0.4; charset=utf-8", app.metrics.text(&gauges))
}

/// OpenAI's list of models.
pub(super) fn models(app: &App) -> Reply {
    let one = |name: &String| json!({ "id": name, "object": "model", "created": 0, "owned_by": "clipway" });
    Reply::json(&json!({ "object": "list", "data": app.model.names.iter().map(one).collect::<Vec<_>>() }))
}

/// text-embeddings-inference's description, with what is clipway's own beside it.
pub(super) fn info(app: &App) -> Reply {
    let limits = &app.limits;
    let context = app.clip.text_input().map_or(0, |[context, _]| context);
    Reply::json(&json!({
        "model_id": app.model.name(),
        "model_sha": app.model.fingerprint,
        "model_dtype": "float32",
        "model_type": { "embedding": { "pooling": "cls" } },
        "max_concurrent_requests": limits.connections,
        "max_input_length": context,
        "max_batch_tokens": context * limits.inputs,
        "max_client_batch_size": limits.inputs,
        "auto_truncate": true,
        "tokenization_workers": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "dimensions": app.clip.embed_dim(),
        "images": app.clip.has_image_tower(),
        "texts": app.clip.has_text_tower() && app.clip.has_tokenizer(),
        "fetches_images": app.fetcher.is_some(),
        "index": app.shelf.as_ref().map(|shelf| json!({ "rows": shelf.gallery.rows() })),
        "verified": app.model.verified,
        "verification": app.model.verification,
        "clipway": app.model,
    }))
}
