//! Strict JSON.
//!
//! Two programs must never interpret one document differently, so nothing beyond RFC 8259 is accepted, and less than
//! some readers accept: no duplicate keys, no lone surrogates, no numbers beyond 64 bits. Depth, bytes and number of
//! values are limited.

mod cursor;
mod reader;
mod value;
mod writer;

pub use cursor::JsonCursor;
pub(crate) use reader::Reader;
pub(crate) use value::first_duplicate;
pub use value::{Json, JsonLimits, JsonValue};
pub use writer::push_json_string;
