//! The features of an index as one file, written row by row.

use std::io::{BufWriter, Write};

use clipway_formats::{NpyValues, ParquetRow, ParquetWriter, npy_header};
use clipway_model::output::Staging;
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
    let failed = |cause| IndexError::Io { action: "write", path: staging.target().to_owned(), cause };
    let mut out = BufWriter::new(&*file);
    let rows = match format {
        Format::Npy => {
            let mut rows = 0;
            each(index, |_, _| {
                rows += 1;
                Ok(())
            })?;
            let header = npy_header(NpyValues::F32, rows, index.width());
            out.write_all(&header).map_err(|cause| index_failure(&failed(cause)))?;
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
            let table = ParquetWriter::new(&mut out, &PARQUET_COLUMNS, true);
            let mut table = table.map_err(|cause| index_failure(&failed(cause)))?;
            let rows = each(index, |path, row| {
                let feature = index.feature(row)?;
                table
                    .push(&ParquetRow { texts: vec![Some(path), None, None], features: Some(&feature) })
                    .map_err(failed)
            })?;
            table.finish().map_err(|cause| index_failure(&failed(cause)))?;
            rows
        }
    };
    out.flush().map_err(|cause| index_failure(&failed(cause)))?;
    drop(out);
    drop(file);
    staging.commit().map_err(|error| refuse(&error, error.code()))?;
    Ok(rows)
}

/// Shows path and row of every file with a feature to a visitor, in the order of the paths' bytes; returns how many there are.
fn each(index: &Index, mut visitor: impl FnMut(&str, u64) -> Result<(), IndexError>) -> Result<u64, Failure> {
    let mut count = 0;
    let visited = index.visit_items(|path, item| {
        let Some(row) = item.row else { return Ok(()) };
        count += 1;
        visitor(&path.to_string_lossy(), row)
    });
    visited.map_err(|error| index_failure(&error))?;
    Ok(count)
}

/// Writes safetensors.
fn gathered(index: &Index, staging: Staging, ui: &Ui) -> Result<u64, Failure> {
    let mut decoded = Decoded::default();
    let rows = each(index, |path, row| {
        decoded.features.extend(index.feature(row)?);
        decoded.images.push(Image { file: path.to_owned(), error: None });
        Ok(())
    })?;
    let features = Features { images: &decoded, texts: &[], text_features: &[], width: index.width() };
    features.write(Format::Safetensors, staging, ui)?;
    Ok(rows)
}
