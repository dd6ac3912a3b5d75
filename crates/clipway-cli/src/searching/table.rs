//! Features and paths as columns of a Parquet table.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clipway_formats::{FormatError, ParquetFile, ParquetKind, shown, shown_first, shown_path};
use clipway_model::input::{self, FileSource, Kind};

use super::features::refused;
use crate::failure::{self, Failure};

/// Names of the column of paths, where no other is given.
const PATHS: [&str; 3] = ["image_path", "file", "path"];

/// The name of the column of features that counts where a table has several.
const FEATURES: &str = "features";

/// Most columns that a message names.
const MOST_NAMED: usize = 10;

/// Columns of Parquet tables.
#[derive(Args, Default)]
pub struct Columns {
    /// The column of Parquet tables with the features, lists of floats [default: `features`, or the only such column]
    #[arg(long, value_name = "NAME")]
    feature_column: Option<String>,

    /// The column of Parquet tables with the paths [default: `image_path`, `file` or `path`]
    #[arg(long, value_name = "NAME")]
    path_column: Option<String>,
}

/// A table.
pub struct Table {
    path: PathBuf,
    source: Arc<FileSource>,
    file: ParquetFile,
    /// The column of features; `None` for a table of paths alone.
    features: Option<usize>,
    /// The name of the column of paths, if it was given.
    paths: Option<String>,
}

impl Table {
    /// Opens a table with a column of features.
    ///
    /// # Errors
    /// A file that is no sound table, and a table without such a column or with several.
    pub fn open(path: &Path, columns: &Columns) -> Result<Table, Failure> {
        let table = Table::of_paths(path, columns)?;
        let wanted = |kind: ParquetKind| matches!(kind, ParquetKind::Lists(_));
        let lists = table.columns(wanted);
        let usual = lists.iter().find(|(_, name)| *name == FEATURES);
        let found = match (&columns.feature_column, usual, lists.as_slice()) {
            (Some(given), ..) => lists.iter().find(|(_, name)| name == given),
            (None, Some(usual), _) => Some(usual),
            (None, None, [only]) => Some(only),
            _ => None,
        };
        let Some((features, _)) = found else {
            let given = columns.feature_column.as_deref();
            let failure = table.no_column(given, "lists of floats", &lists);
            return Err(failure.hint("name the column with features by `--feature-column`"));
        };
        Ok(Table { features: Some(*features), ..table })
    }

    /// Opens a table for its paths alone.
    ///
    /// # Errors
    /// A file that is no sound table.
    pub fn of_paths(path: &Path, columns: &Columns) -> Result<Table, Failure> {
        let source = Arc::new(input::open(path, Kind::Rows).map_err(|error| failure::input(&error))?);
        let file = ParquetFile::open(source.clone()).map_err(|error| refused(path, &error))?;
        let paths = columns.path_column.clone();
        Ok(Table { path: path.to_owned(), source, file, features: None, paths })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.file.rows() as usize
    }

    /// Adds the paths of its rows.
    ///
    /// # Errors
    /// A table without a column of paths, a row without a path, and damaged pages.
    pub fn paths(&self, out: &mut Vec<String>) -> Result<(), Failure> {
        let texts = self.columns(|kind| kind == ParquetKind::Texts);
        let named = |name: &str| texts.iter().find(|(_, found)| *found == name);
        let found = match &self.paths {
            Some(given) => named(given),
            None => PATHS.into_iter().find_map(named),
        };
        let Some((column, _)) = found else {
            let failure = self.no_column(self.paths.as_deref(), "texts", &texts);
            return Err(failure.hint("name the column with paths by `--path-column`, or pass `--paths FILE`"));
        };
        let read = self.file.visit_texts(*column, |_, text| {
            out.push(text.to_owned());
            ControlFlow::Continue(())
        });
        self.read_whole(read)
    }

    /// Shows the features to a visitor.
    ///
    /// # Errors
    /// A row that is null or of another width, damaged pages, a file that changes meanwhile, and the visitor's error.
    pub fn visit(
        &self,
        width: usize,
        visitor: &mut dyn FnMut(&[f32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(column) = self.features else { return Ok(()) };
        let mut failed = None;
        let read = self.file.visit_lists(column, width, |_, row| match visitor(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        failed.map_or(Ok(()), Err)?;
        self.read_whole(read)
    }

    /// The columns of a kind, by place and name.
    fn columns(&self, wanted: impl Fn(ParquetKind) -> bool) -> Vec<(usize, &str)> {
        let columns = self.file.columns().iter().enumerate();
        columns
            .filter(|(_, column)| wanted(column.kind))
            .map(|(at, column)| (at, column.name.as_str()))
            .collect()
    }

    /// Failure where it is not clear which column is meant, or the one that was given is not there.
    fn no_column(&self, given: Option<&str>, what: &str, found: &[(usize, &str)]) -> Failure {
        let expected = match given {
            Some(given) => format!("the column `{}` of {what}", shown(given)),
            None => format!("one column of {what}"),
        };
        let names: Vec<String> = found.iter().map(|(_, name)| (*name).to_owned()).collect();
        let found = if names.is_empty() { "none".to_owned() } else { shown_first(&names, MOST_NAMED) };
        Failure::no("missing", format!("`{}`: expected {expected}, found {found}", shown_path(&self.path)))
    }

    fn read_whole(&self, read: Result<(), FormatError>) -> Result<(), Failure> {
        read.map_err(|error| refused(&self.path, &error))?;
        self.source.check_unchanged().map_err(|error| failure::input(&error))
    }
}
