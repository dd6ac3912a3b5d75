//! Integration tests.

mod emoji;
mod engine;
mod engine_goldens;
mod image;
mod text;
mod text_corpus;
