//! Answers, and errors in each service's own shape.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::error::RequestError;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// An answer of 200.
    pub fn of(content_type: &'static str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, content_type, body: body.into(), headers: Vec::new() }
    }

    /// JSON, as `serde_json` writes it. What is answered here always can be written.
    pub fn json(value: &impl serde::Serialize) -> Reply {
        Reply::of("application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    /// The same with another status.
    pub fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The response for the HTTP library.
    pub fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(self.content_type));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// Whose shape an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// text-embeddings-inference: `{"error", "error_type"}`.
    Tei,
    /// Cohere: `{"message"}`.
    Cohere,
    /// immich and others made with FastAPI: `{"detail"}`.
    FastApi,
}

impl Style {
    /// The answer to a refused request.
    pub fn error(self, error: &RequestError) -> Reply {
        let (mut status, code, message) = (error.status(), error.code(), error.to_string());
        let mut body = match self {
            Style::OpenAi => {
                let kind = match status {
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    429 => "rate_limit_error",
                    500.. => "server_error",
                    _ => "invalid_request_error",
                };
                json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
            }
            Style::Tei => {
                let kind = match status {
                    429 => "Overloaded",
                    503 => "Unhealthy",
                    500.. => "Backend",
                    _ => "Validation",
                };
                // Its own statuses for what it does not take and for a failed model.
                status = match status {
                    400 => 422,
                    500 => 424,
                    other => other,
                };
                json!({ "error": message, "error_type": kind, "code": code })
            }
            Style::Cohere => json!({ "message": message, "code": code }),
            Style::FastApi => json!({ "detail": message, "code": code }),
        };
        if let RequestError::Inputs(errors) = error {
            body["errors"] = inputs(errors);
        }
        let reply = Reply::json(&body).with_status(status);
        let reply = match error.retry_after() {
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
            None => reply,
        };
        match error {
            RequestError::Unauthorized => reply.with("www-authenticate", "Bearer"),
            RequestError::Method(methods) => reply.with("allow", *methods),
            _ => reply,
        }
    }
}

/// The refused inputs of a request, as JSON.
pub(crate) fn inputs(errors: &[crate::error::InputError]) -> Value {
    let one = |error: &crate::error::InputError| json!({ "index": error.index, "code": error.code(), "message": error.cause.to_string() });
    Value::Array(errors.iter().map(one).collect())
}

/// The value of a `Server-Timing` header.
pub(crate) fn server_timing(parts: &[(&str, Duration)]) -> String {
    let one = |(name, time): &(&str, Duration)| format!("{name};dur={:.1}", time.as_secs_f64() * 1e3);
    parts.iter().map(one).collect::<Vec<_>>().join(", ")
}
