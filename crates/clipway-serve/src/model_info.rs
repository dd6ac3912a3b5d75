//! What the server says about its model.

use clipway_model::artifact::{Artifact, Report};
use serde::Serialize;

/// What the server says about its model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Names by which requests may ask for it; the first one is in answers.
    pub names: Vec<String>,
    /// The fingerprint of the space of its features (`clipway_run::space`); `None` where it is not known.
    pub fingerprint: Option<String>,
    /// Whether the artifact has the report of a verification that passed; `None` without an artifact or a report.
    pub verified: Option<bool>,
    /// The report in one line.
    pub verification: Option<String>,
}

impl ModelInfo {
    /// A model with these names, read from an artifact if it has one.
    pub fn new(names: Vec<String>, fingerprint: Option<String>, artifact: Option<&Artifact>) -> ModelInfo {
        let report = artifact.and_then(|artifact| artifact.verification.as_ref());
        ModelInfo {
            names,
            fingerprint,
            verified: report.map(|report| report.passed),
            verification: report.map(Report::summary),
        }
    }

    /// The name in answers.
    pub fn name(&self) -> &str {
        self.names.first().map_or("clip", String::as_str)
    }
}
