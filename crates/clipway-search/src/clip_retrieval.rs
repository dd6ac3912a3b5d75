//! The layout of clip-retrieval: parts of features as `.npy`, and beside each a table of the files' paths.

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
/// `img_emb/img_emb_N.npy` (f16, `[rows, width]`) and `metadata/metadata_N.parquet` with the column `image_path`. Rows come in
/// the order of the paths' bytes. One row and about 64 MiB of paths are in memory at a time.
///
/// # Errors
/// An existing target, a damaged index, and writes that fail. The target is then absent.
pub fn write_clip_retrieval(index: &Index, target: &Path, part_rows: u64) -> Result<Written, IndexError> {
    let part_rows = part_rows.max(1);
    let mut rows = 0;
    index.visit_items(|_, item| {
        rows += u64::from(item.row.is_some());
        Ok(())
    })?;
    let parts = rows.div_ceil(part_rows).max(1);
    // As many digits as the number of parts has.
    let digits = parts.to_string().len();
    let staging = Staging::create(target, OutputOptions::default())?;
    let part = |number: u64| {
        let rows = part_rows.min(rows - number * part_rows);
        Part::create(&staging, &format!("{number:0digits$}"), rows, index.width())
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
        current.push(&path.to_string_lossy(), &index.rows.halves(row)?)
    })?;
    current.finish()?;
    staging.commit()?;
    Ok(Written { rows, parts, changed_paths })
}

/// A part that is being written.
struct Part {
    features: BufWriter<Out>,
    paths: ParquetWriter<BufWriter<Out>>,
    files: [Arc<StagedFile>; 2],
}

impl Part {
    fn create(staging: &Staging, number: &str, rows: u64, width: usize) -> Result<Part, IndexError> {
        let features = staging.file(&format!("img_emb/img_emb_{number}.npy"))?;
        let paths = staging.file(&format!("metadata/metadata_{number}.parquet"))?;
        let mut npy = BufWriter::new(Out(Arc::clone(&features)));
        npy.write_all(&npy_header(NpyValues::F16, rows, width))
            .map_err(IndexError::io("write", features.path()))?;
        let table = BufWriter::new(Out(Arc::clone(&paths)));
        let table = ParquetWriter::new(table, &["image_path"], false)
            .map_err(IndexError::io("write", paths.path()))?;
        Ok(Part { features: npy, paths: table, files: [features, paths] })
    }

    fn push(&mut self, path: &str, feature: &[u8]) -> Result<(), IndexError> {
        let [features, paths] = &self.files;
        self.features.write_all(feature).map_err(IndexError::io("write", features.path()))?;
        let row = ParquetRow { texts: vec![Some(path)], features: None };
        self.paths.push(&row).map_err(IndexError::io("write", paths.path()))
    }

    fn finish(mut self) -> Result<(), IndexError> {
        let [features, paths] = &self.files;
        self.features.flush().map_err(IndexError::io("write", features.path()))?;
        self.paths.finish().map_err(IndexError::io("write", paths.path()))
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
