//! Integration tests.

mod engine;
mod engine_goldens;
mod image;
mod text;
mod text_corpus;
