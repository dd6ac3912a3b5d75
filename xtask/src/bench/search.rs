//! Search in an index of synthetic features.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

/// Arguments of `bench search`.
#[derive(Args)]
pub struct Search {
    /// Where the index is, or is made: 1.5 kB for each row [default: a folder for temporary files]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Rows
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Numbers of threads
    #[arg(long, default_value = "1,2")]
    threads: String,
    /// Numbers of queries searched with at once, 64 at most
    #[arg(long, default_value = "1,8,64")]
    queries: String,
    /// Repetitions of a measurement
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// Measure only searches that read the rows from the disk
    #[arg(long)]
    on_disk: bool,
}

impl Search {
    /// Runs the benchmark of `clipway-search`, which Cargo builds as a release.
    pub fn run(self) -> Result<bool, String> {
        let mut command = Command::new("cargo");
        command.args(["bench", "--package", "clipway-search", "--bench", "search", "--"]);
        command.args(["--rows", &self.rows.to_string(), "--threads", &self.threads]);
        command.args(["--queries", &self.queries, "--runs", &self.runs.to_string()]);
        if self.on_disk {
            command.arg("--on-disk");
        }
        if let Some(folder) = &self.folder {
            command.arg("--folder").arg(folder);
        }
        let status = command.status().map_err(|error| format!("cargo: {error}"))?;
        Ok(status.success())
    }
}
