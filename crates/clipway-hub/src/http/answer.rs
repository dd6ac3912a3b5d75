//! What the status and headers of an answer mean.

use std::io::Read;
use std::time::Duration;

use clipway_formats::{Json, JsonLimits, JsonValue};

use super::{Answer, Http};
use crate::HubError;

/// Most bytes that are read of an error's text.
const ERROR_TEXT: u64 = 16 << 10;

/// What a request is about, for messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    pub repo: &'a str,
    pub revision: &'a str,
    pub file: &'a str,
    /// Statuses that the caller handles.
    pub handles: &'a [u16],
}

/// A refused request, and how long to wait before another attempt makes sense.
pub(crate) struct Refusal {
    pub error: HubError,
    pub wait: Option<Duration>,
}

impl About<'_> {
    /// Returns an answer that is fine, a redirect or one that the caller handles.
    pub fn judge(&self, answer: Answer, http: &Http, attempt: u32) -> Result<Answer, Refusal> {
        let status = answer.status();
        if status < 400 || self.handles.contains(&status) {
            return Ok(answer);
        }
        let host = answer.address.host();
        let is_hub = http.is_hub(&answer.address);
        let wait = match status {
            429 => Some(asked_pause(&answer).unwrap_or(2 * http.backoff(attempt).as_secs().max(1))),
            _ => None,
        };
        if let Some(seconds) = wait {
            return Err(Refusal { error: HubError::RateLimited { seconds }, wait: http.asked(seconds) });
        }
        let kind = answer.header("x-error-code").unwrap_or_default().to_owned();
        let said = said(answer, http);
        let lower = said.to_lowercase();
        if matches!(status, 408 | 409 | 500 | 502 | 503 | 504)
            && (status != 409 || lower.contains("conflicting"))
        {
            let error = HubError::Unavailable { host, status, attempts: attempt, said };
            return Err(Refusal { error, wait: Some(http.backoff(attempt)) });
        }
        let (repo, revision) = (self.repo.to_owned(), self.revision.to_owned());
        let error = match (kind.as_str(), status) {
            _ if !is_hub => HubError::Refused { host, status, said },
            _ if lower.contains("access to this resource is disabled") => HubError::Disabled { repo, said },
            _ if lower.contains("invalid credentials") => HubError::BadToken { said },
            ("GatedRepo", _) => HubError::Gated { page: format!("{}/{repo}", http.endpoint()), repo, said },
            ("RevisionNotFound", _) => HubError::NoRevision { repo, revision, said },
            ("EntryNotFound", _) => HubError::NoFile { repo, file: self.file.to_owned(), revision },
            ("RepoNotFound", _) | (_, 401) | (_, 404) => HubError::NoRepository { repo, said },
            (_, 402 | 403) => HubError::Forbidden { repo, said },
            _ => HubError::Refused { host, status, said },
        };
        Err(Refusal { error, wait: None })
    }
}

/// The pause that a rate limit asks for, in seconds.
fn asked_pause(answer: &Answer) -> Option<u64> {
    let limit = answer.header("ratelimit").and_then(|text| {
        text.split(';').find_map(|part| part.trim().strip_prefix("t=")?.parse::<u64>().ok())
    });
    let after = || answer.header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
    limit.map(|seconds| seconds.saturating_add(1)).or_else(after)
}

/// What a server said about an error, and the request's id: `: text (request id)`, escaped and shortened.
fn said(answer: Answer, http: &Http) -> String {
    let ids = ["x-request-id", "x-amzn-trace-id", "x-amz-cf-id"];
    let id = ids.iter().find_map(|name| answer.header(name)).map(str::to_owned);
    let header = answer.header("x-error-message").map(str::to_owned);
    let text = header.or_else(|| {
        let mut bytes = Vec::new();
        answer.response.into_body().into_reader().take(ERROR_TEXT).read_to_end(&mut bytes).ok()?;
        message(&bytes)
    });
    let mut out = String::new();
    if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
        out.push_str(&format!(": the server says `{}`", http.safe(text.trim())));
    }
    if let Some(id) = id {
        out.push_str(&format!(" (request {})", http.safe(&id)));
    }
    out
}

/// The message of an error's body.
fn message(bytes: &[u8]) -> Option<String> {
    let text = |value: &JsonValue| match value {
        JsonValue::String(text) => Some(text.clone()),
        _ => None,
    };
    let json = match Json::parse(bytes, JsonLimits::CONFIG) {
        Ok(json) => json,
        Err(_) => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
            return (!start.trim_start().starts_with('<')).then_some(start);
        }
    };
    let JsonValue::Object(members) = json.value else { return None };
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| &value.value);
    let list = |value: &JsonValue| match value {
        JsonValue::Array(items) => {
            let one = |item: &Json| match &item.value {
                JsonValue::Object(members) => {
                    members.iter().find(|(key, _)| key == "message").and_then(|(_, value)| text(&value.value))
                }
                value => text(value),
            };
            Some(items.iter().take(5).filter_map(one).collect::<Vec<_>>().join("; "))
        }
        value => text(value),
    };
    ["error", "errors", "error_description", "message"].iter().find_map(|name| find(name).and_then(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(message(body.as_bytes()).as_deref(), expected, "{body}");
        };
        check(r#"{"error":"no such thing"}"#, Some("no such thing"));
        check(r#"{"error":["a","b"]}"#, Some("a; b"));
        check(r#"{"errors":[{"message":"bad license"}]}"#, Some("bad license"));
        check("plain", Some("plain"));
        check("<html>", None);
        check("[1]", None);
    }
}
