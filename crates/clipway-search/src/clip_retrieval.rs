//! The layout of clip-retrieval: parts of features as `.npy`, and beside each a table of the files' paths and captions.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{NpyValues, ParquetRow, ParquetWriter, npy_header};
use clipway_model::output::{OutputOptions, StagedFile, Staging};
use serde::Serialize;

use crate::error::IndexError;
use crate::index::Index;

/// Rows of a part, as LAION has them.
pub const PART_ROWS: u64 = 1_000_000;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Rows of all parts: one for each file with a feature.
    pub rows: u64,
    /// Parts.
    pub parts: u64,
    /// Paths that are not valid Unicode, and were written with replacement characters.
    pub changed_paths: u64,
}

/// Writes the features of an index as a new folder in the layout of clip-retrieval, in parts of `part_rows`:
/// `img_emb/img_emb_N.npy` (f16, `[rows, width]`) and `metadata/metadata_N.parquet` with the column `image_path`, and `caption` if
/// a file has one. Rows come in the order of the paths' bytes. One row and about 64 MiB of texts are in memory at a time.
///
/// # Errors
/// An existing target, a damaged index, and writes that fail. The target is then absent.
pub fn write_clip_retrieval(index: &Index, target: &Path, part_rows: u64) -> Result<Written, IndexError> {
    let part_rows = part_rows.max(1);
    let (mut rows, mut has_captions) = (0, false);
    index.visit_items(|_, item| {
        rows += u64::from(item.row.is_some());
        has_captions |= item.caption.is_some();
        Ok(())
    })?;
    let columns: &[&str] = if has_captions { &["image_path", "caption"] } else { &["image_path"] };
    let parts = rows.div_ceil(part_rows).max(1);
    // As many digits as the number of parts has.
    let digits = parts.to_string().len();
    let staging = Staging::create(target, OutputOptions::default())?;
    let part = |number: u64| {
        let rows = part_rows.min(rows - number * part_rows);
        Part::create(&staging, &format!("{number:0digits$}"), rows, index.width(), columns)
    };
    let mut current = part(0)?;
    let (mut number, mut filled, mut changed_paths) = (0, 0, 0);
    index.visit_items(|path, item| {
        let Some(row) = item.row else { return Ok(()) };
        if filled == part_rows {
            number += 1;
            filled = 0;
            std::mem::replace(&mut current, part(number)?).finish()?;
        }
        filled += 1;
        changed_paths += u64::from(path.to_str().is_none());
        let path = path.to_string_lossy();
        // Without captions there is no column for the second text.
        current.push(vec![Some(&path), item.caption.as_deref()], &index.rows.halves(row)?)
    })?;
    current.finish()?;
    staging.commit()?;
    Ok(Written { rows, parts, changed_paths })
}

/// A part that is being written.
struct Part {
    features: BufWriter<Out>,
    table: ParquetWriter<BufWriter<Out>>,
    files: [Arc<StagedFile>; 2],
}

impl Part {
    fn create(
        staging: &Staging,
        number: &str,
        rows: u64,
        width: usize,
        columns: &[&str],
    ) -> Result<Part, IndexError> {
        let features = staging.file(&format!("img_emb/img_emb_{number}.npy"))?;
        let metadata = staging.file(&format!("metadata/metadata_{number}.parquet"))?;
        let mut npy = BufWriter::new(Out(Arc::clone(&features)));
        npy.write_all(&npy_header(NpyValues::F16, rows, width))
            .map_err(IndexError::io("write", features.path()))?;
        let table = BufWriter::new(Out(Arc::clone(&metadata)));
        let table =
            ParquetWriter::new(table, columns, false).map_err(IndexError::io("write", metadata.path()))?;
        Ok(Part { features: npy, table, files: [features, metadata] })
    }

    /// Writes a row: path, caption and f16 values.
    fn push(&mut self, texts: Vec<Option<&str>>, feature: &[u8]) -> Result<(), IndexError> {
        let [features, metadata] = &self.files;
        self.features.write_all(feature).map_err(IndexError::io("write", features.path()))?;
        let row = ParquetRow { texts, features: None };
        self.table.push(&row).map_err(IndexError::io("write", metadata.path()))
    }

    fn finish(mut self) -> Result<(), IndexError> {
        let [features, metadata] = &self.files;
        self.features.flush().map_err(IndexError::io("write", features.path()))?;
        self.table.finish().map_err(IndexError::io("write", metadata.path()))
    }
}

/// A file of the output, as a stream.
struct Out(Arc<StagedFile>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}
