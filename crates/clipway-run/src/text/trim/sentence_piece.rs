//! A SentencePiece model with fewer pieces: its protocol buffer, rewritten.

use crate::text::TokenizerError;
use crate::text::huggingface::{Fields, Wire};

/// Fields of the trainer's part that hold ids: the unknown piece, the beginning, the end and the padding.
const IDS: [u64; 4] = [40, 41, 42, 43];

/// The field of the trainer's part that holds the number of pieces.
const SIZE: u64 = 4;

/// The model with only these pieces, in their order.
///
/// # Errors
/// A malformed model.
pub fn trimmed(bytes: &[u8], kept: &[u32]) -> Result<Vec<u8>, TokenizerError> {
    let (mut out, mut piece) = (Vec::new(), 0);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => {
                if kept.binary_search(&piece).is_ok() {
                    push(&mut out, 1, &Wire::Bytes(bytes));
                }
                piece += 1;
            }
            (2, Wire::Bytes(bytes)) => push(&mut out, 2, &Wire::Bytes(&trainer(bytes, kept)?)),
            (number, wire) => push(&mut out, number, &wire),
        }
    }
    Ok(out)
}

/// The trainer's part with the new ids.
fn trainer(bytes: &[u8], kept: &[u32]) -> Result<Vec<u8>, TokenizerError> {
    let mut out = Vec::new();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let wire = match wire {
            Wire::Number(_) if number == SIZE => Wire::Number(kept.len() as u64),
            Wire::Number(old) if IDS.contains(&number) => {
                let new = u32::try_from(old).ok().and_then(|old| kept.binary_search(&old).ok());
                // An id that no piece has says that there is none.
                Wire::Number(new.map_or(u64::MAX, |new| new as u64))
            }
            wire => wire,
        };
        push(&mut out, number, &wire);
    }
    Ok(out)
}

/// Appends a field.
fn push(out: &mut Vec<u8>, number: u64, wire: &Wire<'_>) {
    let kind = match wire {
        Wire::Number(_) => 0,
        Wire::Double(_) => 1,
        Wire::Bytes(_) => 2,
        Wire::Word(_) => 5,
    };
    push_number(out, number << 3 | kind);
    match wire {
        Wire::Number(value) => push_number(out, *value),
        Wire::Double(bits) => out.extend(bits.to_le_bytes()),
        Wire::Word(bits) => out.extend(bits.to_le_bytes()),
        Wire::Bytes(bytes) => {
            push_number(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

fn push_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
