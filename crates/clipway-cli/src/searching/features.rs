//! Features that another program made, with the paths of their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Dtype, FormatError, NpyFile, SafetensorsFile, TensorFile, TensorInfo, shown_path};
use clipway_model::input::{self, FileSource, Kind};
use clipway_model::state_dict::cast_to_f32;
use clipway_search::IndexError;
use serde::Deserialize;

use super::index_failure;
use crate::failure::{self, Failure};

/// Most bytes of a file of paths.
const MOST_PATH_FILE_BYTES: u64 = 4 << 30;

/// The tensor of `clipway embed` and `clipway index export`.
const TENSOR: &str = "image_features";

/// Matrices of features, and the path of each row.
pub struct FeatureSource {
    parts: Vec<Part>,
    /// The paths, in the order of the rows.
    pub paths: Vec<String>,
}

/// A matrix in a file.
struct Part {
    path: PathBuf,
    source: Arc<FileSource>,
    file: Box<dyn TensorFile>,
    tensor: usize,
}

/// A line of JSON with a path.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "file", alias = "path")]
    image_path: String,
}

impl FeatureSource {
    /// Opens a folder in clip-retrieval's layout, `.npy` or `.safetensors`; a width other than `width` and counts that differ
    /// are refused. Paths are read from a file with one in each line, or with an object of JSON in each line.
    ///
    /// # Errors
    /// A source of another kind, files that are damaged or do not fit, and paths that are missing.
    pub fn open(source: &Path, paths: Option<&Path>, width: usize) -> Result<FeatureSource, Failure> {
        let files = if source.is_dir() { parts_of(source)? } else { vec![source.to_owned()] };
        let parts = files.into_iter().map(Part::open).collect::<Result<Vec<Part>, _>>()?;
        for part in &parts {
            part.check(width)?;
        }
        let rows: usize = parts.iter().map(Part::rows).sum();
        if rows == 0 {
            return Err(Failure::no("missing", format!("`{}` has no rows", shown_path(source))));
        }
        let (named, paths) = match paths {
            Some(file) => (file, read_paths(file)?),
            None => (source, paths_inside(&parts, source)?),
        };
        if paths.len() != rows {
            let message = format!("`{}`: expected {rows} paths, one for each row", shown_path(named));
            return Err(Failure::no("shape-mismatch", format!("{message}, found {}", paths.len())));
        }
        Ok(FeatureSource { parts, paths })
    }

    /// Shows each row, with its number, to a visitor; a few MiB are in memory at a time, unless an `.npy` file is stored by
    /// columns or big-endian, which is read whole.
    ///
    /// # Errors
    /// Damaged files, files that change meanwhile, and the visitor's error.
    pub fn visit(
        &self,
        mut visitor: impl FnMut(usize, &[f32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut number = 0;
        for part in &self.parts {
            part.visit(&mut |row| {
                number += 1;
                visitor(number - 1, row)
            })?;
        }
        Ok(())
    }
}

impl Part {
    fn open(path: PathBuf) -> Result<Part, Failure> {
        let source = Arc::new(input::open(&path, Kind::Weights).map_err(|error| failure::input(&error))?);
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        let refuse = |error: FormatError| refused(&path, &error);
        let file: Box<dyn TensorFile> = match end.as_str() {
            "npy" => Box::new(NpyFile::open(source.clone()).map_err(refuse)?),
            "safetensors" => Box::new(SafetensorsFile::open(source.clone()).map_err(refuse)?),
            _ => {
                let message = format!("`{}`: unknown kind of file for features", shown_path(&path));
                return Err(Failure::no("unknown-format", message)
                    .hint("pass a `.npy` or `.safetensors` file, or a folder with `img_emb/img_emb_0.npy`"));
            }
        };
        let named = |info: &TensorInfo| info.name.is_empty() || info.name == TENSOR;
        let Some(tensor) = file.tensors().iter().position(named) else {
            let message = format!("`{}` has no tensor `{TENSOR}`", shown_path(&path));
            return Err(Failure::no("missing", message));
        };
        Ok(Part { path, source, file, tensor })
    }

    fn info(&self) -> &TensorInfo {
        &self.file.tensors()[self.tensor]
    }

    fn rows(&self) -> usize {
        self.info().shape[0]
    }

    /// Refuses what is no matrix of floats of this width.
    fn check(&self, width: usize) -> Result<(), Failure> {
        let TensorInfo { dtype, shape, .. } = self.info();
        if !matches!(shape[..], [_, found] if found == width) {
            let message =
                format!("`{}`: expected rows of {width} values, the model's width", shown_path(&self.path));
            return Err(Failure::no("shape-mismatch", format!("{message}, found the shape {shape:?}")));
        }
        if !matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32) {
            let message = format!("`{}`: expected values in f16, bf16 or f32", shown_path(&self.path));
            return Err(Failure::no("unsupported", format!("{message}, found {dtype}")));
        }
        Ok(())
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32]) -> Result<(), Failure>) -> Result<(), Failure> {
        let TensorInfo { dtype, shape, .. } = self.info();
        let mut row = vec![0.0; shape[1]];
        let row_bytes = row.len() * dtype.size();
        let (mut pending, mut failed) = (Vec::new(), None);
        let read = self.file.read_chunks(self.tensor, &mut |piece| {
            if failed.is_some() {
                return;
            }
            pending.extend_from_slice(piece);
            let whole = pending.len() / row_bytes * row_bytes;
            for bytes in pending[..whole].chunks_exact(row_bytes) {
                cast_to_f32(*dtype, bytes, &mut row);
                if let Err(error) = visitor(&row) {
                    failed = Some(error);
                    return;
                }
            }
            pending.drain(..whole);
        });
        failed.map_or(Ok(()), Err)?;
        read.map_err(|error| refused(&self.path, &error))?;
        self.source.check_unchanged().map_err(|error| failure::input(&error))
    }
}

