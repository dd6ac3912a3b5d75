//! The files of rows: int8 codes for the scan, their scales, and f16 values for the final ranking.
//!
//! Rows have a fixed length and start at multiples of 64 bytes, so a row's place follows from its number. The files only
//! grow: rows beyond the committed count are not read.

use std::path::Path;

use clipway_formats::ReadAt;
use clipway_kernels::quantize_weights;
use clipway_model::input::{FileSource, Folder, Kind};
use half::f16;

use crate::error::IndexError;

/// Bytes of a cache line.
pub(crate) const ALIGNMENT: usize = 64;

/// Most rows of an index.
pub const MOST_ROWS: u64 = 1 << 32;

/// The three files, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `width` int8, zeros up to a multiple of 64 bytes.
    Codes,
    /// One f32, little-endian.
    Scales,
    /// `width` f16, little-endian, zeros up to a multiple of 64 bytes.
    Halves,
}

impl Part {
    pub(crate) const ALL: [Part; 3] = [Part::Codes, Part::Scales, Part::Halves];

    /// The file's name.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Part::Codes => "rows.i8",
            Part::Scales => "rows.scale",
            Part::Halves => "rows.f16",
        }
    }

    /// Bytes of a row.
    pub(crate) const fn row_bytes(self, width: usize) -> usize {
        match self {
            Part::Codes => width.next_multiple_of(ALIGNMENT),
            Part::Scales => size_of::<f32>(),
            Part::Halves => (2 * width).next_multiple_of(ALIGNMENT),
        }
    }
}

/// A row as it is stored, part by part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredRow {
    pub(crate) parts: [Vec<u8>; 3],
}

impl StoredRow {
    /// Scales a feature to length 1 and encodes it.
    ///
    /// # Errors
    /// A feature without a direction.
    pub(crate) fn of(feature: &[f32], what: &dyn Fn() -> String) -> Result<StoredRow, IndexError> {
        let unit = unit(feature).ok_or_else(|| IndexError::NotFinite { what: what() })?;
        let mut codes = vec![0_i8; unit.len()];
        let scale =
            quantize_weights(&unit, &mut codes).ok_or_else(|| IndexError::NotFinite { what: what() })?;
        let mut parts = Part::ALL.map(|part| Vec::with_capacity(part.row_bytes(unit.len())));
        let [in_codes, in_scales, in_halves] = &mut parts;
        in_codes.extend(codes.iter().map(|code| code.cast_unsigned()));
        in_scales.extend(scale.to_le_bytes());
        in_halves.extend(unit.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()));
        for (bytes, part) in parts.iter_mut().zip(Part::ALL) {
            bytes.resize(part.row_bytes(unit.len()), 0);
        }
        Ok(StoredRow { parts })
    }
}

/// A feature scaled to length 1; `None` if it is zero, or has a NaN or an infinity.
pub(crate) fn unit(feature: &[f32]) -> Option<Vec<f32>> {
    let length = feature.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    let usable = length.is_finite() && length > 0.0;
    usable.then(|| feature.iter().map(|value| (f64::from(*value) / length) as f32).collect())
}

/// The committed rows of an index, read at their places.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) width: usize,
    pub(crate) count: u64,
    files: [FileSource; 3],
}

impl Rows {
    /// Opens the files of an index with `count` committed rows.
    pub(crate) fn open(folder: &Folder, width: usize, count: u64) -> Result<Rows, IndexError> {
        let [codes, scales, halves] = Part::ALL.map(|part| {
            let file = folder.file(part.file(), Kind::Rows)?;
            check_length(file.path(), file.size(), part, width, count)?;
            Ok::<_, IndexError>(file)
        });
        Ok(Rows { width, count, files: [codes?, scales?, halves?] })
    }

    fn file(&self, part: Part) -> &FileSource {
        &self.files[part as usize]
    }

    /// Reads the bytes of rows from `first` on, as many as fit the buffer.
    pub(crate) fn read(&self, part: Part, first: u64, buffer: &mut [u8]) -> Result<(), IndexError> {
        let file = self.file(part);
        let offset = first * part.row_bytes(self.width) as u64;
        file.read_exact_at(offset, buffer).map_err(IndexError::io("read", file.path()))
    }

    /// Reads the scales of rows.
    pub(crate) fn read_scales(&self, first: u64, scales: &mut [f32]) -> Result<(), IndexError> {
        let mut bytes = vec![0; size_of_val(scales)];
        self.read(Part::Scales, first, &mut bytes)?;
        let values = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
        for (place, value) in scales.iter_mut().zip(values) {
            // Any other scale would give a NaN, or turn the order around.
            if !(value >= 0.0 && value.is_finite()) {
                let path = self.file(Part::Scales).path();
                return Err(IndexError::damaged(path, format!("a scale is {value}")));
            }
            *place = value;
        }
        Ok(())
    }

    /// Reads a row's f16 values, little-endian.
    pub(crate) fn halves(&self, row: u64) -> Result<Vec<u8>, IndexError> {
        let mut bytes = vec![0; 2 * self.width];
        self.read(Part::Halves, row, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a row's values as f16 has them.
    pub(crate) fn values(&self, row: u64) -> Result<Vec<f32>, IndexError> {
        let bytes = self.halves(row)?;
        Ok(bytes.as_chunks().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect())
    }

    /// Reads a row as it is stored.
    pub(crate) fn stored(&self, row: u64) -> Result<StoredRow, IndexError> {
        let mut parts = Part::ALL.map(|part| vec![0; part.row_bytes(self.width)]);
        for (bytes, part) in parts.iter_mut().zip(Part::ALL) {
            self.read(part, row, bytes)?;
        }
        Ok(StoredRow { parts })
    }
}

/// Refuses a file that is shorter than its rows, and counts over the limit.
pub(crate) fn check_length(
    path: &Path,
    found: u64,
    part: Part,
    width: usize,
    count: u64,
) -> Result<(), IndexError> {
    if count > MOST_ROWS {
        return Err(IndexError::TooLarge { what: "the number of rows", found: count, limit: MOST_ROWS });
    }
    // At most 2^32 rows of 2^15 bytes.
    let expected = count * part.row_bytes(width) as u64;
    if found < expected {
        let reason = format!("expected at least {expected} bytes for {count} rows, found {found}");
        return Err(IndexError::damaged(path, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_scaled_and_padded() {
        let row = StoredRow::of(&[3.0, 0.0, -4.0], &String::new).expect("a direction");
        let [codes, scales, halves] = &row.parts;
        assert_eq!((codes.len(), scales.len(), halves.len()), (64, 4, 64));
        // 0.6 / 0.8 * 127 is 95.25.
        assert_eq!(codes[..4], [95, 0, (-127_i8).cast_unsigned(), 0]);
        assert_eq!(f32::from_le_bytes([scales[0], scales[1], scales[2], scales[3]]), 0.8 / 127.0);
        assert_eq!(halves[..2], f16::from_f32(0.6).to_le_bytes());
        assert_eq!(halves[6..], [0; 58]);
    }

    #[test]
    fn a_feature_without_a_direction_is_refused() {
        for feature in [[0.0, 0.0], [f32::NAN, 1.0], [1.0, f32::INFINITY]] {
            let error = StoredRow::of(&feature, &|| "the feature".to_owned()).expect_err("no direction");
            assert_eq!(error.code(), "not-finite");
        }
        // Squares that overflow or vanish in f32 do not matter.
        assert_eq!(unit(&[1e30, 0.0]), Some(vec![1.0, 0.0]));
        assert_eq!(unit(&[0.0, 1e-40]), Some(vec![0.0, 1.0]));
    }
}
