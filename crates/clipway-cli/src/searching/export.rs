//! The features of an index as one file, written row by row.

use std::io::{BufWriter, Write};

use clipway_formats::{NpyValues, ParquetRow, ParquetWriter, npy_header};
use clipway_model::output::{StagedFile, Staging};
use clipway_search::{Index, IndexError};

use super::index_failure;
use crate::failure::{Failure, chain};
use crate::features::{Features, Format, PARQUET_COLUMNS, Row};
use crate::images::{Decoded, Image};
use crate::ui::Ui;

/// Writes the features, a row for each file, and puts the file into place; returns the number of rows.
///
/// Only safetensors is gathered in memory: its header, which comes first, has the paths and the size of all.
///
/// # Errors
/// A damaged index, and writes that fail.
pub fn write_features(index: &Index, format: Format, staging: Staging, ui: &Ui) -> Result<u64, Failure> {
    if format == Format::Safetensors {
        return gathered(index, staging, ui);
    }
    let refuse = |error: &dyn std::error::Error, code| Failure::could_not_run(code, chain(error));
    let file = staging.single_file().map_err(|error| refuse(&error, error.code()))?;
    let rows = written(index, format, &file).map_err(|error| index_failure(&error))?;
    drop(file);
    staging.commit().map_err(|error| refuse(&error, error.code()))?;
    Ok(rows)
}

/// Writes a format that takes row by row.
fn written(index: &Index, format: Format, file: &StagedFile) -> Result<u64, IndexError> {
    let failed = |cause| IndexError::Io { action: "write", path: file.path().to_owned(), cause };
    let mut out = BufWriter::new(file);
    let rows = match format {
        Format::Npy => {
            let mut rows = 0;
            each(index, |_, _| {
                rows += 1;
                Ok(())
            })?;
            out.write_all(&npy_header(NpyValues::F32, rows, index.width())).map_err(failed)?;
            each(index, |_, row| {
                let bytes: Vec<u8> =
                    index.feature(row)?.iter().flat_map(|value| value.to_le_bytes()).collect();
                out.write_all(&bytes).map_err(failed)
            })?
        }
        Format::JsonLines => each(index, |path, row| {
            serde_json::to_writer(&mut out, &Row::of_file(path, &index.feature(row)?))
                .map_err(|error| failed(error.into()))?;
            out.write_all(b"\n").map_err(failed)
        })?,
        Format::Parquet | Format::Safetensors => {
            let mut table = ParquetWriter::new(&mut out, &PARQUET_COLUMNS, true).map_err(failed)?;
            let rows = each(index, |path, row| {
                let feature = index.feature(row)?;
                table
                    .push(&ParquetRow { texts: vec![Some(path), None, None], features: Some(&feature) })
                    .map_err(failed)
            })?;
            table.finish().map_err(failed)?;
            rows
        }
    };
    out.flush().map_err(failed)?;
    Ok(rows)
}

/// Shows path and row of every file with a feature to a visitor, in the order of the paths' bytes; returns how many there are.
fn each(
    index: &Index,
    mut visitor: impl FnMut(&str, u64) -> Result<(), IndexError>,
) -> Result<u64, IndexError> {
    let mut count = 0;
    index.visit_items(|path, item| {
        let Some(row) = item.row else { return Ok(()) };
        count += 1;
        visitor(&path.to_string_lossy(), row)
    })?;
    Ok(count)
}

/// Writes safetensors.
fn gathered(index: &Index, staging: Staging, ui: &Ui) -> Result<u64, Failure> {
    let mut decoded = Decoded::default();
    let rows = each(index, |path, row| {
        decoded.features.extend(index.feature(row)?);
        decoded.images.push(Image { file: path.to_owned(), error: None });
        Ok(())
    });
    let rows = rows.map_err(|error| index_failure(&error))?;
    let features = Features { images: &decoded, texts: &[], text_features: &[], width: index.width() };
    features.write(Format::Safetensors, staging, ui)?;
    Ok(rows)
}