/// The parts of a folder in clip-retrieval's layout, by their numbers.
fn parts_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let inside = folder.join("img_emb");
    let entries = std::fs::read_dir(&inside).map_err(|error| {
        failure::folder(&inside, &error).hint("clip-retrieval's layout has `img_emb/img_emb_0.npy`")
    })?;
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failure::folder(&inside, &error))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("img_emb_")?.strip_suffix(".npy"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            parts.push((number, entry.path()));
        }
    }
    parts.sort();
    if parts.is_empty() {
        let message = format!("`{}` has no `img_emb_N.npy`", shown_path(&inside));
        return Err(Failure::no("missing", message));
    }
    Ok(parts.into_iter().map(|(_, path)| path).collect())
}

/// The paths that the metadata of safetensors have.
fn paths_inside(parts: &[Part], source: &Path) -> Result<Vec<String>, Failure> {
    let metadata = parts.iter().flat_map(|part| part.file.metadata());
    let files = metadata.filter(|(key, _)| key == "files").map(|(_, files)| files).next();
    let Some(files) = files else {
        let message = format!("`{}` does not say which files its rows belong to", shown_path(source));
        return Err(Failure::could_not_run("missing", message).hint(
            "pass `--paths FILE`, a path in each line; of clip-retrieval's tables: python -c \"import glob, pandas; [print(p) \
             for f in sorted(glob.glob('metadata/*.parquet')) for p in pandas.read_parquet(f).image_path]\" > FILE",
        ));
    };
    serde_json::from_str(files).map_err(|error| {
        let message = format!("`{}`: `files` in its metadata: {error}", shown_path(source));
        Failure::no("malformed", message)
    })
}

/// Reads a file of paths.
fn read_paths(file: &Path) -> Result<Vec<String>, Failure> {
    let source = input::open(file, Kind::Rows).map_err(|error| failure::input(&error))?;
    let (found, limit) = (clipway_formats::ReadAt::size(&source), MOST_PATH_FILE_BYTES);
    if found > limit {
        let error = IndexError::TooLarge { what: "the size of the file of paths", found, limit };
        return Err(index_failure(&error));
    }
    let bytes = source.read_all().map_err(|error| failure::input(&error))?;
    let refuse = |line: usize, reason: String| {
        Failure::no("malformed", format!("`{}`: line {line}: {reason}", shown_path(file)))
    };
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        refuse(line, "expected UTF-8".to_owned())
    })?;
    let is_json = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl"));
    let path = |(number, line): (usize, &str)| match line {
        line if is_json => serde_json::from_str::<Line>(line)
            .map(|line| line.image_path)
            .map_err(|error| refuse(number + 1, error.to_string())),
        "" => Err(refuse(number + 1, "expected a path, found an empty line".to_owned())),
        line => Ok(line.to_owned()),
    };
    text.trim_start_matches('\u{feff}').lines().enumerate().map(path).collect()
}

/// Failure for a file that cannot be read as features.
fn refused(path: &Path, error: &FormatError) -> Failure {
    let code = error.code.name();
    let exit_code = failure::exit_of(code);
    Failure { exit_code, ..Failure::no(code, format!("`{}`: {error}", shown_path(path))) }
}
