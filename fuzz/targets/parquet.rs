//! Parquet tables: their descriptions, and the rows of every column of texts or lists.
#![no_main]

use std::ops::ControlFlow;
use std::sync::Arc;

use clipway_formats::{ParquetFile, ParquetKind};
use clipway_fuzz::{bounded, check_message};

/// Rows that are read of a column, which keeps runs fast: a few bytes can state many equal rows.
const MOST_ROWS: u64 = 10_000;

/// Values of a list.
const WIDTH: usize = 4;

/// Bytes that an input counts as when its pages are read: they may inflate, and a stream may ask for a window.
const INFLATED: usize = 128 << 20;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let file = match bounded(input.len(), || ParquetFile::open(Arc::new(input.to_vec()))) {
        Ok(file) => file,
        Err(error) => return check_message(&error),
    };
    let goes_on = |row: u64| if row < MOST_ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    for (at, column) in file.columns().iter().enumerate() {
        let mut next = 0;
        let mut counted = |row: u64| {
            assert_eq!(row, next, "rows come in order");
            assert!(row < file.rows(), "no more rows than the table has");
            next += 1;
            goes_on(row)
        };
        let read = bounded(INFLATED, || match column.kind {
            ParquetKind::Texts => file.visit_texts(at, |row, _| counted(row)),
            ParquetKind::Lists(_) => file.visit_lists(at, WIDTH, |row, list| {
                assert_eq!(list.len(), WIDTH);
                counted(row)
            }),
            ParquetKind::Other => Ok(()),
        });
        match read {
            Ok(()) => assert!(next == file.rows() || next > MOST_ROWS || column.kind == ParquetKind::Other),
            Err(error) => check_message(&error),
        }
    }
});
