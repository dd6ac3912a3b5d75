//! safetensors: a JSON header with names, dtypes, shapes and byte ranges, then the bytes.
//!
//! Follows the format's own description (`safetensors/safetensors`, README, "Format"). Reading is stricter than the
//! reference where that description leaves things open: no duplicate keys, no unknown fields, no control characters in
//! names, names of at most 64 KiB, at most 64 dimensions.

mod header;
mod reader;
mod writer;

pub use reader::SafetensorsFile;
pub use writer::{SafetensorsLayout, write_safetensors};

/// Maximum header length for reading and writing, in bytes; the reference's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Maximum number of tensors for reading and writing, which limits the memory that a header can ask for.
const MOST_TENSORS: usize = 1 << 18;

/// Maximum header length for a file to be recognized as safetensors; the reader's own limit is lower, and says so.
const LONGEST_TOLD: u64 = 1 << 32;

/// Whether a file that starts with these bytes is treated as safetensors: a header length, and a brace. The length's
/// own bytes may be those that identify other formats, so this is checked first: no archive and no pickle starts like
/// this.
pub fn is_safetensors(head: &[u8]) -> bool {
    let length = head.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    head.get(8) == Some(&b'{') && length.is_some_and(|length| length < LONGEST_TOLD)
}

/// Header key that holds text instead of a tensor.
const METADATA_KEY: &str = "__metadata__";
