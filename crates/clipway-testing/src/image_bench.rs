//! Measures how many photographs per second are decoded and turned into pixels, for comparison with Pillow.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clipway_run::image::{DecodeLimits, ImageError, Preprocess, preprocess_batch};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Images per batch.
const BATCH: usize = 32;

/// The measurement, in the same format that the peer's script prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageBench {
    /// `clipway`, or the peer with its versions.
    pub engine: String,
    /// Threads.
    pub threads: usize,
    /// Number of photographs that were read, decoded and transformed.
    pub images: usize,
    /// Photographs per second.
    pub per_second: f64,
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum ImageBenchError {
    /// A file or folder cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A photograph cannot be used.
    #[error("`{path}`: {source}")]
    Image {
        /// The file.
        path: String,
        /// The cause.
        source: ImageError,
    },
    /// The folder holds no photographs.
    #[error("`{0}` holds no JPEG file")]
    Empty(String),
    /// The settings were rejected.
    #[error(transparent)]
    Settings(ImageError),
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {cause}")]
    Threads {
        /// The requested number.
        threads: usize,
        /// The pool's error.
        cause: String,
    },
}

/// Why one photograph failed, without its file name.
enum Failure {
    Read(std::io::Error),
    Image(ImageError),
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// Reads, decodes and transforms up to `limit` JPEG files of a folder, in order of name.
///
/// # Errors
/// If the folder or a file cannot be read, or an image is rejected: a benchmark with failures means nothing.
pub fn measure_images(folder: &Path, threads: usize, limit: usize) -> Result<ImageBench, ImageBenchError> {
    let paths = photographs(folder, limit)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| ImageBenchError::Threads { threads, cause: error.to_string() })?;
    let settings = Preprocess::default();
    let mut pixels = vec![0.0; BATCH * settings.pixel_values()];
    pool.install(|| transform(&paths[..paths.len().min(BATCH)], &settings, &mut pixels))?;
    let start = Instant::now();
    for batch in paths.chunks(BATCH) {
        pool.install(|| transform(batch, &settings, &mut pixels))?;
    }
    let per_second = paths.len() as f64 / start.elapsed().as_secs_f64();
    Ok(ImageBench { engine: "clipway".to_owned(), threads, images: paths.len(), per_second })
}

fn photographs(folder: &Path, limit: usize) -> Result<Vec<PathBuf>, ImageBenchError> {
    let failed = |source| ImageBenchError::Read { path: folder.display().to_string(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "jpg") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.truncate(limit);
    if paths.is_empty() { Err(ImageBenchError::Empty(folder.display().to_string())) } else { Ok(paths) }
}

fn transform(paths: &[PathBuf], settings: &Preprocess, pixels: &mut [f32]) -> Result<(), ImageBenchError> {
    let pixels = &mut pixels[..paths.len() * settings.pixel_values()];
    let read = |place: usize| fs::read(&paths[place]).map_err(Failure::Read);
    let limits = DecodeLimits::default();
    let results = preprocess_batch(paths.len(), read, settings, &limits, pixels);
    for (path, result) in paths.iter().zip(results.map_err(ImageBenchError::Settings)?) {
        let path = || path.display().to_string();
        result.map_err(|failure| match failure {
            Failure::Read(source) => ImageBenchError::Read { path: path(), source },
            Failure::Image(source) => ImageBenchError::Image { path: path(), source },
        })?;
    }
    Ok(())
}
