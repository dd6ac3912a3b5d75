//! Sources on the Hugging Face Hub.

#[cfg(feature = "hub")]
mod failure;
#[cfg(feature = "hub")]
mod publish;
#[cfg(feature = "hub")]
mod source;

use crate::failure::Failure;
use crate::source_name::SourceName;
use crate::ui::Ui;

#[cfg(feature = "hub")]
pub use failure::failure;
#[cfg(feature = "hub")]
pub use publish::{Card, Changes, Published, publish};
#[cfg(feature = "hub")]
pub use source::{Named, client, fetched};

/// Which bytes of weights a command reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// All of them.
    Weights,
    /// Names, shapes and single numbers.
    Headers,
}

/// Finds the files of a source. Those of one on the Hub are brought into the cache; weights of which only headers are
/// read stay where they are.
pub fn bring(source: &mut SourceName, reads: Reads, ui: &Ui) -> Result<(), Failure> {
    source.read_tag()?;
    if source.on_hub().is_none() && source.tag().is_none() {
        return Ok(());
    }
    #[cfg(feature = "hub")]
    {
        source::bring(source, reads, ui)
    }
    #[cfg(not(feature = "hub"))]
    {
        let _ = (reads, ui);
        let message = format!("`{}`: this program was built without the Hub", source.said());
        Err(Failure::could_not_run("bad-option", message))
    }
}
