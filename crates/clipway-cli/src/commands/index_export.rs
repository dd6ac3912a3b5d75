//! `clipway index export`: the features of an index for other programs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clipway_formats::shown_path;
use clipway_search::{Index, PART_ROWS, write_clip_retrieval};

use crate::failure::Failure;
use crate::features::Format;
use crate::output;
use crate::searching::{index_failure, write_features};
use crate::text::counted;
use crate::ui::Ui;

/// Write the features of an index for other programs
#[derive(Args)]
pub struct ExportArguments {
    /// The index
    #[arg(value_name = "DIR")]
    path: PathBuf,

    /// The file, by the end of its name: `.safetensors` (with the files in the metadata), `.npy`, `.jsonl` or `.parquet`; a
    /// row for each file, in the order of their paths. With `--layout`, a new folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// Write a folder: clip-retrieval's `img_emb/img_emb_N.npy` (f16) and `metadata/metadata_N.parquet` with `image_path`
    #[arg(long, value_enum)]
    layout: Option<Layout>,

    /// Replace an existing file
    #[arg(long, conflicts_with = "layout")]
    force: bool,
}

/// Layouts of folders.
#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    /// Parts of a million rows, as clip-retrieval and LAION have them.
    ClipRetrieval,
}

impl ExportArguments {
    /// Writes the features.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let rows = match self.layout {
            None => self.file(ui)?,
            Some(Layout::ClipRetrieval) => {
                let index = Index::open(&self.path).map_err(|error| index_failure(&error))?;
                let written = write_clip_retrieval(&index, &self.out, PART_ROWS);
                let written = written.map_err(|error| index_failure(&error))?;
                if written.changed_paths > 0 {
                    let paths = counted(written.changed_paths as usize, "path");
                    ui.warn(&format!("{paths} had bytes that are not Unicode, which were replaced"));
                }
                written.rows
            }
        };
        ui.say(&format!("`{}`: {}", shown_path(&self.out), counted(rows as usize, "file")));
        Ok(true)
    }

    fn file(&self, ui: &Ui) -> Result<u64, Failure> {
        let format = Format::of(&self.out)?;
        let staging = output::file(&self.out, self.force, &[&self.path])?;
        let index = Index::open(&self.path).map_err(|error| index_failure(&error))?;
        write_features(&index, format, staging, ui)
    }
}
