//! Integration tests.

mod text;
mod text_corpus;
