//! Why an image could not be fetched. Nothing here repeats what a server said, nor an address behind a name.

use std::time::Duration;

/// An image could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A name that leads to a machine which is not on the public internet.
    #[error("the host of the image has an address that is not public")]
    NotPublic,
    /// A redirect to an address that is not allowed.
    #[error("the image's server redirects to an address that is not allowed")]
    Redirect,
    /// Redirects without end.
    #[error("the image's server redirects more than {0} times")]
    Redirects(usize),
    /// A name without an address.
    #[error("the host of the image is not known")]
    NoHost,
    /// No connection.
    #[error("the image's server cannot be reached")]
    NoConnection,
    /// No TLS.
    #[error("no safe connection to the image's server: {0}")]
    Tls(&'static str),
    /// An answer that is not the image.
    #[error("the image's server answers with status {0}")]
    Status(u16),
    /// An answer of another kind.
    #[error("the image's server does not say that it is an image: its Content-Type is another")]
    NotAnImage,
    /// An answer that is compressed, although that was not asked for.
    #[error("the image's server sends a Content-Encoding that was not asked for")]
    Encoded,
    /// An image over the limit.
    #[error("the image has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// No answer, or half of one.
    #[error("the image's server ended the connection before its answer was whole")]
    Broken,
    /// An answer that takes too long.
    #[error("the image did not arrive within {:.0} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// No room for the bytes that arrive.
    #[error("there is no room for the image now")]
    NoRoom,
}

impl FetchError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            FetchError::NotPublic | FetchError::Redirect => "serve-remote-image",
            FetchError::TooLarge { .. } => "too-large",
            FetchError::NoRoom => "serve-full",
            _ => "serve-fetch",
        }
    }
}
