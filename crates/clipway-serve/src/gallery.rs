//! What `/v1/search` and `/thumb` ask for: an index of images, as the server sees it. Nothing here knows how one is stored.

use std::path::PathBuf;

use clipway_formats::{shown, shown_path};
use serde::Serialize;

/// Most results of a request.
pub const MOST_RESULTS: usize = 1000;

/// An index of images whose features lie in the space of the served model. Its methods block, and may take long.
pub trait Gallery: Send + Sync + 'static {
    /// Number of rows.
    fn rows(&self) -> u64;

    /// Finds the images nearest to a sum of terms.
    ///
    /// # Errors
    /// Terms without a row or a direction, filters that mean nothing, and an index that cannot be read.
    fn search(&self, terms: Vec<GalleryTerm>, wanted: &GalleryOptions) -> Result<Matches, GalleryError>;

    /// The files with a row, which have the same bytes.
    ///
    /// # Errors
    /// A row that does not exist, and an index that cannot be read.
    fn files(&self, row: u64) -> Result<Vec<GalleryFile>, GalleryError>;
}

/// A part of a query. Its feature is scaled to length 1 before it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct GalleryTerm {
    /// What it stands for.
    pub what: GalleryFeature,
    /// What it counts; below 0 if it is subtracted.
    pub weight: f32,
}

/// Where the feature of a term comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum GalleryFeature {
    /// A feature of the served model, `[width]`.
    Given(Vec<f32>),
    /// A row of the index.
    Row(u64),
    /// The row of a file, by its path in the index. The file is not opened.
    Path(PathBuf),
}

/// What to find.
#[derive(Clone, Debug, PartialEq)]
pub struct GalleryOptions {
    /// Most results, at most [`MOST_RESULTS`].
    pub limit: usize,
    /// Least score of a result.
    pub min_score: Option<f32>,
    /// Which images may be found.
    pub filter: GalleryFilter,
}

/// Which images may be found, as requests say it: like the options of `clipway search` with the same names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GalleryFilter {
    /// Patterns of paths, as alternatives.
    pub path: Vec<String>,
    /// The earliest date.
    pub after: Option<String>,
    /// The first date that is too late.
    pub before: Option<String>,
    /// `WIDTHxHEIGHT`, or a number of pixels.
    pub min_size: Option<String>,
    /// `landscape`, `portrait` or `square`.
    pub orientation: Option<String>,
}

/// The images that were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matches {
    /// Mean of the query's cosines with the whole index.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The images, best first.
    pub results: Vec<Match>,
}

/// An image that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Match {
    /// 1 for the best.
    pub rank: usize,
    /// Its row.
    pub row: u64,
    /// Cosine between the query and the row.
    pub cosine: f32,
    /// How many standard deviations the cosine lies above the mean.
    pub score: f32,
    /// The first of its files that the filter lets pass; what is not UTF-8 is replaced by `U+FFFD`.
    pub path: String,
    /// All of its files, if several have the same bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Width as shown, in pixels; 0 if unknown.
    pub width: u32,
    /// Height as shown, in pixels; 0 if unknown.
    pub height: u32,
    /// When it was taken, or else last changed: `YYYY-MM-DDTHH:MM:SS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The text beside it in its archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
}

/// A file of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryFile {
    /// Where it was when it was indexed.
    pub path: PathBuf,
    /// Number of its bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
}

/// A gallery has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GalleryError {
    /// A part of the request that means nothing.
    #[error("`{place}`: {reason}")]
    Query {
        /// Where it is.
        place: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// There is no such row.
    #[error("there is no row {row}: the index has {rows}")]
    NoRow {
        /// The row.
        row: u64,
        /// Number of rows.
        rows: u64,
    },
    /// No file of this path has a row.
    #[error("`{}` has no row in the index", shown_path(path))]
    NoPath {
        /// The path.
        path: PathBuf,
    },
    /// No file of a row is as it was indexed.
    #[error("row {row} has no image: {reason}")]
    NoImage {
        /// The row.
        row: u64,
        /// Why the last of its files has none.
        reason: String,
    },
    /// The index cannot be searched.
    #[error("the index cannot be searched: {}", shown(reason))]
    Index {
        /// Stable code of the cause.
        cause_code: &'static str,
        /// The cause.
        reason: String,
    },
}

impl GalleryError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            GalleryError::Query { .. } => "bad-value",
            GalleryError::NoRow { .. } | GalleryError::NoPath { .. } => "missing",
            GalleryError::NoImage { .. } => "serve-no-image",
            GalleryError::Index { cause_code, .. } => cause_code,
        }
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            GalleryError::Query { .. } => 400,
            GalleryError::NoRow { .. } | GalleryError::NoPath { .. } | GalleryError::NoImage { .. } => 404,
            GalleryError::Index { .. } => 500,
        }
    }
}
