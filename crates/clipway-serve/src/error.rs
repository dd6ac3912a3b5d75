//! Why a request is refused.

use std::time::Duration;

use clipway_fetch::{AddressError, FetchError};
use clipway_formats::FormatError;
use clipway_run::clip::ClipError;
use clipway_run::image::ImageError;
use clipway_run::zero_shot::TemplateError;

use crate::engine::{EngineError, Refused};
use crate::gallery::GalleryError;

/// A request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body is not the JSON that the route takes.
    #[error(transparent)]
    Json(#[from] FormatError),
    /// A value that the route or the model does not take.
    #[error("`{place}`: expected {expected}, found {found}")]
    BadValue {
        /// Where it is.
        place: String,
        /// What is taken.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Something valid that this server does not do.
    #[error("`{place}`: {what} is not supported")]
    Unsupported {
        /// Where it is.
        place: String,
        /// What is not supported.
        what: String,
    },
    /// Something that the route needs is not in the request.
    #[error("{0}")]
    Missing(String),
    /// The request names another model.
    #[error("the model is {}, not `{asked}`", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))]
    UnknownModel {
        /// The name in the request.
        asked: String,
        /// The names of the model.
        names: Vec<String>,
    },
    /// Something is over a limit.
    #[error("{what}: {found} {unit}, more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        found: u64,
        /// What is counted.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The body is too large, as its length says or as it arrives.
    #[error("the body has more than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body is not multipart as browsers and libraries send it.
    #[error("multipart: {0}")]
    Multipart(&'static str),
    /// The address of an image elsewhere.
    #[error("`{place}`: this server fetches nothing; send the image as `data:image/…;base64,…`")]
    RemoteImage {
        /// Where it is.
        place: String,
    },
    /// The address of an image that is not allowed.
    #[error("`{place}`: {reason}")]
    ImageAddress {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        reason: AddressError,
    },
    /// Inputs that the model refuses.
    #[error("{}", described(.0))]
    Inputs(Vec<InputError>),
    /// A prompt template without a place for the label.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text is longer than the context, and the request forbids to truncate it.
    #[error("input {index} is longer than the model's context of {context} tokens")]
    TooLong {
        /// Index of the text.
        index: usize,
        /// The context.
        context: usize,
    },
    /// The server does not accept it now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The engine failed.
    #[error(transparent)]
    Engine(EngineError),
    /// The server is not ready.
    #[error("{0}")]
    NotReady(String),
    /// The body arrives too slowly.
    #[error("the body arrives too slowly")]
    Slow,
    /// The body is chunked, and its chunks are not as HTTP has them.
    #[error("the chunks of the body are malformed")]
    Chunks,
    /// The body is compressed.
    #[error("the body has a Content-Encoding, which this server does not undo")]
    Encoded,
    /// The connection broke while the body arrived.
    #[error("the body ended early")]
    Cut,
    /// The request took too long.
    #[error("the request took longer than {:.0} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// No key, or a wrong one.
    #[error("this server needs an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`")]
    Unauthorized,
    /// The request comes from a page elsewhere, or its `Host` is not this server's.
    #[error("`{header}: {found}` is not an address of this server")]
    Host {
        /// The header.
        header: &'static str,
        /// Its value.
        found: String,
    },
    /// The server has no index.
    #[error("this server has no index to search")]
    NoIndex,
    /// The index has no answer.
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    /// No such route.
    #[error("there is no route `{0}`")]
    NoRoute(String),
    /// Another method.
    #[error("this route takes {0}")]
    Method(&'static str),
    /// A task of immich that a CLIP model cannot do.
    #[error("the task `{0}` is not one of a CLIP model; this server does `clip`")]
    Task(String),
}

/// An input that the model refuses.
#[derive(Clone, Debug, thiserror::Error)]
#[error("input {index}: {cause}")]
#[non_exhaustive]
pub struct InputError {
    /// Index of the input in the request.
    pub index: usize,
    /// The reason.
    pub cause: InputCause,
}

/// Why the model refuses an input.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputCause {
    /// An image that cannot be decoded.
    #[error(transparent)]
    Image(ImageError),
    /// An image that cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A text that cannot be tokenized, or a model without that tower.
    #[error(transparent)]
    Clip(std::sync::Arc<ClipError>),
    /// The engine has no features for it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl InputError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match &self.cause {
            InputCause::Image(error) => error.code(),
            InputCause::Fetch(error) => error.code(),
            InputCause::Clip(error) => error.code(),
            InputCause::Engine(error) => error.code(),
        }
    }
}

