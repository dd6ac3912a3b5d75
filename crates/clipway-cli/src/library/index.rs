//! An index for a program that keeps it open.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser};
use clipway_run::engine::Processor;
use clipway_search::{Index, Info};

use super::{CallError, OptionValue, words};
use crate::searching::{Answer, MOST_HELD, WantedOptions, index_failure};
use crate::{bad_option, pool};

/// What a search takes besides features: the options of `search` that concern the results.
#[derive(Parser)]
#[command(name = "search", disable_help_flag = true)]
struct SearchArguments {
    #[command(flatten)]
    wanted: WantedOptions,
}

/// An index as of one commit, with threads to search it.
pub struct OpenIndex {
    index: Index,
    processor: Processor,
}

impl OpenIndex {
    /// Opens an index as of its last commit.
    ///
    /// # Errors
    /// An index that cannot be read, and threads that cannot be started.
    pub fn open(path: &Path, threads: Option<usize>) -> Result<OpenIndex, CallError> {
        let mut index = Index::open(path).map_err(|error| index_failure(&error))?;
        index.hold(MOST_HELD).map_err(|error| index_failure(&error))?;
        let processor = threads.map_or_else(Processor::detect, Processor::with_threads);
        let processor = processor.map_err(|error| pool::not_started(&error))?;
        Ok(OpenIndex { index, processor })
    }

    /// What runs a search.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// What the index holds.
    pub fn info(&self) -> Info {
        self.index.info()
    }

    /// Number of values in a feature.
    pub fn width(&self) -> usize {
        self.index.width()
    }

    /// The fingerprint of the space of its features.
    pub fn fingerprint(&self) -> &str {
        &self.index.space().fingerprint
    }

    /// The feature of a row, as it is stored.
    ///
    /// # Errors
    /// A row that does not exist, and an index that cannot be read.
    pub fn feature(&self, row: u64) -> Result<Vec<f32>, CallError> {
        Ok(self.index.feature(row).map_err(|error| index_failure(&error))?)
    }

    /// The results of each query, `[queries, width]`.
    ///
    /// # Errors
    /// Options that there are not, queries of another width or without a direction, and an index that cannot be read.
    pub fn search(
        &self,
        queries: &[f32],
        options: Vec<(String, OptionValue)>,
    ) -> Result<Vec<Answer>, CallError> {
        let mut command = SearchArguments::command();
        command.build();
        let mut arguments = vec![OsString::from("search")];
        arguments.extend(words::words(&command, options, Vec::new())?);
        let parsed = command.try_get_matches_from(arguments);
        let parsed = parsed.and_then(|found| SearchArguments::from_arg_matches(&found));
        let wanted = parsed.map_err(|error| bad_option(&error))?.wanted.options()?;
        let rankings = self.index.search(&self.processor, queries, &wanted);
        let rankings = rankings.map_err(|error| index_failure(&error))?;
        let answers = rankings
            .into_iter()
            .map(|ranking| Answer::of(String::new(), ranking, &self.index, &wanted.filter));
        Ok(answers.collect::<Result<_, _>>()?)
    }
}
