//! Results: for people, as JSON, and as paths for other programs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clipway_formats::shown_path;
use clipway_run::image::DateTime;
use clipway_search::{Filter, Hit, Index, Item, Ranking};
use serde::Serialize;

use super::index_failure;
use crate::failure::Failure;
use crate::ui::Ui;

/// How results are printed without `--json`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A table.
    Table,
    /// One path per line.
    Paths,
    /// Paths, each followed by a zero byte, as they are.
    Zeros,
}

/// A result with its files.
#[derive(Serialize)]
pub struct Found {
    /// 1 for the best.
    pub rank: usize,
    /// Its row, and how near it is.
    #[serde(flatten)]
    pub hit: Hit,
    /// The first of its files that the filter lets pass.
    pub path: PathBuf,
    /// All of its files, if there are several with the same bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathBuf>,
    /// Width of the image as it is shown, in pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// When it was taken; the date of its file if the image does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The text beside it in its archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
}

/// The results of a query.
#[derive(Serialize)]
pub struct Answer {
    /// The query, as it was given.
    pub query: String,
    /// Mean of its cosines with the whole index.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The results, best first.
    pub results: Vec<Found>,
}

/// The results of all queries.
#[derive(Serialize)]
pub struct Answers {
    index: PathBuf,
    rows: u64,
    /// One for each query.
    pub queries: Vec<Answer>,
}

impl Answer {
    /// Finds the files of the results.
    ///
    /// # Errors
    /// A damaged index.
    pub fn of(query: String, ranking: Ranking, index: &Index, filter: &Filter) -> Result<Answer, Failure> {
        let mut results = Vec::with_capacity(ranking.hits.len());
        for hit in ranking.hits {
            let items = index.items_of_row(hit.row).map_err(|error| index_failure(&error))?;
            let passes = |(path, item): &&(PathBuf, Item)| filter.matches(path, item);
            let Some((path, item)) = items.iter().find(passes).cloned() else { continue };
            let paths =
                if items.len() > 1 { items.into_iter().map(|(path, _)| path).collect() } else { Vec::new() };
            let ((width, height), date) = (item.shown_size(), DateTime::of_seconds(item.date()));
            let date = date.map(|date| date.to_string());
            let (rank, caption) = (results.len() + 1, item.caption);
            results.push(Found { rank, hit, path, paths, width, height, date, caption });
        }
        Ok(Answer { query, mean: ranking.mean, deviation: ranking.deviation, results })
    }
}

impl Answers {
    /// Gathers the results of an index.
    pub fn new(index: &Index, queries: Vec<Answer>) -> Answers {
        let info = index.info();
        Answers { index: info.path, rows: info.rows, queries }
    }

    /// What was searched, for people.
    pub fn said(&self) -> String {
        format!("{} in {}", crate::text::counted(self.rows as usize, "row"), shown_path(&self.index))
    }

    /// The files of all results, best first, each once.
    pub fn paths(&self) -> Vec<&Path> {
        let mut seen = HashSet::new();
        let found = self.queries.iter().flat_map(|answer| &answer.results);
        found.map(|found| found.path.as_path()).filter(|path| seen.insert(*path)).collect()
    }

    /// Prints the results.
    ///
    /// # Errors
    /// A stdout that cannot be written to.
    pub fn print(&self, output: Output, ui: &Ui) -> Result<(), Failure> {
        if ui.json() {
            return ui.data_json(self);
        }
        match output {
            Output::Table => ui.data(&self.table()),
            Output::Paths => ui
                .data(&self.paths().iter().map(|path| format!("{}\n", shown_path(path))).collect::<String>()),
            Output::Zeros => {
                let mut bytes = Vec::new();
                for path in self.paths() {
                    bytes.extend(raw(path));
                    bytes.push(0);
                }
                ui.data_bytes(&bytes)
            }
        }
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for (number, answer) in self.queries.iter().enumerate() {
            if self.queries.len() > 1 {
                let space = if number > 0 { "\n" } else { "" };
                text.push_str(&format!("{space}{}\n", clipway_formats::shown(&answer.query)));
            }
            if answer.results.is_empty() {
                text.push_str("no results\n");
                continue;
            }
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["rank", "score", "cosine", "path"]);
            for Found { rank, hit, path, .. } in &answer.results {
                let (score, cosine) = (format!("{:.2}", hit.score), format!("{:.4}", hit.cosine));
                table.add_row([rank.to_string(), score, cosine, shown_path(path)]);
            }
            for column in 0..3 {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(comfy_table::CellAlignment::Right);
                }
            }
            for line in table.to_string().lines() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

/// A path's bytes.
#[cfg(unix)]
fn raw(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

/// A path's bytes in UTF-8.
#[cfg(not(unix))]
fn raw(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}
