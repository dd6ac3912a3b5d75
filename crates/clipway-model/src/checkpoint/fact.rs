//! A single value that a checkpoint holds beside its tensors.

use serde::{Deserialize, Serialize};

/// A single value beside the tensors, such as the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactValue {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// A text, escaped and shortened.
    Text(String),
}
