//! From a source to a folder that a library loads and that contains its own contract: plan, then write.
//!
//! [`Export::prepare`] makes the plan under the target's names, for inspection; [`Export::write`] carries it out.

pub mod card;
mod escape;
mod error;
mod jobs;
mod prepare;
mod writer;
mod weights;
mod onnx;
mod write;

pub use crate::spelling::WeightsFormat;
pub use error::{ExportError, VerifyError};
pub use jobs::{Progress, Stage};
pub(crate) use jobs::{Run, largest_first, run_jobs};
pub use prepare::{Export, open_clip_main_obstacles, open_clip_obstacles};
pub(crate) use weights::hash_tensors;
pub use write::{ExportReport, Timings, TokenizerParts, Verify, WriteOptions};
