//! Two models on the same inputs: whether their features lie in one space, how far apart they are, and where that begins.

use clipway_model::artifact::Report;
use clipway_model::source::Source;

use super::{Agreement, Identity, Probing, Space, SpaceError};
use crate::clip::{Clip, ClipError};
use crate::load::{LoadError, LoadOptions};
use crate::verify::{Inputs, Outputs, report};

/// Two models that were compared.
#[derive(Clone, Debug)]
pub struct SpaceComparison {
    /// Their spaces.
    pub spaces: [Space; 2],
    /// Whether features of both can be compared with each other.
    pub agreement: Agreement,
    /// Pixels, tokens, blocks, features and logits of both on the given inputs, the first model's as the reference; held
    /// to the tolerance of the less precise one.
    pub report: Report,
}

/// A comparison could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A space cannot be stated.
    #[error(transparent)]
    Space(#[from] Box<SpaceError>),
    /// A model refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
}

impl ComparisonError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ComparisonError::Load(error) => error.code(),
            ComparisonError::Space(error) => error.code(),
            ComparisonError::Run(error) => error.code(),
        }
    }
}

impl SpaceComparison {
    /// Runs two sources on the same inputs, one after the other.
    ///
    /// # Errors
    /// A source that cannot be loaded, or that refuses an input.
    pub fn of(
        sources: [&Source; 2],
        load: &LoadOptions,
        inputs: &Inputs,
    ) -> Result<SpaceComparison, ComparisonError> {
        let load = LoadOptions { blocks: true, ..load.clone() };
        let run = |source: &Source| -> Result<(Space, Outputs), ComparisonError> {
            let clip = Clip::load(source, &load)?;
            let identity = Identity::of(source, &clip, &load).map_err(Box::new)?;
            let space = identity.space(&clip, Probing::Whole)?;
            Ok((space, Outputs::compute(&format!("`{}`", source.shown_name()), &clip, inputs, true)?))
        };
        // Only one model is in memory at a time.
        let (one, reference) = run(sources[0])?;
        let (two, subject) = run(sources[1])?;
        let report = report(&reference, &subject, &one.precision.max(two.precision).tolerance());
        let agreement = one.compare(&two);
        Ok(SpaceComparison { spaces: [one, two], agreement, report })
    }

    /// The first stage in which the models differ by more than rounding: `pixels`, `tokens`, a block, features or logits.
    pub fn first_difference(&self) -> Option<&str> {
        // Stages that cannot be compared value by value are failures, and begin with their names.
        let begins = |stage: &'static str| {
            self.report.failures.iter().any(|failure| failure.starts_with(stage)).then_some(stage)
        };
        let bad = self.report.first_bad_stage().map(|stage| stage.name.as_str());
        let of_inputs = ["pixels", "tokens"];
        let bad_input = bad.filter(|name| of_inputs.contains(name));
        let uncompared = || self.report.failures.first().and_then(|failure| failure.split(':').next());
        bad_input.or_else(|| of_inputs.into_iter().find_map(begins)).or(bad).or_else(uncompared)
    }
}
