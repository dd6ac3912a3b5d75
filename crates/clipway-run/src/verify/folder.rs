//! Verification of an exported folder against the source it was made from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::Dtype;
use clipway_model::artifact::{Report, Tolerance};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::plan::{Integers, PlannedTensor};
use clipway_model::source::{ConfigOrigin, ModelChoice, Source, SourceError, SourceOptions};

use super::outputs::{Inputs, Outputs};
use super::report::report;
use super::rules::RuleDifference;
use super::texts::TextDifference;
use super::vocabulary::Trimmed;
use crate::clip::{Clip, ClipError};
use crate::engine::Compute;
use crate::image::PixelRule;
use crate::load::{LoadError, LoadOptions, LoadedTokenizer};

/// A verification could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A side cannot be resolved.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A side cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A side refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
}

impl VerifyError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            VerifyError::Source(error) => error.code(),
            VerifyError::Load(error) => error.code(),
            VerifyError::Run(error) => error.code(),
        }
    }
}

/// How to verify a folder.
pub struct FolderVerification<'a> {
    /// Images and texts.
    pub inputs: &'a Inputs,
    /// How to load both sides; the towers are the folder's, and the tokenizer folder is the source's.
    pub load: LoadOptions,
    /// Options given for the source, such as the model. Its towers and sizes are taken from the folder, and precision
    /// and folding are ignored: the source is the reference as it is.
    pub source: SourceOptions,
}

impl FolderVerification<'_> {
    /// Runs the source and the folder on the same inputs, one after the other, and compares them.
    ///
    /// A source without its own config is read with the folder's; sizes that the folder changed are changed in the
    /// source too.
    ///
    /// # Errors
    /// A side that cannot be opened, loaded or run. Differences are not errors: they are in the report.
    pub fn run(&self, folder: &Path, source: &Arc<Checkpoint>) -> Result<Report, VerifyError> {
        self.run_resolved(&resolve_exported(folder)?, source)
    }

    /// The same with a resolved folder.
    ///
    /// # Errors
    /// The errors of [`FolderVerification::run`].
    pub fn run_resolved(&self, folder: &Source, source: &Arc<Checkpoint>) -> Result<Report, VerifyError> {
        let tower = Some(folder.tower());
        let mut options =
            SourceOptions { tower, precision: None, fold: false, vocabulary: None, ..self.source.clone() };
        let stated = folder.checkpoint().artifact().and_then(|artifact| artifact.contract.text.as_ref());
        let is_trimmed = stated.is_some_and(|text| text.vocabulary.is_some());
        let is_unknown = options.model.is_none() && source.config().is_none();
        // The config of a folder with fewer tokens is not the source's.
        if is_unknown && !is_trimmed && !has_own_config(source, folder, &options) {
            let mut config = folder.config().clone();
            // The source's own names show whether it is folded.
            config.model.folded = false;
            options.model = Some(ModelChoice::Config(Box::new(config)));
        }
        let model = folder.model();
        options.image_size = Some(model.image_size);
        options.context_length = Some(model.context_length);
        let rule = |source: &Source| source.config().preprocess().rule;
        let grids = rule(folder).grids();
        options.max_patches = grids.map(|grids| grids.most);
        let reference = Source::of(Arc::clone(source), &options)?;
        let tolerance = tolerance(&reference, folder);
        // What is widened is held to the same numbers in f32, not to products of int8.
        let is_widened = integers(&reference).is_some() && integers(folder).is_none();
        let compute = if is_widened { Compute::F32 } else { self.load.compute };

        let name = source.path().file_name().unwrap_or(source.path().as_os_str()).to_string_lossy();
        // One side may be a transformers folder and the other not: weights and settings are then compared on the same
        // pixels, open_clip's, or timm's where images keep their proportions.
        let rules = [rule(&reference), rule(folder)];
        let common = (rules[0] != rules[1]).then(|| grids.map_or(PixelRule::OpenClip, PixelRule::Timm));
        let trimmed = Trimmed::of(&reference, folder, self.load.tokenizer.as_deref(), self.inputs)?;
        let inputs = trimmed.as_ref().map_or(self.inputs, |trimmed| &trimmed.inputs);
        let clip = self.loaded(&reference, self.load.tokenizer.clone(), compute)?;
        // Different rules are not the folder's fault, but its user should know what they cost.
        let pixels = RuleDifference::of(&clip, inputs, rules)?;
        let texts = match LoadedTokenizer::of_library(folder)? {
            // The ids of a trimmed vocabulary are not the source's; the export's own notes say what its library does.
            Some(library) if trimmed.is_none() => TextDifference::of(&clip, inputs, &library)?,
            _ => None,
        };
        let expected = self.outputs(&format!("`{name}`"), clip, inputs, common.clone())?;
        let clip = self.loaded(folder, None, self.load.compute)?;
        let mut found = self.outputs(&subject(folder), clip, inputs, common)?;
        if let Some(trimmed) = &trimmed {
            trimmed.renumber(&mut found);
        }
        let mut report = report(&expected, &found, &tolerance);
        if let Some(trimmed) = &trimmed {
            trimmed.hold(&mut report, [&expected, &found], &tolerance);
        }
        report.notes.extend(pixels.map(|difference| difference.to_string()));
        report.notes.extend(texts.map(|difference| difference.to_string()));
        Ok(report)
    }

    fn loaded(
        &self,
        source: &Source,
        tokenizer: Option<PathBuf>,
        compute: Compute,
    ) -> Result<Clip, LoadError> {
        Clip::load(source, &LoadOptions { towers: None, tokenizer, compute, ..self.load.clone() })
    }

    /// Runs a side and then frees its weights.
    fn outputs(
        &self,
        name: &str,
        mut clip: Clip,
        inputs: &Inputs,
        rule: Option<PixelRule>,
    ) -> Result<Outputs, VerifyError> {
        if let Some(rule) = rule {
            clip = clip.with_pixel_rule(rule);
        }
        Ok(Outputs::compute(name, &clip, inputs, self.load.blocks)?)
    }
}

