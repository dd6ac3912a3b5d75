//! What the commands of an index share: their failures, terms of queries, the model that encodes them, and results.

mod dates;
mod encode;
mod failure;
mod filter;
mod results;
#[cfg(feature = "serve")]
mod serving;
mod space;
mod terms;

pub use encode::Encoded;
pub use failure::index_failure;
pub use filter::FilterOptions;
pub use results::{Answer, Answers, Output};
#[cfg(feature = "serve")]
pub use serving::Served;
pub use terms::{Query, Term, WeightedTerm};
