//! Where an export goes.

use std::path::PathBuf;

use clap::Args;
use clipway_formats::shown_path;

use crate::failure::Failure;

/// Where to write
#[derive(Args)]
pub struct Destination {
    /// Folder to write
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,

    /// Print the plan and the ledger without writing anything
    #[arg(long)]
    pub dry_run: bool,

    /// Replace an existing artifact
    #[arg(long)]
    pub force: bool,
}

impl Destination {
    /// A new folder.
    #[cfg(feature = "hub")]
    pub fn new(folder: PathBuf) -> Destination {
        Destination { out: Some(folder), dry_run: false, force: false }
    }

    /// Why a report could not be printed; what was written stays.
    pub fn written(&self, failure: Failure) -> Failure {
        match &self.out {
            Some(out) if !self.dry_run => {
                let folder = shown_path(out);
                let message = format!(
                    "`{folder}` is complete, but its report could not be printed: {}",
                    failure.message
                );
                Failure { message, ..failure }
            }
            _ => failure,
        }
    }
}
