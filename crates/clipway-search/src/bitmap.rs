//! A set of rows.

/// One bit for each row.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// No row of `count`.
    pub(crate) fn none(count: u64) -> Bitmap {
        // At most 2^32 rows, so 2^26 words.
        Bitmap { words: vec![0; count.div_ceil(64) as usize] }
    }

    /// Adds a row; rows beyond the count are ignored.
    pub(crate) fn insert(&mut self, row: u64) {
        if let Some(word) = self.words.get_mut((row / 64) as usize) {
            *word |= 1 << (row % 64);
        }
    }

    /// Whether a row is in the set.
    pub(crate) fn contains(&self, row: u64) -> bool {
        self.words.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_and_others_are_not() {
        let mut bitmap = Bitmap::none(130);
        for row in [0, 63, 64, 129, 1000] {
            bitmap.insert(row);
        }
        let found: Vec<u64> = (0..2000).filter(|row| bitmap.contains(*row)).collect();
        assert_eq!(found, [0, 63, 64, 129]);
    }
}
