//! `clipway push`: an exported folder to the Hub.

use std::path::PathBuf;

use clap::Args;
use clipway_formats::{shown, shown_path};
use clipway_hub::{PushFile, PushOptions, PushState, RepoName};
use clipway_model::artifact::Artifact;
use serde_json::json;

use crate::failure::Failure;
use crate::hub::{client, failure};
use crate::source::artifact_failure;
use crate::text::bytes;
use crate::ui::Ui;

/// Licenses that permit research only, or no commercial use.
const RESEARCH: [&str; 2] = ["apple-amlr", "cc-by-nc"];

/// Upload an exported, verified folder to the Hugging Face Hub
#[derive(Args)]
pub struct Push {
    /// The exported folder
    folder: PathBuf,

    /// Repository to write, created if it does not exist
    #[arg(long, value_name = "OWNER/NAME")]
    repo_id: String,

    /// Branch to write
    #[arg(long, value_name = "BRANCH")]
    revision: Option<String>,

    /// Create the repository as a private one
    #[arg(long)]
    private: bool,

    /// Open a pull request instead of writing to the branch
    #[arg(long)]
    create_pr: bool,

    /// Message of the commit
    #[arg(long, value_name = "TEXT", default_value = "Add model")]
    commit_message: String,

    /// Replace the README of an existing repository, whose text is otherwise kept
    #[arg(long)]
    update_card: bool,

    /// Print the files, sizes and hashes without changing anything
    #[arg(long)]
    dry_run: bool,

    /// Upload a folder that was exported without verification
    #[arg(long)]
    allow_unverified: bool,
}

impl Push {
    /// Checks the folder and uploads what changed.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let license = self.checked(ui)?;
        let refuse = |error| failure(&error);
        let repo = RepoName::parse(&self.repo_id).map_err(refuse)?;
        let hub = client(ui)?;
        let files = PushFile::folder(&self.folder).map_err(refuse)?;
        let options = PushOptions {
            revision: self.revision,
            private: self.private,
            pull_request: self.create_pr,
            summary: self.commit_message,
            keep_readme: !self.update_card,
            dry_run: self.dry_run,
        };
        let plan = hub.push(&repo, &files, &options).map_err(refuse)?;
        if plan.files.iter().any(|(_, state)| *state == PushState::Kept) {
            ui.note("the repository's README stays; `--update-card` replaces it with the folder's");
        }
        let name = |state: &PushState| match state {
            PushState::Unchanged => "unchanged",
            PushState::Inline | PushState::Large => "sent",
            PushState::Kept => "kept",
            PushState::Ignored => "ignored",
        };
        if ui.json() {
            let files: Vec<_> = plan.files.iter().map(|(file, state)| json!({
                "path": file.path, "size": file.size, "sha256": file.sha256, "git": file.git, "state": name(state),
            })).collect();
            ui.data_json(&json!({
                "repository": repo.as_str(), "license": license, "dry_run": self.dry_run, "parent": plan.parent,
                "commit": plan.commit, "pull_request": plan.pull_request, "files": files,
            }))?;
            return Ok(true);
        }
        let mut text = String::new();
        for (file, state) in &plan.files {
            let line = format!(
                "{:<10} {:>12} {} {}\n",
                name(state),
                bytes(file.size),
                file.sha256,
                shown(&file.path)
            );
            text.push_str(&line);
        }
        text.push_str(&match (&plan.commit, &plan.pull_request) {
            _ if self.dry_run => "nothing was sent: this is a dry run\n".to_owned(),
            (_, Some(address)) => format!("pull request {address}\n"),
            (Some(commit), None) => format!("commit {commit}\n"),
            (None, None) => "nothing changed, so there is no commit\n".to_owned(),
        });
        ui.data(&text)?;
        Ok(true)
    }

    /// Checks that the folder is an export whose hashes are right, that it was verified, and that it has a license.
    fn checked(&self, ui: &Ui) -> Result<String, Failure> {
        let folder = shown_path(&self.folder);
        let refuse = |error| artifact_failure(&error);
        let Some(artifact) = Artifact::find(&self.folder).map_err(refuse)? else {
            let message = format!("`{folder}` has no `clipway.json`: it is not an exported folder");
            return Err(Failure::no("missing", message)
                .hint("export it first: `clipway export SOURCE --out DIR --license NAME`"));
        };
        if !Artifact::check_hashes(&self.folder).map_err(refuse)?.is_right() {
            let message = format!("`{folder}` is not what was exported: its hashes differ");
            return Err(Failure::no("checksum", message)
                .hint(format!("see what differs with `clipway verify {folder}`")));
        }
        if !artifact.verification.as_ref().is_some_and(|report| report.passed) && !self.allow_unverified {
            return Err(Failure::no("verification", format!("`{folder}` was exported without verification"))
                .hint("export it again without `--no-verify`, or pass `--allow-unverified`"));
        }
        let Some(license) = &artifact.contract.license else {
            return Err(Failure::no("no-license", format!("`{folder}` states no license"))
                .hint("export it again with `--license NAME`, such as `mit` or `apache-2.0`"));
        };
        let value = license.value.clone();
        if RESEARCH.iter().any(|name| value.to_lowercase().starts_with(name)) {
            ui.warn(&format!("the license `{}` does not permit commercial use", shown(&value)));
        }
        Ok(value)
    }
}
