//! Shared by the fuzz targets: the properties of every input, and a memory limit.

#![forbid(unsafe_code)]

mod archives;
mod folder;
mod graphs;
mod memory;
mod messages;
#[cfg(feature = "run")]
mod images;
#[cfg(feature = "model")]
mod prepared;
mod tensors;

pub use archives::{mutate_archive, stored_archive};
pub use folder::{Scratch, infos_of};
pub use graphs::{PIXELS, drawn_graph};
#[cfg(feature = "run")]
pub use images::check_image;
pub use memory::bounded;
pub use messages::check_message;
#[cfg(feature = "model")]
pub use prepared::{check_prepared, transformers_folder};
pub use tensors::{check_file, check_pytorch};

/// Silences library panics that are caught: a decoder called under `catch_unwind` may refuse input by panicking. An
/// uncaught panic still ends the run as a finding.
pub fn let_libraries_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
