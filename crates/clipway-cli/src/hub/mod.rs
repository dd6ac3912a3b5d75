//! Sources on the Hugging Face Hub.

#[cfg(feature = "hub")]
mod failure;
#[cfg(feature = "hub")]
mod pretrained;
#[cfg(feature = "hub")]
mod publish;
#[cfg(feature = "hub")]
mod source;

use std::path::PathBuf;

use crate::failure::Failure;
use crate::ui::Ui;

#[cfg(feature = "hub")]
pub use failure::failure;
#[cfg(feature = "hub")]
pub use pretrained::pretrained;
#[cfg(feature = "hub")]
pub use publish::{Card, Changes, Published, publish};
#[cfg(feature = "hub")]
pub use source::{Named, client, fetched};

/// Replaces a source on the Hub with its files in the cache.
#[cfg_attr(not(feature = "hub"), expect(clippy::ptr_arg, reason = "with the Hub, the source is replaced"))]
pub fn bring(source: &mut PathBuf, ui: &Ui) -> Result<(), Failure> {
    let Some(text) = source.to_str().filter(|text| is_on_hub(text)) else { return Ok(()) };
    #[cfg(feature = "hub")]
    {
        *source = source::bring(text, ui)?;
        Ok(())
    }
    #[cfg(not(feature = "hub"))]
    {
        let _ = ui;
        Err(Failure::could_not_run("bad-option", format!("`{text}`: this program was built without the Hub")))
    }
}

/// Whether a source says that it is on the Hub.
fn is_on_hub(text: &str) -> bool {
    text.starts_with("hf-hub:") || text.starts_with("hf://")
}
