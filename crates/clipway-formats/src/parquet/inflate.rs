//! Pages as they were before they were compressed.

use std::io::Read;

use super::refusal::{Refusal, malformed};
use crate::error::Code;

/// Compressions.
const NONE: i64 = 0;
const SNAPPY: i64 = 1;
const GZIP: i64 = 2;
const LZO: i64 = 3;
const BROTLI: i64 = 4;
const LZ4: i64 = 5;
const ZSTD: i64 = 6;
const LZ4_RAW: i64 = 7;

/// Returns the `expected` bytes that a page has when it is not compressed.
pub(super) fn inflate(codec: i64, page: &[u8], expected: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = match codec {
        NONE => page.to_vec(),
        SNAPPY => {
            let found = snap::raw::decompress_len(page).map_err(|error| malformed(error.to_string()))?;
            check(expected, found)?;
            // A copy of 64 bytes takes at least 2.
            if expected / 64 > page.len() {
                return Err(malformed(format!("{expected} bytes, which {} cannot hold", page.len())));
            }
            snap::raw::Decoder::new().decompress_vec(page).map_err(|error| malformed(error.to_string()))?
        }
        GZIP => read(flate2::read::MultiGzDecoder::new(page), expected)?,
        ZSTD => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(page);
            read(decoder.map_err(|error| malformed(error.to_string()))?, expected)?
        }
        other => {
            let name = match other {
                LZO => "LZO",
                BROTLI => "Brotli",
                LZ4 | LZ4_RAW => "LZ4",
                _ => return Err(malformed(format!("the unknown compression {other}"))),
            };
            let cause = format!("compression with {name}; expected none, Snappy, gzip or Zstandard");
            return Err(Refusal::new(Code::Unsupported, cause));
        }
    };
    check(expected, bytes.len())?;
    Ok(bytes)
}

/// Reads a stream, whose memory grows with what it has, by one byte more than is expected at most.
fn read(stream: impl Read, expected: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let read = stream.take(expected as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| malformed(error.to_string()))?;
    Ok(bytes)
}

fn check(expected: usize, found: usize) -> Result<(), Refusal> {
    if expected == found {
        return Ok(());
    }
    Err(malformed(format!("expected a page of {expected} bytes, found {found} or more")))
}