/// Whether a source's own config is used, as of a transformers folder: the folder is held to it. The config of a folder
/// for transformers names a tokenizer in that folder, which another source does not have.
fn has_own_config(source: &Arc<Checkpoint>, folder: &Source, options: &SourceOptions) -> bool {
    Source::of(Arc::clone(source), options).is_ok_and(|source| {
        let is_foreign = [source.layout(), folder.layout()].iter().any(|layout| layout.is_of_transformers());
        is_foreign && matches!(source.origin(), ConfigOrigin::Layout(_))
    })
}

/// Resolves an exported folder as its own library reads it: a folder for another library than open_clip is read from
/// its own files alone, since that library does not know `clipway.json`.
///
/// # Errors
/// A folder that cannot be opened or resolved.
pub fn resolve_exported(folder: &Path) -> Result<Source, SourceError> {
    let checkpoint = Checkpoint::open(folder)?;
    let ignore_artifact = checkpoint.artifact().is_some_and(|artifact| !artifact.is_for_open_clip());
    Source::of(checkpoint, &SourceOptions { ignore_artifact, ..SourceOptions::default() })
}

/// The narrowest integers that a tensor is stored in.
fn integers(source: &Source) -> Option<Integers> {
    source.plan().tensors.iter().filter_map(PlannedTensor::integers).max()
}

/// A folder's name in reports, with the files that determine how it is read.
fn subject(folder: &Source) -> String {
    match folder.artifact() {
        Some(_) => "the folder, read by its `clipway.json`,".to_owned(),
        None => format!("the folder, read as {} by its own files,", folder.layout().title),
    }
}

/// The tolerance for rounding to the folder's dtypes.
fn tolerance(reference: &Source, subject: &Source) -> Tolerance {
    let [before, found] = [reference, subject].map(integers);
    // What is in the same integers on both sides was copied, and what is in none was widened.
    if found.is_some() && found != before {
        return match found.max(before) {
            Some(Integers::Int4) => Tolerance::int4(),
            _ => Tolerance::int8(),
        };
    }
    let dtypes = |source: &Source| -> Vec<(String, Dtype)> {
        let targets = source.plan().tensors.iter().map(|planned| &planned.target);
        targets.map(|target| (target.name.clone(), target.dtype)).collect()
    };
    tolerance_of(&dtypes(reference), &dtypes(subject))
}

/// No tolerance for rounding is needed if no tensor is narrower than before, or, for renamed tensors such as folded
/// convolutions, narrower than the narrowest of all.
fn tolerance_of(reference: &[(String, Dtype)], subject: &[(String, Dtype)]) -> Tolerance {
    let bits_of = |tensors: &[(String, Dtype)]| -> HashMap<String, u32> {
        let floats = tensors.iter().filter(|(_, dtype)| dtype.is_float());
        floats.map(|(name, dtype)| (name.clone(), significant_bits(*dtype).min(24))).collect()
    };
    let before = bits_of(reference);
    let narrowest = before.values().copied().min().unwrap_or(24);
    let narrowed =
        bits_of(subject).into_iter().filter(|(name, bits)| bits < before.get(name).unwrap_or(&narrowest));
    match narrowed.map(|(_, bits)| bits).min() {
        None => Tolerance::f32(),
        Some(11..) => Tolerance::fp16(),
        Some(_) => Tolerance::bf16(),
    }
}

/// Number of significant bits of a floating-point dtype.
fn significant_bits(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F64 => 53,
        Dtype::F16 => 11,
        Dtype::BF16 => 8,
        Dtype::F8E4M3 => 4,
        Dtype::F8E5M2 => 3,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_for_what_is_rounded() {
        let check = |reference: &[(&str, Dtype)], subject: &[(&str, Dtype)], name: &str| {
            let owned = |tensors: &[(&str, Dtype)]| -> Vec<(String, Dtype)> {
                tensors.iter().map(|(name, dtype)| ((*name).to_owned(), *dtype)).collect()
            };
            assert_eq!(
                tolerance_of(&owned(reference), &owned(subject)).name,
                name,
                "{reference:?} {subject:?}"
            );
        };
        check(&[("a", Dtype::F32)], &[("a", Dtype::F32)], "f32");
        check(&[("a", Dtype::F64)], &[("a", Dtype::F32)], "f32");
        check(&[("a", Dtype::F32)], &[("a", Dtype::F16)], "fp16");
        check(&[("a", Dtype::F16)], &[("a", Dtype::F32)], "f32");
        check(&[("a", Dtype::F16)], &[("a", Dtype::BF16)], "bf16");
        check(
            &[("a", Dtype::F16), ("count", Dtype::I64)],
            &[("folded", Dtype::F16), ("count", Dtype::I64)],
            "f32",
        );
        // Like ResNets in OpenAI's archives: weights in fp16, and statistics in fp32 that the folder stores in fp16.
        let archive = [("a", Dtype::F16), ("running_var", Dtype::F32)];
        check(&archive, &archive, "f32");
        check(&archive, &[("a", Dtype::F16), ("running_var", Dtype::F16)], "fp16");
    }
}
