//! What Python 3.11, `regex`, `html` and ftfy hold about characters, as sorted tables.
//!
//! All of it is written by `scripts/generate_text_tables.py`.

#[rustfmt::skip]
pub mod case;
#[rustfmt::skip]
pub mod charmaps;
#[rustfmt::skip]
pub mod classes;
#[rustfmt::skip]
pub mod entities;
#[rustfmt::skip]
pub mod mojibake;
#[rustfmt::skip]
pub mod normalization;
#[rustfmt::skip]
pub mod substitutions;
