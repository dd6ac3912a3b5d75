//! The routes, one file for each service.

mod classify;
mod cohere;
mod embeddings;
mod immich;
mod search;
mod status;
mod tei;
mod thumb;

use crate::app::{App, Call, Reply, Style};
use crate::engine::Kind;
use crate::error::RequestError;

/// A route.
pub(crate) struct Route {
    pub method: &'static str,
    pub path: &'static str,
    handler: Handler,
    /// Whose shape its errors have.
    pub style: Style,
    /// Whether it needs no key.
    pub is_open: bool,
    /// Whether it waits for room instead of being refused.
    pub patient: bool,
    /// What it may ask the model for.
    pub kinds: &'static [Kind],
}

/// What a route does.
#[derive(Clone, Copy)]
enum Handler {
    Root,
    Live,
    Ready,
    Ping,
    Metrics,
    OpenApi,
    Models,
    Info,
    Embeddings,
    Tei,
    Cohere,
    Classify,
    Search,
    Thumb,
    Predict,
}

const fn get(path: &'static str, handler: Handler, style: Style, is_open: bool) -> Route {
    Route { method: "GET", path, handler, style, is_open, patient: false, kinds: &[] }
}

const fn post(path: &'static str, handler: Handler, style: Style, kinds: &'static [Kind]) -> Route {
    Route { method: "POST", path, handler, style, is_open: false, patient: false, kinds }
}

/// Every route. `page/openapi.json` describes the same.
pub(crate) const ROUTES: [Route; 18] = [
    get("/", Handler::Root, Style::FastApi, true),
    get("/livez", Handler::Live, Style::OpenAi, true),
    get("/readyz", Handler::Ready, Style::OpenAi, true),
    get("/health", Handler::Ready, Style::Tei, true),
    get("/ping", Handler::Ping, Style::FastApi, true),
    get("/metrics", Handler::Metrics, Style::OpenAi, false),
    get("/openapi.json", Handler::OpenApi, Style::OpenAi, false),
    get("/v1/models", Handler::Models, Style::OpenAi, false),
    get("/models", Handler::Models, Style::OpenAi, false),
    get("/info", Handler::Info, Style::Tei, false),
    post("/v1/embeddings", Handler::Embeddings, Style::OpenAi, &Kind::ALL),
    post("/embeddings", Handler::Embeddings, Style::OpenAi, &Kind::ALL),
    post("/embed", Handler::Tei, Style::Tei, &[Kind::Text]),
    post("/v2/embed", Handler::Cohere, Style::Cohere, &Kind::ALL),
    post("/v1/classify", Handler::Classify, Style::OpenAi, &[Kind::Image]),
    post("/v1/search", Handler::Search, Style::OpenAi, &Kind::ALL),
    get("/thumb/{row}", Handler::Thumb, Style::OpenAi, false),
    Route { patient: true, ..post("/predict", Handler::Predict, Style::FastApi, &Kind::ALL) },
];

/// The route of a path. Where a route ends with a name in braces, that stands for one part of the path.
pub(crate) fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| match route.path.split_once('{') {
        Some((start, _)) => path.strip_prefix(start).is_some_and(|part| !part.contains('/')),
        None => route.path == path,
    })
}

/// Answers a call of a route.
pub(crate) async fn call(app: &App, route: &Route, call: Call) -> Result<Reply, RequestError> {
    match route.handler {
        Handler::Root => Ok(status::root(app, &call)),
        Handler::Live => Ok(Reply::of("text/plain; charset=utf-8", "live")),
        Handler::Ready => status::ready(app),
        Handler::Ping => Ok(Reply::of("text/plain; charset=utf-8", "pong")),
        Handler::Metrics => Ok(status::metrics(app)),
        Handler::OpenApi => Ok(Reply::of("application/json", app.page.openapi.clone())),
        Handler::Models => Ok(status::models(app)),
        Handler::Info => Ok(status::info(app)),
        Handler::Embeddings => embeddings::call(app, call).await,
        Handler::Tei => tei::call(app, call).await,
        Handler::Cohere => cohere::call(app, call).await,
        Handler::Classify => classify::call(app, call).await,
        Handler::Search => search::call(app, call).await,
        Handler::Thumb => thumb::call(app, call).await,
        Handler::Predict => immich::call(app, call).await,
    }
}

#[cfg(test)]
mod tests {
    use super::ROUTES;
    use crate::page::Page;

    #[test]
    fn the_description_names_every_route_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(&Page::new().openapi).unwrap();
        let mut found = Vec::new();
        for (path, item) in described["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
                found.push((method.to_uppercase(), path.clone(), is_open));
            }
        }
        let mut expected: Vec<(String, String, bool)> = ROUTES
            .iter()
            .map(|route| (route.method.to_owned(), route.path.to_owned(), route.is_open))
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        for pointer in described.to_string().split("\"$ref\":\"#").skip(1) {
            let pointer = pointer.split('"').next().unwrap();
            assert!(described.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
