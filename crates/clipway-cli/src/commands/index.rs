//! `clipway index`.

use clap::Args;

use super::index_actions::IndexAction;
use crate::failure::Failure;
use crate::ui::Ui;

/// Show, check and merge indices of image features
#[derive(Args)]
pub struct IndexCommand {
    #[command(subcommand)]
    action: IndexAction,
}

impl IndexCommand {
    /// Runs the action.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        self.action.run(ui)
    }
}
