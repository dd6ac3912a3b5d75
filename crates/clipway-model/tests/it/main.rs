//! Tests of the public interface, in one binary.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod activation;
mod adapters;
mod architecture;
mod artifact;
mod bench;
mod card;
mod checkpoint;
mod config;
mod config_modern;
mod contract;
mod differences;
mod export;
mod export_crash;
mod export_notes;
mod export_refused;
mod export_shared;
mod folders;
mod forced_naflex;
mod grids;
mod identify;
mod inspect;
mod int8;
mod int4;
mod layouts;
mod layouts_own;
mod layouts_timm;
mod layouts_unfit;
mod ledger;
mod named;
mod onnx;
mod onnx_export;
mod processors;
mod origins;
mod registry;
mod shards;
mod targets;
mod text_models;
mod wrapped;
