//! `clipway search`: the nearest images of an index to texts and images.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use clipway_model::input;
use clipway_search::Index;

use crate::failure::Failure;
use crate::images::ImageOptions;
use crate::output;
use crate::pool;
use crate::searching::{
    Answer, Answers, BackendOption, Encoded, Output, Preview, Query, Term, WantedOptions, WeightedTerm,
    index_failure, link, previews, write_page,
};
use crate::source_name::SourceName;
use crate::ui::Ui;

/// Find the images of an index that fit a text or an image
#[derive(Args)]
pub struct Search {
    /// Texts and image files to search for, one after another; - reads texts, line by line, or an image from standard input
    #[arg(required_unless_present_any = ["plus", "like"])]
    query: Vec<String>,

    /// The index to search
    #[arg(long, value_name = "DIR")]
    index: PathBuf,

    /// The model that encodes the queries: an artifact or another source [default: the one that the index names]
    #[arg(long, value_name = "SOURCE", default_value = "", hide_default_value = true)]
    model: SourceName,

    /// A text or image file to add to each query, with a weight if it is not 1: '2:golden retriever'; can be repeated
    #[arg(long, value_name = "[WEIGHT:]TERM")]
    plus: Vec<String>,

    /// A text or image file to subtract from each query; can be repeated
    #[arg(long, value_name = "[WEIGHT:]TERM")]
    minus: Vec<String>,

    /// Search for images like one of the index, by its path or row; can be repeated
    #[arg(long, value_name = "PATH|ROW")]
    like: Vec<String>,

    /// Template for texts, {} stands for the text; the features of several templates are averaged
    #[arg(long)]
    template: Vec<String>,

    /// Print only the paths of the results, one a line
    #[arg(long, conflicts_with = "print0")]
    paths: bool,

    /// Print only the paths of the results as they are, each followed by a zero byte, for `xargs -0`
    #[arg(long, short = '0')]
    print0: bool,

    /// Show the results as pictures in the terminal
    #[arg(
        long,
        value_name = "WAY",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        conflicts_with_all = ["paths", "print0", "json"]
    )]
    preview: Option<Preview>,

    /// Write the results as a web page with thumbnails, one file, which must be new
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Make a new folder of links to the results, named RANK-NAME
    #[arg(long, value_name = "DIR")]
    link_to: Option<PathBuf>,

    #[command(flatten)]
    wanted: WantedOptions,

    #[command(flatten)]
    backend: BackendOption,

    #[command(flatten)]
    images: ImageOptions,
}

impl Search {
    /// The model, which may be on the Hub.
    pub fn sources(&mut self) -> Vec<&mut SourceName> {
        if self.model.is_empty() { Vec::new() } else { vec![&mut self.model] }
    }

    /// Searches; without a result the answer is no.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let options = self.wanted.options()?;
        let preview = self.preview.map(Preview::resolved).transpose()?;
        let index = Index::open(&self.index).map_err(|error| index_failure(&error))?;
        let page = self.html.as_ref().map(|out| output::file(out, false, &[])).transpose()?;
        let links = self.link_to.as_ref().map(|out| output::folder(out)).transpose()?;
        let queries = self.queries(&index)?;
        let encoded = Encoded {
            index: &index,
            model: &self.model,
            backend: &self.backend,
            images: &self.images,
            templates: &self.template,
        };
        let features = encoded.queries(&queries, ui)?;
        let found = index.search(pool::processor(ui)?, &features, &options);
        let found = found.map_err(|error| index_failure(&error))?;
        let answers: Vec<Answer> = queries
            .into_iter()
            .zip(found)
            .map(|(query, ranking)| Answer::of(query.said, ranking, &index, &options.filter))
            .collect::<Result<_, _>>()?;
        let any = answers.iter().any(|answer| !answer.results.is_empty());
        let answers = Answers::new(&index, answers);
        if let Some(staging) = page {
            let limits = self.images.limits();
            output::put(staging, |file| {
                let mut out = BufWriter::new(file);
                write_page(&answers, &limits, &mut out)?;
                out.flush()
            })?;
        }
        if let Some(staging) = links.filter(|_| any) {
            link(&answers.paths(), staging, ui)?;
        }
        if let Some(preview) = preview {
            ui.data_bytes(&previews(&answers, preview, &self.images.limits()))?;
            return Ok(any);
        }
        let output = match (self.paths, self.print0) {
            (true, _) => Output::Paths,
            (_, true) => Output::Zeros,
            _ => Output::Table,
        };
        answers.print(output, ui)?;
        Ok(any)
    }

    /// The queries: each word and each `--like`, with all that is added and subtracted; or the latter alone.
    fn queries(&self, index: &Index) -> Result<Vec<Query>, Failure> {
        let mut changes = Vec::new();
        let mut said = String::new();
        for (texts, sign, mark) in [(&self.plus, 1.0, '+'), (&self.minus, -1.0, '-')] {
            for text in texts {
                changes.push(WeightedTerm::weighted(text, sign)?);
                said.push_str(&format!(" {mark} {text}"));
            }
        }
        let mut firsts = Vec::new();
        for text in &self.query {
            match text.as_str() {
                input::STDIN => firsts.extend(Term::stdin()?),
                text => firsts.push((text.to_owned(), Term::named(text)?)),
            }
        }
        for name in &self.like {
            firsts.push((format!("like {name}"), Term::like(name, index)?));
        }
        if firsts.is_empty() {
            if changes.is_empty() {
                return Err(Failure::could_not_run("bad-option", "standard input has no texts"));
            }
            return Ok(vec![Query { said: said.trim_start_matches(" + ").to_owned(), terms: changes }]);
        }
        let query = |(first, term)| {
            let terms = std::iter::once(WeightedTerm { term, weight: 1.0 }).chain(changes.clone());
            Query { said: format!("{first}{said}"), terms: terms.collect() }
        };
        Ok(firsts.into_iter().map(query).collect())
    }
}
