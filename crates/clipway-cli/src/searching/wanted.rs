//! Options that say how many results a search gives, and which.

use clap::Args;
use clipway_search::{MOST_RESULTS, SearchOptions};

use super::FilterOptions;
use crate::failure::Failure;

/// Which results are wanted.
#[derive(Args)]
pub struct WantedOptions {
    /// Most results of a query
    #[arg(long, short = 'k', value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MOST_RESULTS as i64))]
    limit: u32,

    /// Least score of a result: standard deviations above the mean of the whole index
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,

    /// Stop at the largest gap between the scores of the results
    #[arg(long)]
    auto: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

impl WantedOptions {
    /// The options of the search.
    ///
    /// # Errors
    /// A pattern that is none, and a score that is no number.
    pub fn options(&self) -> Result<SearchOptions, Failure> {
        let filter = self.filter.filter()?;
        if self.min_score.is_some_and(f32::is_nan) {
            return Err(Failure::could_not_run("bad-option", "`--min-score`: expected a number, found NaN"));
        }
        let limit = self.limit as usize;
        Ok(SearchOptions { limit, filter, min_score: self.min_score, until_gap: self.auto })
    }
}
