//! CLIP models as data.
//!
//! What a model is (configs, the registry, architectures as graphs), what a checkpoint holds (state dicts and
//! layouts), and how one becomes the other (plans, the ledger, export). Nothing here computes a forward pass.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod architecture;
pub mod config;
pub mod graph;
pub mod identify;
pub mod registry;
pub mod artifact;
pub mod export;
pub mod inspect;
pub mod output;
pub mod layout;
pub mod plan;
pub mod state_dict;
