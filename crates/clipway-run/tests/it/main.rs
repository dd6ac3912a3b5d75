//! Integration tests.

mod emoji;
mod engine;
mod engine_goldens;
mod image;
mod image_damage;
mod text;
mod text_corpus;
