//! `clipway cache`: what is kept of the Hub.

use clap::{Args, Subcommand};
use clipway_hub::CachedRepository;
use serde_json::json;

use crate::failure::Failure;
use crate::hub::{client, failure};
use crate::text::bytes;
use crate::ui::Ui;

/// List, verify or clean the Hub's cache
#[derive(Args)]
pub struct Cache {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// List the repositories of models
    List,
    /// Hash every file and compare it with its name
    Verify,
    /// Remove the rest of interrupted downloads, and files whose content is wrong
    Clean,
}

impl Cache {
    /// Runs; false if `verify` finds damage.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let hub = client(ui)?;
        let refuse = |error| failure(&error);
        let cache = hub.cache();
        let mut rows = Vec::new();
        let mut is_good = true;
        for found in cache.repositories().map_err(refuse)? {
            let CachedRepository { repo, revisions, blobs, bytes: size, partial } = &found;
            let mut row = json!({
                "repository": repo.as_str(), "files": blobs, "bytes": size, "partial_bytes": partial,
                "revisions": revisions.iter().map(|(name, commit)| json!({"name": name, "commit": commit})).collect::<Vec<_>>(),
            });
            let mut line = format!("{repo}: {blobs} files, {}", bytes(*size));
            if !matches!(self.action, Action::List) {
                let damaged = cache.damaged(repo).map_err(refuse)?;
                if matches!(self.action, Action::Clean) {
                    let freed = cache.clean(repo, &damaged).map_err(refuse)?;
                    line.push_str(&format!(", {} removed", bytes(freed)));
                    row["freed_bytes"] = json!(freed);
                } else {
                    is_good &= damaged.is_empty();
                    let verdict = match damaged.len() {
                        0 => ", all right".to_owned(),
                        count => format!(", {count} DAMAGED: {}", damaged.join(", ")),
                    };
                    line.push_str(&verdict);
                }
                row["damaged"] = json!(damaged);
            } else {
                let names: Vec<&str> = revisions.iter().map(|(name, _)| name.as_str()).collect();
                line.push_str(&format!(", revisions: {}", names.join(", ")));
            }
            rows.push((row, line));
        }
        if ui.json() {
            ui.data_json(&rows.iter().map(|(row, _)| row).collect::<Vec<_>>())?;
        } else {
            ui.data(&rows.iter().map(|(_, line)| format!("{line}\n")).collect::<String>())?;
        }
        Ok(is_good)
    }
}
