//! Strict JSON.
//!
//! Two programs must never read one document in two ways, so nothing beyond RFC 8259 is accepted, and less
//! than some readers accept: no key twice, no lone surrogate, no number that 64 bits do not hold. Depth, bytes
//! and number of values are bounded.

mod cursor;
mod reader;
mod value;
mod writer;

pub use cursor::JsonCursor;
pub(crate) use reader::Reader;
pub(crate) use value::first_duplicate;
pub use value::{Json, JsonLimits, JsonValue};
pub use writer::push_json_string;
