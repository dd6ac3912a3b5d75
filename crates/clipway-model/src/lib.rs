//! CLIP models as data.
//!
//! What a model is (configs, the registry, architectures as graphs), what a checkpoint holds (state dicts and
//! layouts), and how one becomes the other (plans, the ledger, export). Nothing here computes a forward pass.
//!
//! ```
//! use clipway_model::{architecture, registry};
//!
//! let model = architecture::build(&registry::model("ViT-B-32")?)?;
//! assert_eq!((model.embed_dim, model.image_size), (512, [224, 224]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
// Tests create their own files.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod nearest;
mod problems;
pub mod front_matter;
pub mod contract;
pub mod config;
pub mod graph;
pub mod architecture;
pub mod registry;
pub mod input;
pub mod checkpoint;
pub mod license;
pub mod state_dict;
pub mod differences;
pub mod identify;
pub mod layout;
pub mod plan;
pub mod quantize;
pub mod source;
pub mod mix;
pub mod spelling;
pub mod output;
pub mod export;
pub mod artifact;
pub mod inspect;
