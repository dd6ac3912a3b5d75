//! Integration tests.

mod image;
mod text;
mod text_corpus;