fn described(errors: &[InputError]) -> String {
    match errors {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
        [] => String::new(),
    }
}

impl RequestError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::Json(error) => error.code.name(),
            RequestError::BadValue { .. } | RequestError::Template(_) => "bad-value",
            RequestError::Unsupported { .. } | RequestError::Encoded => "unsupported",
            RequestError::Missing(_) => "missing",
            RequestError::UnknownModel { .. } => "unknown-model",
            RequestError::TooLarge { .. }
            | RequestError::BodyTooLarge { .. }
            | RequestError::TooLong { .. } => "too-large",
            RequestError::Multipart(_) | RequestError::Chunks => "malformed",
            RequestError::RemoteImage { .. } => "serve-remote-image",
            RequestError::ImageAddress { reason, .. } => reason.code(),
            RequestError::Inputs(errors) => errors.first().map_or("internal", InputError::code),
            RequestError::Refused(error) => error.code(),
            RequestError::Engine(error) => error.code(),
            RequestError::NotReady(_) => "serve-not-ready",
            RequestError::Slow => "serve-slow",
            RequestError::Cut => "truncated",
            RequestError::Timeout(_) => "serve-timeout",
            RequestError::Unauthorized => "serve-unauthorized",
            RequestError::Host { .. } => "serve-host",
            RequestError::NoIndex => "serve-no-index",
            RequestError::Gallery(error) => error.code(),
            RequestError::NoRoute(_) => "serve-no-route",
            RequestError::Method(_) => "serve-method",
            RequestError::Task(_) => "serve-task",
        }
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            RequestError::Json(_)
            | RequestError::BadValue { .. }
            | RequestError::Unsupported { .. }
            | RequestError::Missing(_)
            | RequestError::Multipart(_)
            | RequestError::RemoteImage { .. }
            | RequestError::ImageAddress { .. }
            | RequestError::Template(_)
            | RequestError::TooLong { .. }
            | RequestError::Chunks
            | RequestError::Cut => 400,
            RequestError::Inputs(errors) => match errors.first().map(|error| &error.cause) {
                Some(InputCause::Engine(error)) => engine_status(error),
                Some(InputCause::Fetch(FetchError::NoRoom)) => 503,
                _ => 400,
            },
            RequestError::Unauthorized => 401,
            RequestError::Host { .. } => 403,
            RequestError::Gallery(error) => error.status(),
            RequestError::UnknownModel { .. } | RequestError::NoIndex | RequestError::NoRoute(_) => 404,
            RequestError::Method(_) => 405,
            RequestError::Slow => 408,
            RequestError::TooLarge { .. } | RequestError::BodyTooLarge { .. } => 413,
            RequestError::Encoded => 415,
            RequestError::Task(_) => 422,
            RequestError::Refused(Refused::Wait { .. }) => 429,
            RequestError::Engine(error) => engine_status(error),
            RequestError::Refused(_) | RequestError::NotReady(_) => 503,
            RequestError::Timeout(_) => 504,
        }
    }

    /// Seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            RequestError::Refused(Refused::Wait { wait, limit, .. }) => {
                Some(wait.saturating_sub(*limit).as_secs_f64().ceil().max(1.0) as u64)
            }
            RequestError::Refused(_) | RequestError::NotReady(_) => Some(1),
            _ => None,
        }
    }
}

fn engine_status(error: &EngineError) -> u16 {
    match error {
        EngineError::Stopped => 503,
        EngineError::Input(_) | EngineError::Panicked => 500,
    }
}
