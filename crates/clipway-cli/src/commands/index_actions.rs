//! What can be done with an index beside filling it; `info`, `check` and `merge` are here.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clipway_formats::shown_path;
use clipway_search::{Check, Index, Info, check, merge};

use super::index_export::ExportArguments;
use super::index_import::ImportArguments;
use crate::failure::Failure;
use crate::pool;
use crate::searching::index_failure;
use crate::source_name::SourceName;
use crate::text::{bytes, counted};
use crate::ui::Ui;

/// What to do with an index.
#[derive(Subcommand)]
pub enum IndexAction {
    Info(InfoArguments),
    Check(CheckArguments),
    Merge(MergeArguments),
    Export(ExportArguments),
    Import(ImportArguments),
}

/// Show what an index has
#[derive(Args)]
pub struct InfoArguments {
    /// The index
    #[arg(value_name = "DIR")]
    path: PathBuf,
}

/// Check that an index is whole, and measure how well its search finds what it should
#[derive(Args)]
pub struct CheckArguments {
    /// The index
    #[arg(value_name = "DIR")]
    path: PathBuf,
}

/// Write a new index with everything that others of the same model have
#[derive(Args)]
pub struct MergeArguments {
    /// The indices
    #[arg(value_name = "DIR", required = true)]
    sources: Vec<PathBuf>,

    /// The new index
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl IndexAction {
    /// The model, which may be on the Hub.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        match self {
            IndexAction::Import(arguments) => arguments.sources(),
            _ => Ok(Vec::new()),
        }
    }

    /// Does it; `false` means that the index is damaged.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        match self {
            IndexAction::Info(arguments) => arguments.run(ui),
            IndexAction::Check(arguments) => arguments.run(ui),
            IndexAction::Merge(arguments) => arguments.run(ui),
            IndexAction::Export(arguments) => arguments.run(ui),
            IndexAction::Import(arguments) => arguments.run(ui),
        }
    }
}

impl InfoArguments {
    fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let info = Index::open(&self.path).map_err(|error| index_failure(&error))?.info();
        if ui.json() {
            ui.data_json(&info)?;
        } else {
            ui.data(&shown_info(&info))?;
        }
        Ok(true)
    }
}

fn shown_info(info: &Info) -> String {
    let unknown = || "unknown".to_owned();
    let model = info.model.as_deref().map_or_else(unknown, shown_path);
    let architecture = info.space.model.as_deref().map_or_else(unknown, clipway_formats::shown);
    let mut rows = vec![
        ("index", shown_path(&info.path)),
        ("format", info.version.to_string()),
        ("model", model),
        ("architecture", architecture),
        ("space", clipway_formats::shown(&info.space.fingerprint)),
        ("width", info.width.to_string()),
        ("files", info.items.to_string()),
        ("rows", format!("{} ({} without a file)", info.rows, info.dead)),
        ("size of the rows", bytes(info.rows * info.row_bytes as u64)),
    ];
    if let Some(source) = &info.imported {
        rows.push(("imported from", shown_path(source)));
    }
    rows.iter().map(|(name, value)| format!("{name:<18}{value}\n")).collect()
}

impl CheckArguments {
    fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let spinner = ui.spinner("checking");
        let found = check(&self.path, pool::processor(ui)?).map_err(|error| index_failure(&error))?;
        spinner.finish_and_clear();
        if ui.json() {
            ui.data_json(&found)?;
        } else {
            ui.data(&shown_check(&found))?;
        }
        Ok(found.problems.is_empty())
    }
}

/// What an index has, as a line.
fn size(rows: u64, files: u64) -> String {
    format!("{}, {}\n", counted(files as usize, "file"), counted(rows as usize, "row"))
}

fn shown_check(check: &Check) -> String {
    let mut text = size(check.rows, check.items);
    for problem in &check.problems {
        text.push_str(&format!("damaged: {problem}\n"));
    }
    if check.problems.is_empty() {
        text.push_str("whole: counts, links, checksums and values agree\n");
    }
    if let Some(recall) = check.recall_at_10 {
        let samples = counted(check.samples, "row");
        text.push_str(&format!("recall@10 {recall:.4}, with {samples} as queries\n"));
    }
    text
}

impl MergeArguments {
    fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let merged = merge(&self.out, &self.sources).map_err(|error| index_failure(&error))?;
        if ui.json() {
            ui.data_json(&merged)?;
        } else {
            let mut text = format!("`{}`: {}", shown_path(&self.out), size(merged.rows, merged.items));
            if merged.in_several > 0 {
                let files = counted(merged.in_several as usize, "file");
                text.push_str(&format!("{files} in more than one index\n"));
            }
            ui.data(&text)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_no_files() {
        assert_eq!(size(1, 1), "1 file, 1 row\n");
        let check = Check { rows: 1, items: 2, problems: Vec::new(), recall_at_10: None, samples: 0 };
        assert!(shown_check(&check).starts_with("2 files, 1 row\n"));
    }
}
