//! From a checkpoint to a folder that open_clip loads and that carries its own contract.
//!
//! [`prepare`] resolves everything that needs no weights and can be looked at; [`Prepared::write`] writes it.

mod card;
mod error;
mod jobs;
mod positions;
mod prepare;
mod resolve;
mod text_model;
mod weights;
mod write;

pub use crate::spelling::WeightsFormat;
pub use error::{ExportError, VerifyError};
pub use jobs::{Progress, Stage};
pub(crate) use jobs::{Run, largest_first, run_jobs};
pub use prepare::{ExportOptions, Prepared, prepare};
pub use resolve::{Candidates, ConfigOrigin, LayoutOrigin, Mismatch, ModelChoice, Resolved};
pub(crate) use weights::hash_tensors;
pub use write::{ExportReport, Timings, TokenizerParts, Verify, WriteOptions};
