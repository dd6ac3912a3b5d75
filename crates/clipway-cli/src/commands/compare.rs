//! `clipway compare`: whether two models give features of one space, and where they first differ.

use std::fmt::Write;

use clap::Args;
use clipway_formats::shown;
use clipway_model::artifact::Report;
use clipway_model::source::Source;
use clipway_run::load::{self, LoadOptions};
use clipway_run::space::{Agreement, ComparisonError, Space, SpaceComparison};
use serde::Serialize;

use crate::failure::{Failure, chain};
use crate::options::RunArguments;
use crate::source::{self, SourceArguments, clip_failure, load_failure};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::verification::{InputOptions, space_failure, stages};

/// Compare two models: whether their features can be mixed, and where they first differ
#[derive(Args)]
pub struct Compare {
    /// An exported folder or another source
    one: SourceName,

    /// Another one
    two: SourceName,

    #[command(flatten)]
    inputs: InputOptions,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    source: SourceArguments,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    agreement: &'a Agreement,
    first_difference: Option<&'a str>,
    models: [Model<'a>; 2],
    report: &'a Report,
}

/// One of the models.
#[derive(Serialize)]
struct Model<'a> {
    source: &'a str,
    model: Option<&'a str>,
    fingerprint: &'a str,
    width: usize,
    precision: &'static str,
}

impl<'a> From<&'a Space> for Model<'a> {
    fn from(space: &'a Space) -> Model<'a> {
        Model {
            source: &space.source,
            model: space.model.as_deref(),
            fingerprint: &space.fingerprint,
            width: space.width,
            precision: space.precision.name(),
        }
    }
}

impl Compare {
    /// The sources, which may be on the Hub.
    pub fn sources(&mut self) -> Vec<&mut SourceName> {
        let mut sources = self.source.with_base(&mut self.one);
        sources.push(&mut self.two);
        sources
    }

    /// Compares; true if features of both can be compared with each other.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let load = LoadOptions { compute: self.run.compute(), ..source::load_options(ui)? };
        let inputs = self.inputs.read()?;
        let (one, two) = (self.resolved(&self.one)?, self.resolved(&self.two)?);
        let spinner = ui.spinner("running both models");
        let compared = SpaceComparison::of([&one, &two], &load, &inputs);
        spinner.finish_and_clear();
        let compared = compared.map_err(|error| comparison_failure(&error))?;
        let SpaceComparison { spaces, agreement, report } = &compared;
        let first = compared.first_difference();
        if ui.json() {
            let models = [Model::from(&spaces[0]), Model::from(&spaces[1])];
            ui.data_json(&Answer { agreement, first_difference: first, models, report })?;
        } else {
            let mut text = stages(report);
            report.failures.iter().for_each(|failure| _ = writeln!(text, "{failure}"));
            match first {
                Some(stage) => _ = writeln!(text, "first to differ: {stage}"),
                None => text.push_str("no stage differs by more than rounding\n"),
            }
            let [a, b] = spaces.each_ref().map(|space| (shown(&space.source), &space.fingerprint));
            let _ = writeln!(text, "`{}` ({}) and `{}` ({}): {agreement}", a.0, a.1, b.0, b.1);
            ui.data(&text)?;
        }
        Ok(agreement.fits())
    }

    /// What one of the sources is.
    fn resolved(&self, name: &SourceName) -> Result<Source, Failure> {
        if source::graphs(name, self.source.backend)?.is_some() {
            let message = format!("`{}` holds ONNX graphs, whose blocks have no names", name.said());
            return Err(Failure::could_not_run("unsupported", message)
                .hint("compare ONNX graphs with their source by `clipway verify --against SOURCE`"));
        }
        let options = self.source.options(Some(name));
        let source = load::resolve(&self.source.open(name)?, &options, None);
        source.map_err(|error| load_failure(&error))
    }
}

/// Failure, with its exit status, for a comparison that could not run.
fn comparison_failure(error: &ComparisonError) -> Failure {
    match error {
        ComparisonError::Load(error) => load_failure(error),
        ComparisonError::Space(error) => space_failure(error),
        ComparisonError::Run(error) => clip_failure(error),
        _ => Failure::no(error.code(), chain(error)),
    }
}
