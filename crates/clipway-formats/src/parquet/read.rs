//! Reading: columns of texts and of lists of numbers.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::footer::Footer;
use super::pages::{Page, Pages};
use super::refusal::{Refusal, malformed};
use super::schema::{Leaf, Stored};
use super::values::{Dictionary, Levels, Value, Values};
use crate::dtype::Dtype;
use crate::error::{Code, FormatError, Place, shown};
use crate::source::ReadAt;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetColumn {
    /// Its name; of a field inside structures, all names, joined by dots.
    pub name: String,
    /// What it holds.
    pub kind: ParquetKind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParquetKind {
    /// Texts, or bytes that may be texts.
    Texts,
    /// Lists of floats in this dtype, of a fixed or of any length.
    Lists(Dtype),
    /// Anything else.
    Other,
}

/// A table. Opening it reads its description, and no values.
///
/// Pages may be plain or compressed with Snappy, gzip or Zstandard; values plain, in dictionaries, split by bytes, or as
/// differences of lengths. A page is in memory at a time, twice if it is compressed, with the dictionary of its column.
pub struct ParquetFile {
    source: Arc<dyn ReadAt>,
    footer: Footer,
    columns: Vec<ParquetColumn>,
}

impl ParquetFile {
    /// Opens a file: reads and checks its description.
    ///
    /// # Errors
    /// `Code::UnknownFormat` without Parquet's first bytes, `Code::Truncated` if the file ends early, `Code::Unsupported`
    /// for encrypted files and columns in other files, and `Code::Malformed` for most other problems.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<ParquetFile, FormatError> {
        let footer = Footer::read(&source)?;
        let columns = footer.leaves.iter().map(column).collect();
        Ok(ParquetFile { source, footer, columns })
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.footer.rows
    }

    /// The columns, in file order.
    pub fn columns(&self) -> &[ParquetColumn] {
        &self.columns
    }

    /// Shows each row of a column of texts to a visitor, with its number from 0, until the visitor breaks off.
    ///
    /// # Errors
    /// `Code::BadValue` at a row that is null or no UTF-8, `Code::Unsupported` for an encoding that is not read, and damaged
    /// pages.
    ///
    /// # Panics
    /// If there is no such column, or it holds something else.
    pub fn visit_texts(
        &self,
        column: usize,
        mut visitor: impl FnMut(u64, &str) -> ControlFlow<()>,
    ) -> Result<(), FormatError> {
        assert_eq!(self.columns[column].kind, ParquetKind::Texts, "a column of texts");
        self.visit(column, &mut |cell| {
            let refuse = |cause: &str| Err(bad_value(cell.row, format!("expected a text, found {cause}")));
            match cell.value {
                Some(Value::Bytes(bytes)) => match str::from_utf8(bytes) {
                    Ok(text) => Ok(visitor(cell.row, text)),
                    Err(_) => refuse("bytes that are not UTF-8"),
                },
                _ => refuse("null"),
            }
        })
        .map(|_| ())
    }

    /// Shows each row of a column of lists to a visitor, with its number from 0, until the visitor breaks off. Values of
    /// f64 are rounded to f32.
    ///
    /// # Errors
    /// `Code::BadValue` at a row that is null, has a null, or has another number of values than `width`,
    /// `Code::Unsupported` for an encoding that is not read, and damaged pages.
    ///
    /// # Panics
    /// If there is no such column, or it holds something else.
    pub fn visit_lists(
        &self,
        column: usize,
        width: usize,
        mut visitor: impl FnMut(u64, &[f32]) -> ControlFlow<()>,
    ) -> Result<(), FormatError> {
        assert!(matches!(self.columns[column].kind, ParquetKind::Lists(_)), "a column of lists");
        let element = self.footer.leaves[column].element;
        let expected = || format!("expected a list of {width} values, found");
        // The row that is being collected, and how many values it has; no more than the width is kept.
        let (mut open, mut list, mut length) = (None, Vec::new(), 0);
        let mut finish = |row: Option<u64>, list: &[f32], length: usize| match row {
            Some(row) if length != width => Err(bad_value(row, format!("{} {length}", expected()))),
            Some(row) => Ok(visitor(row, list)),
            None => Ok(ControlFlow::Continue(())),
        };
        let flow = self.visit(column, &mut |cell| {
            if cell.begins {
                if finish(open, &list, length)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                (open, length) = (Some(cell.row), 0);
                list.clear();
            }
            match cell.value {
                Some(Value::Number(number)) => {
                    length += 1;
                    if length <= width {
                        list.push(number);
                    }
                }
                _ if cell.definition >= element => {
                    let cause = format!("expected a number as value {length} of the list, found null");
                    return Err(bad_value(cell.row, cause));
                }
                // An empty list.
                _ if cell.definition + 1 == element => {}
                _ => return Err(bad_value(cell.row, format!("{} null", expected()))),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if flow.is_continue() {
            let _ = finish(open, &list, length)?;
        }
        Ok(())
    }

    /// Shows every value and null of a column to a visitor.
    fn visit(
        &self,
        column: usize,
        visitor: &mut dyn FnMut(Cell<'_>) -> Result<ControlFlow<()>, FormatError>,
    ) -> Result<ControlFlow<()>, FormatError> {
        let leaf = &self.footer.leaves[column];
        let mut first = 0;
        for group in &self.footer.groups {
            let chunk = group.chunks[column];
            let mut pages = Pages::new(&self.source, chunk);
            let mut rows = Rows { first, count: 0, most: group.rows };
            let (mut dictionary, mut values) = (None, 0_u64);
            while let Some(page) = pages.next()? {
                let refuse = |refusal: Refusal| refusal.at(Place::Byte(page.offset));
                if page.is_dictionary {
                    dictionary = Some(Dictionary::of(&page, leaf.stored).map_err(refuse)?);
                    continue;
                }
                values += page.values as u64;
                if visit_page(&page, leaf, dictionary.as_ref(), &mut rows, visitor)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if (values, rows.count) != (chunk.values, group.rows) {
                let cause = format!(
                    "column `{}`: expected {} values in {} rows, found {values} in {}",
                    shown(&leaf.name),
                    chunk.values,
                    group.rows,
                    rows.count
                );
                return Err(FormatError::new(Code::Malformed, Place::Byte(chunk.start), cause));
            }
            first += group.rows;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A value or a null of a column.
struct Cell<'a> {
    row: u64,
    /// Whether it is the first of its row.
    begins: bool,
    definition: u32,
    value: Option<Value<'a>>,
}

/// The rows of a group.
struct Rows {
    /// The number of the first.
    first: u64,
    /// How many were begun, and how many there are.
    count: u64,
    most: u64,
}

fn visit_page(
    page: &Page,
    leaf: &Leaf,
    dictionary: Option<&Dictionary>,
    rows: &mut Rows,
    visitor: &mut dyn FnMut(Cell<'_>) -> Result<ControlFlow<()>, FormatError>,
) -> Result<ControlFlow<()>, FormatError> {
    let refuse = |refusal: Refusal| refusal.at(Place::Byte(page.offset));
    let mut levels = Levels::of(page, leaf).map_err(refuse)?;
    let mut values = Values::of(page, levels.rest, leaf.stored, dictionary).map_err(refuse)?;
    for _ in 0..page.values {
        let level = |levels: &mut Option<super::hybrid::Hybrid<'_>>, highest: u32| match levels {
            None => Ok(highest),
            Some(levels) => levels.next(),
        };
        let repetition =
            if leaf.repetition == 0 { 0 } else { level(&mut levels.repetition, 0).map_err(refuse)? };
        let definition = level(&mut levels.definition, leaf.definition).map_err(refuse)?;
        if repetition > leaf.repetition || definition > leaf.definition {
            return Err(refuse(malformed(format!("the levels {repetition} and {definition}"))));
        }
        let begins = repetition == 0;
        rows.count += u64::from(begins);
        if rows.count == 0 || rows.count > rows.most {
            let cause = format!("values outside the {} rows of their group", rows.most);
            return Err(refuse(malformed(cause)));
        }
        let value = if definition == leaf.definition { Some(values.next().map_err(refuse)?) } else { None };
        let cell = Cell { row: rows.first + rows.count - 1, begins, definition, value };
        if visitor(cell)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn column(leaf: &Leaf) -> ParquetColumn {
    let dtype = match leaf.stored {
        Stored::Half => Some(Dtype::F16),
        Stored::Single => Some(Dtype::F32),
        Stored::Double => Some(Dtype::F64),
        Stored::Bytes | Stored::Other => None,
    };
    let kind = match (leaf.repetition, dtype) {
        (0, None) if leaf.stored == Stored::Bytes => ParquetKind::Texts,
        (1, Some(dtype)) if leaf.is_flat => ParquetKind::Lists(dtype),
        _ => ParquetKind::Other,
    };
    ParquetColumn { name: leaf.name.clone(), kind }
}

fn bad_value(row: u64, cause: String) -> FormatError {
    FormatError::new(Code::BadValue, Place::Row(row), cause)
}
