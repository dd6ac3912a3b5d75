//! Rows of a tensor that is read in pieces.

use std::iter::Peekable;
use std::slice::Iter;

/// Picks rows, in ascending order, from bytes that come in pieces of any length.
pub(super) struct RowPicker<'a> {
    /// Bytes of a row.
    row: usize,
    /// Bytes that have come.
    at: usize,
    rows: Peekable<Iter<'a, u32>>,
}

impl<'a> RowPicker<'a> {
    pub(super) fn new(rows: &'a [u32], row: usize) -> RowPicker<'a> {
        RowPicker { row, at: 0, rows: rows.iter().peekable() }
    }

    /// Appends what a piece has of the rows.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let end = self.at + piece.len();
        while let Some(&&index) = self.rows.peek() {
            let start = index as usize * self.row;
            if start >= end {
                break;
            }
            let [from, to] = [start, start + self.row].map(|place| place.clamp(self.at, end) - self.at);
            out.extend_from_slice(&piece[from..to]);
            if start + self.row > end {
                break;
            }
            self.rows.next();
        }
        self.at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_lie_in_several_pieces() {
        let bytes: Vec<u8> = (0..30).collect();
        for rows in [&[0u32, 2, 9][..], &[9], &[0], &[3, 4, 5], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            let expected: Vec<u8> =
                rows.iter().flat_map(|row| bytes[*row as usize * 3..][..3].to_vec()).collect();
            for length in 1..=30 {
                let (mut picker, mut out) = (RowPicker::new(rows, 3), Vec::new());
                bytes.chunks(length).for_each(|piece| picker.push(piece, &mut out));
                assert_eq!(out, expected, "{rows:?} in pieces of {length}");
            }
        }
    }
}
