//! Whole commands: exit status, stdout and stderr, and the state of the disk afterwards.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod bad_input;
mod bad_weights;
mod check;
mod classify;
mod compare;
mod contradictions;
mod embed;
#[cfg(feature = "search")]
mod exchange;
mod export;
#[cfg(all(unix, feature = "hub"))]
mod hub;
mod identify;
#[cfg(feature = "search")]
mod index;
mod inspect;
mod int4;
mod limits;
mod mix;
mod models;
mod named;
mod newcomer;
mod onnx;
#[cfg(feature = "search")]
mod onnx_search;
#[cfg(all(unix, feature = "hub"))]
mod push;
mod readme;
mod scene;
#[cfg(feature = "search")]
mod search;
#[cfg(all(unix, feature = "serve"))]
mod serve;
#[cfg(all(unix, feature = "search", feature = "serve"))]
mod serve_search;
mod shell;
mod snapshot;
mod tensors;
#[cfg(all(unix, feature = "search"))]
mod terminal;
mod threads;
mod trouble;
mod verify;
mod vocabulary;
