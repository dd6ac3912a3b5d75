//! One of several sources of a model.

use serde::{Deserialize, Serialize};

use crate::plan::Towers;

/// One of the sources that a model was put together from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name of its file or folder, without its path.
    pub name: String,
    /// Its share of every weight, in a sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The tower taken from it, where towers are put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tower: Option<Towers>,
}
