//! Verifies that two models give the same embeddings.
//!
//! What a model computes from some inputs is an [`Outputs`] value; two of them make a [`Report`]. The models need not
//! be in memory at the same time.

mod compare;
mod folder;
mod outputs;
mod pictures;
pub(crate) mod probes;
mod report;
mod rules;
mod texts;
mod vocabulary;

pub use clipway_model::artifact::{Report, Stage, Tolerance};
pub use compare::{cosine, highest};
pub use folder::{FolderVerification, VerifyError, resolve_exported};
pub use outputs::{Inputs, Outputs};
pub use pictures::built_in_pictures;
pub(crate) use report::compare_rows;
pub use report::{Rows, report};
pub use rules::RuleDifference;
pub use texts::TextDifference;
pub use vocabulary::{same_texts, unwritable, vocabulary_in};
