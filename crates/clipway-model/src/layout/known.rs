//! A config stated by a layout.

use crate::config::ConfigFile;
use crate::contract::Origins;

/// A config stated by a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownConfig {
    /// The config.
    pub config: ConfigFile,
    /// Its registered name, if it has one.
    pub name: Option<String>,
    /// Its origin.
    pub from: String,
    /// Origin of the activation.
    pub activation_from: String,
    /// Origins of contract fields, where the layout knows more.
    pub origins: Origins,
    /// Contradictions of files that are not used, by file name.
    pub disagreements: Vec<(&'static str, Vec<String>)>,
    /// What a user should know.
    pub notes: Vec<String>,
}
