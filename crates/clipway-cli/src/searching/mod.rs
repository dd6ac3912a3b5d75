//! What the commands of an index share: their failures, terms of queries, the model that encodes them, and results.

mod dates;
mod encode;
mod export;
mod failure;
mod features;
mod filter;
mod links;
mod model;
mod page;
mod preview;
mod results;
#[cfg(feature = "serve")]
mod serving;
mod space;
mod table;
mod terms;
mod thumbnail;
mod wanted;

/// Most bytes of an index's codes that a program which keeps it open holds in memory.
pub const MOST_HELD: u64 = 1 << 30;

pub use encode::Encoded;
pub use export::write_features;
pub use failure::index_failure;
pub use features::{FeatureFiles, FeatureSource};
pub use filter::FilterOptions;
pub use links::link;
pub use model::{BackendOption, IndexModel, load_model};
pub use page::write_page;
pub use preview::{Preview, previews};
pub use results::{Answer, Answers, Found, Output};
#[cfg(feature = "serve")]
pub use serving::Served;
pub use space::same_space;
pub use table::Columns;
pub use terms::{Query, Term, WeightedTerm};
pub use wanted::WantedOptions;
