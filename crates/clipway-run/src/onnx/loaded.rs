//! What the programs that run graphs have in common.

use super::failure::OnnxError;
use super::port::{OnnxData, OnnxOutput, OnnxPort};

/// A graph that a runtime has loaded.
pub(super) trait Loaded: Send + Sync {
    /// Runs what some outputs need. The inputs match their ports.
    fn run(
        &self,
        inputs: &[(&OnnxPort, &[usize], &OnnxData)],
        outputs: &[&str],
    ) -> Result<Vec<OnnxOutput>, OnnxError>;
}

/// A loaded graph, its inputs and its outputs.
pub(super) type Parts = (Box<dyn Loaded>, Vec<OnnxPort>, Vec<OnnxPort>);
