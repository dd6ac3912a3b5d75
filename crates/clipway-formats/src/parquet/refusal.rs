//! What is wrong, without the place, which is known further out.

use crate::error::{Code, FormatError, Place};

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    cause: String,
}

impl Refusal {
    pub(super) fn new(code: Code, cause: impl Into<String>) -> Refusal {
        Refusal { code, cause: cause.into() }
    }

    /// The error at a place.
    pub(super) fn at(self, place: Place) -> FormatError {
        FormatError::new(self.code, place, self.cause)
    }
}

/// A structure that contradicts itself or the format.
pub(super) fn malformed(cause: impl Into<String>) -> Refusal {
    Refusal::new(Code::Malformed, cause)
}

/// Bytes that end too early.
pub(super) fn ended_early() -> Refusal {
    Refusal::new(Code::Truncated, "the bytes end too early")
}
