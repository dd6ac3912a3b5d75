//! An index that `clipway serve` answers searches from.

use std::path::Path;

use clipway_run::clip::Clip;
use clipway_run::engine::Processor;
use clipway_run::space::Identity;
use clipway_search::{Index, IndexError, SearchOptions};
use clipway_serve::gallery::{
    Gallery, GalleryError, GalleryFeature, GalleryFile, GalleryOptions, GalleryTerm, Match, Matches,
};

use super::encode::weighted_sum;
use super::results::{Answer, Found};
use super::space::check_space;
use super::{FilterOptions, MOST_HELD, index_failure};
use crate::failure::Failure;
use crate::pool;

/// An index, and threads to search it.
pub struct Served {
    index: Index,
    rows: u64,
    /// Threads of its own, so that a search does not wait for the model, nor the model for a search.
    processor: Processor,
}

impl Served {
    /// Opens an index as of its last commit, and checks that the features of a model lie in its space.
    ///
    /// # Errors
    /// An index that cannot be read, `other-space`, and threads that cannot be started.
    pub fn open(path: &Path, identity: Identity, clip: &Clip, threads: usize) -> Result<Served, Failure> {
        let mut index = Index::open(path).map_err(|error| index_failure(&error))?;
        check_space(&index, identity, clip).map_err(|failure| match failure.code {
            "other-space" => failure.hint("serve the model that the index was made with"),
            _ => failure,
        })?;
        index.hold(MOST_HELD).map_err(|error| index_failure(&error))?;
        let processor = Processor::with_threads((threads / 2).max(1));
        let processor = processor.map_err(|error| pool::not_started(&error))?;
        let rows = index.info().rows;
        Ok(Served { index, rows, processor })
    }

    /// The feature of a row that exists.
    fn feature(&self, row: u64) -> Result<Vec<f32>, GalleryError> {
        self.check(row)?;
        self.index.feature(row).map_err(of_index)
    }

    /// Checks that a row exists.
    fn check(&self, row: u64) -> Result<(), GalleryError> {
        let rows = self.rows;
        if row < rows { Ok(()) } else { Err(GalleryError::NoRow { row, rows }) }
    }
}

impl Gallery for Served {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn search(&self, terms: Vec<GalleryTerm>, wanted: &GalleryOptions) -> Result<Matches, GalleryError> {
        let filter = FilterOptions::of_request(&wanted.filter)?
            .filter()
            .map_err(|failure| GalleryError::Query { place: "$.filter.path", reason: failure.message })?;
        let mut features = Vec::with_capacity(terms.len());
        for GalleryTerm { what, weight } in terms {
            let feature = match what {
                GalleryFeature::Given(feature) => feature,
                GalleryFeature::Row(row) => self.feature(row)?,
                GalleryFeature::Path(path) => {
                    let item = self.index.item(&path).map_err(of_index)?;
                    let row = item.and_then(|item| item.row).ok_or(GalleryError::NoPath { path })?;
                    self.feature(row)?
                }
            };
            features.push((feature, weight));
        }
        let query = weighted_sum(self.index.width(), features);
        let &GalleryOptions { limit, min_score, .. } = wanted;
        let options = SearchOptions { limit, filter, min_score, until_gap: false };
        let mut rankings = self.index.search(&self.processor, &query, &options).map_err(of_index)?;
        // There is one ranking for each query.
        let ranking = rankings.remove(0);
        let answer = Answer::of(String::new(), ranking, &self.index, &options.filter);
        let Answer { mean, deviation, results, .. } = answer.map_err(of_failure)?;
        Ok(Matches { mean, deviation, results: results.into_iter().map(matched).collect() })
    }

    fn files(&self, row: u64) -> Result<Vec<GalleryFile>, GalleryError> {
        self.check(row)?;
        let items = self.index.items_of_row(row).map_err(of_index)?;
        let file =
            |(path, item): (_, clipway_search::Item)| GalleryFile { path, size: item.size, hash: item.hash };
        Ok(items.into_iter().map(file).collect())
    }
}

/// A result as the server answers it.
fn matched(found: Found) -> Match {
    let Found { rank, hit, path, paths, width, height, date, caption } = found;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let paths = paths.iter().map(|path| text(path)).collect();
    Match {
        rank,
        row: hit.row,
        cosine: hit.cosine,
        score: hit.score,
        path: text(&path),
        paths,
        width,
        height,
        date,
        caption,
    }
}

fn of_index(error: IndexError) -> GalleryError {
    match error {
        IndexError::NotFinite { .. } | IndexError::BadQuery { .. } => {
            GalleryError::Query { place: "$", reason: error.to_string() }
        }
        error => of_failure(index_failure(&error)),
    }
}

fn of_failure(failure: Failure) -> GalleryError {
    GalleryError::Index { cause_code: failure.code, reason: failure.message }
}
