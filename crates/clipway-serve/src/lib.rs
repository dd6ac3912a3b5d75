//! Serves a CLIP model over HTTP: the APIs of OpenAI, text-embeddings-inference, Cohere and immich, zero-shot
//! classification, search in an index of images, and a page for browsers.
//!
//! This is the only crate that listens. It reaches out to nobody by itself: `clipway-fetch` fetches images from hosts that
//! the caller allows. A [`Server`] owns an [`engine::Engine`], a queue
//! in front of the model that knows no HTTP; `http` keeps slow and malformed clients away before a request is
//! understood; `parse` turns bodies into inputs; each file of `routes` speaks one service's language.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod limits;
pub mod metrics;
pub mod engine;
pub mod error;
pub mod gallery;
pub mod parse;
mod auth;
mod http;
mod log;
mod model_info;
mod page;
mod thumb;
mod app;
mod routes;
mod dispatch;
mod server;

pub use auth::{Keys, KeysError};
pub use http::head;
pub use limits::Limits;
pub use log::{Answered, Log};
pub use model_info::ModelInfo;
pub use server::{ServeError, ServeOptions, Server, Stopper};
