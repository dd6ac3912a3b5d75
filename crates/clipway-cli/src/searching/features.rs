//! Features that another program made, with the paths of their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Dtype, FormatError, NpyFile, SafetensorsFile, TensorFile, TensorInfo, shown_path};
use clipway_model::input::{self, FileSource, Kind};
use clipway_model::state_dict::cast_to_f32;
use clipway_search::IndexError;
use serde::Deserialize;

use super::index_failure;
use super::table::{Columns, Table};
use crate::failure::{self, Failure};

/// Most bytes of a file of paths.
const MOST_PATH_FILE_BYTES: u64 = 4 << 30;

/// The tensor of `clipway embed` and `clipway index export`.
const TENSOR: &str = "image_features";

/// Features in one file or several, and the path of each row.
pub struct FeatureSource {
    parts: Vec<Part>,
    width: usize,
    /// The paths, in the order of the rows.
    pub paths: Vec<String>,
}

/// Where features and their paths are.
pub struct FeatureFiles<'a> {
    /// A folder in clip-retrieval's layout, a folder of Parquet tables, or a file.
    pub source: &'a Path,
    /// A file of paths, for a source without.
    pub paths: Option<&'a Path>,
    /// Columns of Parquet tables.
    pub columns: &'a Columns,
}

/// A file of features.
enum Part {
    Matrix(Matrix),
    Table(Table),
}

/// A matrix in a file.
struct Matrix {
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
    /// Opens a folder in clip-retrieval's layout, a folder of Parquet tables, or a file: `.npy`, `.safetensors` or
    /// `.parquet`; a width other than `width` and counts that differ are refused. Paths come from the source, or from a file
    /// with one in each line, or with an object of JSON in each line.
    ///
    /// # Errors
    /// A source of another kind, files that are damaged or do not fit, and paths that are missing.
    pub fn open(files: &FeatureFiles<'_>, width: usize) -> Result<FeatureSource, Failure> {
        let source = files.source;
        let found =
            if source.is_dir() { files_of(source)? } else { vec![PartFiles::alone(source.to_owned())] };
        let open = |file: &PartFiles| Part::open(&file.features, files.columns);
        let parts = found.iter().map(open).collect::<Result<Vec<Part>, _>>()?;
        for part in &parts {
            part.check(width)?;
        }
        let rows: usize = parts.iter().map(Part::rows).sum();
        if rows == 0 {
            return Err(Failure::no("missing", format!("`{}` has no rows", shown_path(source))));
        }
        let (named, paths) = match files.paths {
            Some(file) => (file, read_paths(file)?),
            None => {
                let mut paths = Vec::new();
                for (file, part) in found.iter().zip(&parts) {
                    file.paths(part, files.columns, &mut paths)?;
                }
                (source, paths)
            }
        };
        if paths.len() != rows {
            let message = format!("`{}`: expected {rows} paths, one for each row", shown_path(named));
            return Err(Failure::no("shape-mismatch", format!("{message}, found {}", paths.len())));
        }
        Ok(FeatureSource { parts, width, paths })
    }

