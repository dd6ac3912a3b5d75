//! Parquet files of features (<https://parquet.apache.org/docs/file-format/>): written as one flat table, and read as
//! columns of texts and of lists of numbers from the tables of other programs.

mod refusal;
mod thrift;
mod write;
mod schema;
mod footer;
mod inflate;
mod pages;
mod hybrid;
mod delta;
mod values;
mod read;

pub use read::{ParquetColumn, ParquetFile, ParquetKind};
pub use write::{ParquetRow, ParquetWriter, write_parquet};

const MAGIC: &[u8; 4] = b"PAR1";

/// Physical types.
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const FIXED: i64 = 7;

/// Repetition of fields.
const REQUIRED: i64 = 0;
const OPTIONAL: i64 = 1;
const REPEATED: i64 = 2;

/// Converted types.
const UTF8: i64 = 0;
const LIST: i64 = 3;

/// Encodings.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const DELTA_LENGTHS: i64 = 6;
const DELTA_BYTES: i64 = 7;
const RLE_DICTIONARY: i64 = 8;
const SPLIT: i64 = 9;
