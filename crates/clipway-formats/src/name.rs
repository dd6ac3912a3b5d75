//! Checks of tensor names, in every format.

use crate::error::{Code, FormatError, Place};

/// Maximum length of a tensor name, in bytes.
pub(crate) const LONGEST_NAME: usize = 64 << 10;

/// Maximum total length of a file's tensor names, in bytes.
const ALL_NAMES: usize = 32 << 20;

/// Checks the names of a file one by one.
#[derive(Debug)]
pub(crate) struct Names {
    left: usize,
}

impl Names {
    pub(crate) fn new() -> Names {
        Names { left: ALL_NAMES }
    }

    /// Checks the next name.
    ///
    /// # Errors
    /// `Code::TooLarge` for a name that is too long, or too many; `Code::BadValue` for one with a control character.
    pub(crate) fn check(&mut self, name: &str) -> Result<(), FormatError> {
        let refuse = |code, cause| Err(FormatError::new(code, Place::Tensor(name.to_owned()), cause));
        if name.len() > LONGEST_NAME {
            let cause = format!("a name of {} bytes; the limit is {LONGEST_NAME}", name.len());
            return refuse(Code::TooLarge, cause);
        }
        if name.chars().any(char::is_control) {
            return refuse(Code::BadValue, "the name has a control character".to_owned());
        }
        match self.left.checked_sub(name.len()) {
            Some(left) => self.left = left,
            None => return refuse(Code::TooLarge, format!("names of more than {ALL_NAMES} bytes together")),
        }
        Ok(())
    }
}
