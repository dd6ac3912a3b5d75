//! Features in a file of safetensors, and how near two are.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{SafetensorsFile, TensorFile};
use clipway_model::input::{self, Kind};
use clipway_model::state_dict::cast_to_f32;
use clipway_run::verify::cosine;

/// A file of features.
pub struct Features(SafetensorsFile);

impl Features {
    pub fn read(path: &Path) -> Result<Features, String> {
        let fault = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
        let source = input::open(path, Kind::Weights).map_err(|error| fault(&error))?;
        SafetensorsFile::open(Arc::new(source)).map(Features).map_err(|error| fault(&error))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.tensors().iter().any(|tensor| tensor.name == name)
    }

    /// The rows of a tensor, and their width.
    fn rows(&self, name: &str) -> Result<(Vec<f32>, usize), String> {
        let index = self.0.tensors().iter().position(|tensor| tensor.name == name);
        let index = index.ok_or_else(|| format!("`{name}` is missing"))?;
        let info = &self.0.tensors()[index];
        let width = *info.shape.last().ok_or_else(|| format!("`{name}` has no rows"))?;
        let mut bytes = Vec::new();
        self.0.read(index, &mut bytes).map_err(|error| error.to_string())?;
        let mut values = vec![0.0; bytes.len() / info.dtype.size()];
        cast_to_f32(info.dtype, &bytes, &mut values);
        Ok((values, width))
    }
}

impl Features {
    /// The number of rows of a tensor.
    pub fn count(&self, name: &str) -> Result<usize, String> {
        let (values, width) = self.rows(name)?;
        Ok(values.len() / width.max(1))
    }

    /// The files that `embed` took, in the order of their rows.
    pub fn files(&self) -> Result<Vec<String>, String> {
        let metadata = self.0.metadata().iter().find(|(key, _)| key == "files");
        let (_, files) = metadata.ok_or("the metadata names no files")?;
        serde_json::from_str(files).map_err(|error| format!("`files` of the metadata: {error}"))
    }

    /// The cosine of a tensor that is one row and a row of another file's tensor.
    pub fn cosine(&self, name: &str, other: &Features, key: &str, row: usize) -> Result<f64, String> {
        let (expected, _) = self.rows(name)?;
        let (found, width) = other.rows(key)?;
        let found =
            found.chunks_exact(width.max(1)).nth(row).ok_or_else(|| format!("row {row} is missing"))?;
        if expected.len() != found.len() {
            return Err(format!("`{name}`: {} values against {}", expected.len(), found.len()));
        }
        Ok(cosine(&expected, found))
    }
}

/// The smallest cosine of two rows; lengths do not count, since either side may be normalized.
pub fn worst(expected: &Features, theirs: &str, found: &Features, ours: &str) -> Result<f64, String> {
    let (expected, width) = expected.rows(theirs)?;
    let (found, found_width) = found.rows(ours)?;
    if width == 0 || width != found_width || expected.len() != found.len() || expected.is_empty() {
        return Err(format!(
            "{} values of width {width} against {} of {found_width}",
            expected.len(),
            found.len()
        ));
    }
    let rows = expected.chunks_exact(width).zip(found.chunks_exact(width));
    Ok(rows
        .map(|(a, b)| cosine(a, b))
        .fold(f64::INFINITY, |least, cosine| if cosine >= least { least } else { cosine }))
}
