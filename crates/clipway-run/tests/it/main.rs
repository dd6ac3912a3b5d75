//! Integration tests.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod activation;
#[cfg(feature = "avif")]
mod avif;
mod draw;
mod emoji;
mod engine;
mod engine_elements;
mod engine_goldens;
mod folding;
mod grids;
mod foreign;
#[cfg(feature = "heic")]
mod heif;
mod image;
mod image_damage;
mod image_siblings;
mod made;
#[cfg(feature = "heic")]
mod media;
mod onnx;
mod onnx_sizes;
mod processors;
mod readme;
mod quantize;
mod rules;
mod space;
mod text;
mod text_corpus;
mod text_folder;
mod tiktoken;
mod token_siblings;
mod vocabulary;
