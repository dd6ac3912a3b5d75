//! Why models cannot be put together.

use crate::problems::lines;

/// Models cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// A sum of fewer than two sources.
    #[error("a mix needs two sources or more")]
    TooFew,
    /// A share that is zero, NaN or infinite.
    #[error("a share must be a number other than zero, found {0}")]
    Share(f64),
    /// Shares that do not add up to 1.
    #[error("the shares must add up to 1, but their sum is {0}")]
    Sum(f64),
    /// Sources that differ in more than the values of their weights.
    #[error("the sources do not belong to one model:{}", lines(_0))]
    Unlike(Vec<String>),
    /// Towers that cannot be put together.
    #[error("the towers do not fit each other:{}", lines(_0))]
    Towers(Vec<String>),
    /// A step that does not match its tensors.
    #[error("{0}")]
    Step(String),
}

impl MixError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            MixError::TooFew | MixError::Share(_) | MixError::Sum(_) => "bad-option",
            MixError::Unlike(_) | MixError::Towers(_) => "unlike",
            MixError::Step(_) => "shape-mismatch",
        }
    }

    /// All differences, if they are reported together.
    pub fn problems(&self) -> Vec<&str> {
        match self {
            MixError::Unlike(found) | MixError::Towers(found) => found.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}
