//! `clipway duplicates`: images of an index that are the same or nearly so.

use std::path::PathBuf;

use clap::Args;
use clipway_formats::shown_path;
use clipway_search::{DuplicateGroup, DuplicateOptions, Index};
use serde::Serialize;

use crate::failure::Failure;
use crate::pool;
use crate::searching::index_failure;
use crate::text::{bytes, counted};
use crate::ui::Ui;

/// List images of an index that are the same or nearly so; nothing is deleted
#[derive(Args)]
pub struct Duplicates {
    /// The index
    #[arg(long, value_name = "DIR")]
    index: PathBuf,

    /// Least cosine of images that count as duplicates
    #[arg(long, value_name = "COSINE", default_value_t = 0.95)]
    threshold: f32,

    /// Only files with the same bytes
    #[arg(long, conflicts_with = "threshold")]
    exact: bool,
}

/// Files that belong together.
#[derive(Serialize)]
struct Group {
    /// The least cosine that joins them; 1 for the same bytes.
    cosine: f32,
    /// The largest image first, then the oldest.
    files: Vec<File>,
}

/// One of the files.
#[derive(Serialize)]
struct File {
    path: PathBuf,
    row: u64,
    bytes: u64,
    /// As the image is shown.
    width: u32,
    height: u32,
    #[serde(skip)]
    date: i64,
}

/// Everything, as JSON.
#[derive(Serialize)]
struct Groups {
    index: PathBuf,
    /// Least cosine of images that count as duplicates; none for the same bytes alone.
    threshold: Option<f32>,
    groups: Vec<Group>,
}

impl Duplicates {
    /// Lists duplicates; without any the answer is yes all the same.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let index = Index::open(&self.index).map_err(|error| index_failure(&error))?;
        let options = DuplicateOptions { threshold: (!self.exact).then_some(self.threshold) };
        let spinner = ui.spinner("duplicates");
        let found =
            index.duplicates(pool::processor(ui)?, &options).map_err(|error| index_failure(&error))?;
        spinner.finish_and_clear();
        let groups = found.into_iter().map(|group| files_of(group, &index)).collect::<Result<Vec<_>, _>>()?;
        let groups = Groups { index: self.index, threshold: options.threshold, groups };
        if ui.json() {
            ui.data_json(&groups)?;
        } else {
            ui.data(&listed(&groups.groups))?;
        }
        Ok(true)
    }
}

fn files_of(group: DuplicateGroup, index: &Index) -> Result<Group, Failure> {
    let mut files = Vec::new();
    for row in group.rows {
        for (path, item) in index.items_of_row(row).map_err(|error| index_failure(&error))? {
            let (width, height) = item.shown_size();
            files.push(File { path, row, bytes: item.size, width, height, date: item.date() });
        }
    }
    let pixels = |file: &File| u64::from(file.width) * u64::from(file.height);
    files.sort_by(|a, b| {
        pixels(b).cmp(&pixels(a)).then(a.date.cmp(&b.date)).then_with(|| a.path.cmp(&b.path))
    });
    Ok(Group { cosine: group.cosine, files })
}

fn listed(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "no duplicates\n".to_owned();
    }
    let mut text = String::new();
    for Group { cosine, files } in groups {
        let how = if files.iter().all(|file| file.row == files[0].row) {
            "the same bytes".to_owned()
        } else {
            format!("cosine {cosine:.4}")
        };
        text.push_str(&format!("{}, {how}\n", counted(files.len(), "file")));
        for File { path, width, height, bytes: size, .. } in files {
            text.push_str(&format!("  {width}x{height}  {}  {}\n", bytes(*size), shown_path(path)));
        }
    }
    let more: usize = groups.iter().map(|group| group.files.len() - 1).sum();
    text.push_str(&format!(
        "{}: {} beyond the first of each\n",
        counted(groups.len(), "group"),
        counted(more, "file")
    ));
    text
}
