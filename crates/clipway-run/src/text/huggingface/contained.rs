//! Calls into the tokenizers library, whose panics become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the library; a panic becomes an error.
pub(super) fn contained<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("the tokenizers library panicked: {}", said.unwrap_or_default()))
        }
    }
}
