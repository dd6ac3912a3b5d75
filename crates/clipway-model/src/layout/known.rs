//! A config that a layout gives.

use crate::config::ConfigFile;
use crate::contract::Origins;

/// A config that a layout gives.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownConfig {
    /// The config.
    pub config: ConfigFile,
    /// Its registered name, where it has one.
    pub name: Option<String>,
    /// Where it is known from.
    pub from: String,
    /// Where the activation is known from.
    pub activation_from: String,
    /// Where fields of the contract are known from, as far as the layout says it more exactly.
    pub origins: Origins,
    /// What a user must know.
    pub notes: Vec<String>,
}
