//! safetensors: a JSON header with names, dtypes, shapes and byte ranges, then the bytes.
//!
//! Written after the format's own description (`safetensors/safetensors`, README, "Format"). Reading is
//! stricter than the reference in what that description leaves open: no key twice anywhere, no unknown field,
//! no control character in a name, at most 64 KiB of it, at most 64 dimensions.

mod header;
mod reader;
mod writer;

pub use reader::SafetensorsFile;
pub use writer::{SafetensorsLayout, write_safetensors};

/// Longest header, in bytes, that is read or written; the reference's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Most tensors that are read or written, which bounds the memory that a header can ask for.
const MOST_TENSORS: usize = 1 << 18;

/// Longest header by which a file is taken for safetensors; the reader's own limit is lower, and says so.
const LONGEST_TOLD: u64 = 1 << 32;

/// Whether a file that begins so is taken for safetensors: the length of a header, and a brace. The length's own bytes
/// may be those by which other formats are recognized, so this is asked first: no archive and no pickle begins so.
pub fn is_safetensors(head: &[u8]) -> bool {
    let length = head.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    head.get(8) == Some(&b'{') && length.is_some_and(|length| length < LONGEST_TOLD)
}

/// Key of the header that holds text instead of a tensor.
const METADATA_KEY: &str = "__metadata__";
