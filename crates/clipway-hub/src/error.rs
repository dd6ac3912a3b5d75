//! Why the Hub could not be used.

use std::io;
use std::path::PathBuf;

use clipway_formats::{FormatError, shown_path};

/// The Hub, or the local cache of it, could not be used. Text of a server is escaped and shortened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
#[non_exhaustive]
pub enum HubError {
    #[error("`{name}` is not the name of a repository or revision: {cause}")]
    BadName { name: String, cause: &'static str },
    #[error("`{name}` could leave its folder on some system; nothing of the repository is used")]
    HostileName { name: String },
    #[error("the token cannot be sent: it contains a space or a character that is not ASCII")]
    TokenFormat,
    #[error("there is no home folder to keep a cache in")]
    NoCache,
    #[error("`{repo}` does not exist, or is private and needs a token{said}")]
    NoRepository { repo: String, said: String },
    #[error("`{repo}` is gated: accept its terms at {page}{said}")]
    Gated { repo: String, page: String, said: String },
    #[error("`{repo}` has no revision `{revision}`{said}")]
    NoRevision { repo: String, revision: String, said: String },
    #[error("`{repo}` has no file `{file}` at {revision}")]
    NoFile { repo: String, file: String, revision: String },
    #[error("`{repo}` is disabled by the Hub{said}")]
    Disabled { repo: String, said: String },
    #[error("the Hub does not accept the token{said}")]
    BadToken { said: String },
    #[error("the token has no right to do this to `{repo}`{said}")]
    Forbidden { repo: String, said: String },
    #[error("the Hub's rate limit is reached; it asks to wait {seconds} s")]
    RateLimited { seconds: u64 },
    #[error("{host} failed with status {status} in each of {attempts} attempts{said}")]
    Unavailable { host: String, status: u16, attempts: u32, said: String },
    #[error("{host} did not answer in time")]
    Timeout { host: String },
    #[error("cannot reach {host}: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} refused with status {status}{said}")]
    Refused { host: String, status: u16, said: String },
    #[error("{host} does not answer as a Hub: {reason}")]
    Answer { host: String, reason: String },
    #[error("{host} does not answer as a Hub")]
    Json {
        host: String,
        #[source]
        cause: FormatError,
    },
    #[error("{host} redirects without end, or to an address that cannot be used")]
    Redirects { host: String },
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge { what: String, limit: u64 },
    #[error("`{file}` does not match its hash: expected {expected}, found {found}; nothing was kept")]
    Mismatch { file: String, expected: String, found: String },
    #[error("`{repo}` at `{revision}` is not in the cache, and the network is off")]
    Offline { repo: String, revision: String },
    #[error("`{repo}` is only partly in the cache, and the network is off; missing: {}", missing.join(", "))]
    Partial { repo: String, missing: Vec<String> },
    #[error("`{repo}` changed while it was being pushed: expected commit {expected}, found {found}")]
    Moved { repo: String, expected: String, found: String },
    #[error("`{file}` changed while it was being pushed")]
    Changed { file: String },
    #[error("the Hub does not accept the model card: {said}")]
    Card { said: String },
    #[error("`{}`: {cause}", shown_path(path))]
    Io { path: PathBuf, cause: io::Error },
    #[error("interrupted; what arrived is kept for the next run")]
    Interrupted,
}

impl HubError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            HubError::BadName { .. } => "hub-bad-name",
            HubError::HostileName { .. } => "hub-hostile-name",
            HubError::TokenFormat | HubError::BadToken { .. } => "hub-bad-token",
            HubError::NoRepository { .. } => "hub-no-repo",
            HubError::Gated { .. } => "hub-gated",
            HubError::NoRevision { .. } => "hub-no-revision",
            HubError::NoFile { .. } => "hub-no-file",
            HubError::Disabled { .. } => "hub-disabled",
            HubError::Forbidden { .. } => "hub-forbidden",
            HubError::RateLimited { .. } => "hub-rate-limit",
            HubError::Unavailable { .. } => "hub-unavailable",
            HubError::Timeout { .. } => "hub-timeout",
            HubError::Unreachable { .. } => "hub-unreachable",
            HubError::Refused { .. } => "hub-refused",
            HubError::Answer { .. } | HubError::Json { .. } => "hub-answer",
            HubError::Redirects { .. } => "hub-redirects",
            HubError::TooLarge { .. } => "hub-too-large",
            HubError::Mismatch { .. } => "hub-mismatch",
            HubError::Offline { .. } => "hub-offline",
            HubError::Partial { .. } => "hub-partial",
            HubError::Moved { .. } => "hub-moved",
            HubError::Changed { .. } => "source-changed",
            HubError::Card { .. } => "hub-card",
            HubError::Io { .. } | HubError::NoCache => "io",
            HubError::Interrupted => "interrupted",
        }
    }

    /// Whether the cause is the network, the system or the user's set-up rather than what was found.
    pub fn is_trouble(&self) -> bool {
        !matches!(
            self,
            HubError::HostileName { .. }
                | HubError::Mismatch { .. }
                | HubError::TooLarge { .. }
                | HubError::Moved { .. }
                | HubError::Card { .. }
        )
    }

    pub(crate) fn io(path: impl Into<PathBuf>, cause: io::Error) -> HubError {
        HubError::Io { path: path.into(), cause }
    }
}
