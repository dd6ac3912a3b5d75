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
    /// The text model's own config, where the layout has it in another file and an export carries it along.
    pub text_model_file: Option<Vec<u8>>,
    /// What a user should know.
    pub notes: Vec<String>,
}
