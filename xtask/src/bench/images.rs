//! Photographs per second, clipway and Pillow side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_testing::image_bench::{ImageBench, measure_images};

use super::peer;

/// What to measure.
#[derive(Args)]
pub struct Images {
    /// Folders of JPEG files, as written by `benches/peers/images.py make`
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Numbers of threads, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Maximum images per folder
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// A Python with open_clip, torchvision and Pillow
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

impl Images {
    /// Measures clipway, the peer and clipway again, and prints a line per folder and number of threads.
    pub fn run(&self) -> Result<bool, String> {
        for folder in &self.folders {
            for &threads in &self.threads {
                self.compare(folder, threads)?;
            }
        }
        Ok(true)
    }

    fn compare(&self, folder: &Path, threads: usize) -> Result<(), String> {
        let ours = || measure_images(folder, threads, self.limit).map_err(|error| error.to_string());
        let shown = folder.display().to_string();
        let (count, limit) = (threads.to_string(), self.limit.to_string());
        let before = ours()?;
        let arguments = ["measure", &shown, "--threads", &count, "--limit", &limit];
        let peer: ImageBench = peer::run(&self.python, "images.py", &arguments)?;
        let after = ours()?;
        if peer.images != before.images {
            return Err(format!("the peer read {} images, clipway {}", peer.images, before.images));
        }
        let mean = (before.per_second + after.per_second) / 2.0;
        println!(
            "{shown}, {} images, {threads} thread(s): clipway {:.1} and {:.1} a second, {} {:.1}: {:.2} times",
            before.images,
            before.per_second,
            after.per_second,
            peer.engine,
            peer.per_second,
            mean / peer.per_second
        );
        Ok(())
    }
}
