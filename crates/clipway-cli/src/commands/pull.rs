//! `clipway pull`: files from the Hub.

use std::path::PathBuf;

use clap::Args;
use clipway_formats::shown_path;
use clipway_hub::Wanted;
use serde_json::json;

use crate::failure::Failure;
use crate::hub::{Named, client, failure, fetched};
use crate::text::bytes;
use crate::ui::Ui;

/// Download a repository from the Hugging Face Hub, every file verified
#[derive(Args)]
pub struct Pull {
    /// OWNER/NAME, hf-hub:OWNER/NAME, or NAME:TAG of open_clip's pretrained weights
    source: String,

    /// Branch, tag or commit
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Also copy the files to this new folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Pull {
    /// Pulls and prints where the files are.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let mut named = Named::parse(&self.source)?;
        let reference = &mut named.reference;
        if reference.revision.is_some() && self.revision.is_some() {
            return Err(Failure::could_not_run("bad-option", "the revision is given twice"));
        }
        reference.revision = reference.revision.take().or(self.revision);
        if let Some(out) = self.out.as_ref().filter(|out| out.symlink_metadata().is_ok()) {
            return Err(Failure::no("exists", format!("`{}` exists", shown_path(out))));
        }
        let hub = client(ui)?;
        let refuse = |error| failure(&error);
        let Named { reference, wanted, .. } = &named;
        let tree = hub.tree(&reference.repo, reference.revision()).map_err(refuse)?;
        let pulled = match wanted {
            Wanted::OpenClip(_) | Wanted::File(_) => fetched(&hub, &named, &tree)?,
            Wanted::Usual => {
                let all: Vec<&str> = tree.files.keys().map(String::as_str).collect();
                hub.pull(&reference.repo, &tree, &all).map_err(refuse)?
            }
        };
        if let Some(out) = &self.out {
            hub.copy_out(&pulled, out).map_err(refuse)?;
        }
        let folder = self.out.as_deref().unwrap_or(&pulled.folder);
        if ui.json() {
            let files: Vec<_> = pulled.files.iter().map(|file| json!({
                "path": file.path, "size": file.entry.size, "hash": file.entry.content.hash(), "fetched": file.was_fetched,
            })).collect();
            ui.data_json(&json!({
                "repository": reference.repo.as_str(),
                "commit": pulled.commit,
                "folder": folder.to_string_lossy(),
                "files": files,
            }))?;
            return Ok(true);
        }
        let total: u64 = pulled.files.iter().map(|file| file.entry.size).sum();
        let fetched: u64 =
            pulled.files.iter().filter(|file| file.was_fetched).map(|file| file.entry.size).sum();
        ui.say(&format!(
            "{} files of `{}`, {}, all verified; {} fetched now",
            pulled.files.len(),
            reference.repo,
            bytes(total),
            bytes(fetched)
        ));
        ui.data(&format!("{}\n", shown_path(folder)))?;
        Ok(true)
    }
}
