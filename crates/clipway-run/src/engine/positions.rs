//! Position encodings of a text's tokens, where padding takes no position.

use clipway_model::graph::sinusoid_frequencies;

/// A position encoding.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Positions {
    /// Rows of a table.
    Table(Table),
    /// Sines and cosines with these frequencies.
    Sinusoids(Vec<f32>),
}

/// Rows of one width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// `[rows, width]`.
    pub values: Vec<f32>,
    /// Number of rows.
    pub rows: usize,
}

/// The position of the first token.
pub(super) fn first_position(padding: i64) -> usize {
    usize::try_from(padding).unwrap_or(0) + 1
}

impl Positions {
    /// Sinusoids for a width: half sines, as many cosines, and a zero if it is odd.
    pub fn sinusoids(width: usize) -> Positions {
        Positions::Sinusoids(sinusoid_frequencies(width))
    }

    /// Adds position encodings to the rows of one text; `out` has as many rows as there are ids.
    pub fn add(&self, ids: &[i64], padding: i64, width: usize, out: &mut [f32]) {
        let mut next = first_position(padding);
        for (id, row) in ids.iter().zip(out.chunks_exact_mut(width)) {
            let position = (*id != padding).then_some(next);
            next += usize::from(position.is_some());
            match self {
                Positions::Table(table) => {
                    // Padding uses its own row.
                    let place = position.unwrap_or(first_position(padding) - 1);
                    let entry = &table.values[place * width..][..width];
                    row.iter_mut().zip(entry).for_each(|(value, entry)| *value += entry);
                }
                Positions::Sinusoids(frequencies) => {
                    let Some(position) = position else { continue };
                    let (sines, rest) = row.split_at_mut(frequencies.len());
                    for (index, frequency) in frequencies.iter().enumerate() {
                        let angle = f64::from(position as f32 * frequency);
                        sines[index] += angle.sin() as f32;
                        rest[index] += angle.cos() as f32;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_no_place_among_the_positions() {
        let values = (0..12).map(|value| value as f32).collect();
        let positions = Positions::Table(Table { values, rows: 6 });
        let mut rows = [100.0; 8];
        positions.add(&[7, 1, 7, 7], 1, 2, &mut rows);
        assert_eq!(rows, [104.0, 105.0, 102.0, 103.0, 106.0, 107.0, 108.0, 109.0]);
    }
}