    /// Shows each row, with its number, to a visitor; a few MiB are in memory at a time, or a page of Parquet, unless an `.npy`
    /// file is stored by columns or big-endian, which is read whole.
    ///
    /// # Errors
    /// Damaged files, files that change meanwhile, a row without a direction, and the visitor's error.
    pub fn visit(
        &self,
        mut visitor: impl FnMut(usize, &[f32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut number = 0;
        for part in &self.parts {
            let first = number;
            part.visit(self.width, &mut |row| {
                if let Some(found) = without_direction(row) {
                    let (path, row) = (shown_path(part.path()), number - first);
                    let message =
                        format!("`{path}`: row {row}: expected a feature with a direction, found {found}");
                    return Err(Failure::no("not-finite", message));
                }
                number += 1;
                visitor(number - 1, row)
            })?;
        }
        Ok(())
    }
}

/// What keeps a feature from being scaled to length 1.
fn without_direction(row: &[f32]) -> Option<String> {
    let bad = row.iter().position(|value| !value.is_finite());
    match bad {
        Some(at) => Some(format!("{} as value {at}", row[at])),
        None => row.iter().all(|value| *value == 0.0).then(|| "zeros alone".to_owned()),
    }
}

impl Part {
    fn open(path: &Path, columns: &Columns) -> Result<Part, Failure> {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        match end.as_str() {
            "parquet" => Table::open(path, columns).map(Part::Table),
            "npy" | "safetensors" => Matrix::open(path.to_owned(), &end).map(Part::Matrix),
            _ => {
                let message = format!("`{}`: unknown kind of file for features", shown_path(path));
                Err(Failure::no("unknown-format", message).hint(
                    "pass a `.npy`, `.safetensors` or `.parquet` file, or a folder with `img_emb/img_emb_0.npy`",
                ))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Part::Matrix(matrix) => &matrix.path,
            Part::Table(table) => table.path(),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Part::Matrix(matrix) => matrix.rows(),
            Part::Table(table) => table.rows(),
        }
    }

    /// Refuses what has no floats of this width, as far as the descriptions of files say it.
    fn check(&self, width: usize) -> Result<(), Failure> {
        match self {
            Part::Matrix(matrix) => matrix.check(width),
            // Its lists are measured one by one, as they are read.
            Part::Table(_) => Ok(()),
        }
    }

    fn visit(
        &self,
        width: usize,
        visitor: &mut dyn FnMut(&[f32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Part::Matrix(matrix) => matrix.visit(visitor),
            Part::Table(table) => table.visit(width, visitor),
        }
    }
}

impl Matrix {
    fn open(path: PathBuf, end: &str) -> Result<Matrix, Failure> {
        let source = Arc::new(input::open(&path, Kind::Weights).map_err(|error| failure::input(&error))?);
        let refuse = |error: FormatError| refused(&path, &error);
        let file: Box<dyn TensorFile> = match end {
            "npy" => Box::new(NpyFile::open(source.clone()).map_err(refuse)?),
            _ => Box::new(SafetensorsFile::open(source.clone()).map_err(refuse)?),
        };
        let named = |info: &TensorInfo| info.name.is_empty() || info.name == TENSOR;
        let Some(tensor) = file.tensors().iter().position(named) else {
            let message = format!("`{}` has no tensor `{TENSOR}`", shown_path(&path));
            return Err(Failure::no("missing", message));
        };
        Ok(Matrix { path, source, file, tensor })
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

    /// The paths that the metadata of safetensors have.
    fn paths(&self) -> Result<Vec<String>, Failure> {
        let Some((_, files)) = self.file.metadata().iter().find(|(key, _)| key == "files") else {
            let message = format!("`{}` does not say which files its rows belong to", shown_path(&self.path));
            let hint = "pass `--paths FILE`, a path in each line; clip-retrieval's layout has them in `metadata/metadata_0.parquet`";
            return Err(Failure::could_not_run("missing", message).hint(hint));
        };
        serde_json::from_str(files).map_err(|error| {
            let message = format!("`{}`: `files` in its metadata: {error}", shown_path(&self.path));
            Failure::no("malformed", message)
        })
    }
}

/// A file of features, and the table beside it that has its paths in clip-retrieval's layout.
struct PartFiles {
    features: PathBuf,
    metadata: Option<PathBuf>,
}

impl PartFiles {
    fn alone(features: PathBuf) -> PartFiles {
        PartFiles { features, metadata: None }
    }

    /// Adds the paths that are stored with its features.
    fn paths(&self, part: &Part, columns: &Columns, out: &mut Vec<String>) -> Result<(), Failure> {
        match (part, &self.metadata) {
            (Part::Matrix(matrix), Some(table)) if table.is_file() => {
                let table = Table::of_paths(table, columns)?;
                if table.rows() != matrix.rows() {
                    let [table, matrix] = [(table.path(), table.rows()), (&matrix.path, matrix.rows())]
                        .map(|(path, rows)| format!("`{}` has {rows} rows", shown_path(path)));
                    return Err(Failure::no("shape-mismatch", format!("{matrix}, and {table}")));
                }
                table.paths(out)
            }
            (Part::Table(table), _) => table.paths(out),
            (Part::Matrix(matrix), _) => {
                out.extend(matrix.paths()?);
                Ok(())
            }
        }
    }
}

/// The files of a folder: in clip-retrieval's layout by their numbers, else Parquet tables by their names.
fn files_of(folder: &Path) -> Result<Vec<PartFiles>, Failure> {
    let inside = folder.join("img_emb");
    if !inside.is_dir() {
        return tables_of(folder);
    }
    let mut files = Vec::new();
    for path in listed(&inside)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let digits = name.and_then(|name| name.strip_prefix("img_emb_")?.strip_suffix(".npy"));
        if let Some((digits, number)) = digits.and_then(|digits| Some((digits, digits.parse::<u64>().ok()?)))
        {
            let metadata = folder.join("metadata").join(format!("metadata_{digits}.parquet"));
            files.push((number, path.clone(), metadata));
        }
    }
    files.sort();
    if files.is_empty() {
        let message = format!("`{}` has no `img_emb_N.npy`", shown_path(&inside));
        return Err(Failure::no("missing", message));
    }
    let with_table = |(_, features, metadata)| PartFiles { features, metadata: Some(metadata) };
    Ok(files.into_iter().map(with_table).collect())
}

/// The tables of a folder that another program wrote one data set into.
fn tables_of(folder: &Path) -> Result<Vec<PartFiles>, Failure> {
    let mut tables = listed(folder)?;
    tables.retain(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet")));
    tables.sort();
    if tables.is_empty() {
        let message = format!("`{}` has no features", shown_path(folder));
        return Err(Failure::no("missing", message).hint(
            "clip-retrieval's layout has `img_emb/img_emb_0.npy`; other programs write `.parquet` files",
        ));
    }
    Ok(tables.into_iter().map(PartFiles::alone).collect())
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let refuse = |error: std::io::Error| failure::folder(folder, &error);
    let entries = std::fs::read_dir(folder).map_err(refuse)?;
    entries.map(|entry| Ok(entry.map_err(refuse)?.path())).collect()
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
pub(super) fn refused(path: &Path, error: &FormatError) -> Failure {
    let code = error.code.name();
    let exit_code = failure::exit_of(code);
    Failure { exit_code, ..Failure::no(code, format!("`{}`: {error}", shown_path(path))) }
}
