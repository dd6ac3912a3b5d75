//! Verification of a trimmed vocabulary: tokens are compared by their spelling, and features bit by bit.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::shown_first;
use clipway_model::artifact::{Report, Stage, Tolerance};
use clipway_model::contract::{HiddenTexts, TrimmedVocabulary};
use clipway_model::plan::Towers;
use clipway_model::source::{Source, Vocabulary};

use super::folder::VerifyError;
use super::outputs::{Inputs, Outputs};
use super::report::compare_rows;
use crate::clip::Clip;
use crate::load::{LoadError, LoadOptions, LoadedTokenizer};
use crate::text::{FolderTokenizer, Renumbering, TokenizerError};

/// Most texts that are named.
const MOST_NAMED: usize = 4;

/// The stage whose results are the same bit for bit: the same rows go through the same layers.
const STAGE: &str = "text features";

/// What two vocabularies make of the texts of a verification.
pub(super) struct Trimmed {
    renumbering: Renumbering,
    /// The inputs, without the texts that the trimmed vocabulary writes differently.
    pub(super) inputs: Inputs,
    /// What a user should know of those.
    note: Option<String>,
}

impl Trimmed {
    /// Compares the tokenizers of a source and of a folder that has fewer tokens; `None` for any other folder.
    pub(super) fn of(
        source: &Source,
        folder: &Source,
        tokenizer: Option<&Path>,
        inputs: &Inputs,
    ) -> Result<Option<Trimmed>, LoadError> {
        let has_texts = source.tower() != Towers::Image && folder.tower() != Towers::Image;
        if !has_texts || folder.model().vocab_size >= source.model().vocab_size {
            return Ok(None);
        }
        let found = [
            LoadedTokenizer::find(source, tokenizer.unwrap_or(source.folder()))?,
            LoadedTokenizer::find(folder, folder.folder())?,
        ];
        let [Some(whole), Some(trimmed)] = found else { return Ok(None) };
        let (whole, trimmed) = (&whole.tokenizer, &trimmed.tokenizer);
        let refuse = |cause| LoadError::Tokenizer { folder: folder.folder().to_owned(), cause };
        let renumbering = Renumbering::between(whole, trimmed).map_err(refuse)?;
        let others = written_otherwise([whole, trimmed], &renumbering, &inputs.texts).map_err(refuse)?;
        let mut inputs = inputs.clone();
        let all = inputs.texts.len();
        inputs.texts.retain(|text| !others.contains(text));
        let note = (!others.is_empty()).then(|| {
            format!(
                "{} of {all} texts are written with other tokens by the trimmed vocabulary, and were not compared: {}",
                all - inputs.texts.len(),
                shown_first(&others, MOST_NAMED)
            )
        });
        Ok(Some(Trimmed { renumbering, inputs, note }))
    }

    /// Gives a folder's tokens the ids of the source.
    pub(super) fn renumber(&self, outputs: &mut Outputs) {
        renumber(&self.renumbering, outputs);
    }

    /// Holds text features to equality where nothing was rounded, and adds the note.
    pub(super) fn hold(&self, report: &mut Report, [expected, found]: [&Outputs; 2], tolerance: &Tolerance) {
        report.notes.extend(self.note.clone());
        let pair = expected.text_features.as_ref().zip(found.text_features.as_ref());
        let Some((expected, found)) = pair.filter(|(e, f)| e.values.len() == f.values.len()) else { return };
        if tolerance.name != Tolerance::f32().name {
            return;
        }
        if let Some(stage) = report.stages.iter_mut().find(|stage| stage.name == STAGE) {
            *stage = compare_rows(STAGE, expected, found, &Tolerance::exact());
            report.passed &= stage.passed;
        }
    }
}

/// The texts that become other tokens.
fn written_otherwise(
    [whole, trimmed]: [&FolderTokenizer; 2],
    renumbering: &Renumbering,
    texts: &[String],
) -> Result<Vec<String>, TokenizerError> {
    let mut others = Vec::new();
    for text in texts {
        let (ours, theirs) = (whole.tokenizer.encode(text)?, trimmed.tokenizer.encode(text)?);
        if !renumbering.is_same(&ours, &theirs) {
            others.push(text.clone());
        }
    }
    Ok(others)
}

/// Runs a source with its whole and with a trimmed vocabulary on the texts, and compares tokens and features, which must be
/// equal.
///
/// # Errors
/// A side that cannot be loaded or run.
pub fn same_texts(
    [whole, trimmed]: [&Source; 2],
    load: &LoadOptions,
    inputs: &Inputs,
) -> Result<Vec<Stage>, VerifyError> {
    let tokenizer = load.tokenizer.as_deref();
    let folder = tokenizer.unwrap_or(whole.folder());
    let found = [LoadedTokenizer::find(whole, folder)?, LoadedTokenizer::find(trimmed, folder)?];
    let [Some(ours), Some(theirs)] = found else { return Ok(Vec::new()) };
    let refuse = |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause };
    let renumbering = Renumbering::between(&ours.tokenizer, &theirs.tokenizer).map_err(refuse)?;
    let outputs = |source: &Source| -> Result<Outputs, VerifyError> {
        let load = LoadOptions { towers: Some(Towers::Text), blocks: false, ..load.clone() };
        Ok(Outputs::compute("a side", &Clip::load(source, &load)?, inputs, false)?)
    };
    let (expected, mut found) = (outputs(whole)?, outputs(trimmed)?);
    renumber(&renumbering, &mut found);
    let pairs = [
        ("tokens of the whole vocabulary", expected.tokens, found.tokens),
        ("text features of the whole vocabulary", expected.text_features, found.text_features),
    ];
    let stages = pairs.into_iter().filter_map(|(name, expected, found)| {
        Some(compare_rows(name, &expected?, &found?, &Tolerance::exact()))
    });
    Ok(stages.collect())
}

/// Gives tokens of a trimmed vocabulary the ids of the whole one.
fn renumber(renumbering: &Renumbering, outputs: &mut Outputs) {
    for id in outputs.tokens.iter_mut().flat_map(|tokens| &mut tokens.values) {
        *id = renumbering.id(*id as i64) as f32;
    }
}

/// The texts that a source with a trimmed vocabulary writes with other tokens than with its whole one.
///
/// # Errors
/// Tokenizer files that cannot be read, and a text that a tokenizer refuses.
pub fn unwritable(
    source: &Source,
    tokenizer: Option<&Path>,
    texts: &[String],
) -> Result<Vec<String>, LoadError> {
    let folder = tokenizer.unwrap_or(source.folder());
    let found = [LoadedTokenizer::find_whole(source, folder)?, LoadedTokenizer::find(source, folder)?];
    let [Some(whole), Some(trimmed)] = found else { return Ok(Vec::new()) };
    let refuse = |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause };
    let renumbering = Renumbering::between(&whole.tokenizer, &trimmed.tokenizer).map_err(refuse)?;
    written_otherwise([&whole.tokenizer, &trimmed.tokenizer], &renumbering, texts).map_err(refuse)
}

/// The vocabulary of a tokenizer that has only some tokens of a source's, by their spelling; `None` if it is no part of it, or
/// all of it.
///
/// # Errors
/// Tokenizer files that cannot be read.
pub fn vocabulary_in(
    source: &Source,
    tokenizer: Option<&Path>,
    trimmed: &FolderTokenizer,
) -> Result<Option<Vocabulary>, LoadError> {
    let folder = tokenizer.unwrap_or(source.folder());
    let Some(whole) = LoadedTokenizer::find_whole(source, folder)? else { return Ok(None) };
    let renumbering = Renumbering::between(&whole.tokenizer, trimmed);
    let renumbering =
        renumbering.map_err(|cause| LoadError::Tokenizer { folder: folder.to_owned(), cause })?;
    let of = source.model().vocab_size;
    // Tokens that keep their ids need no renumbering.
    let moved = |kept: &[u32]| kept.iter().zip(0..).any(|(old, new)| *old != new);
    let kept = renumbering.kept().filter(|kept| kept.is_sorted_by(|a, b| a < b) && moved(kept));
    Ok(kept.map(|kept| {
        let choice = TrimmedVocabulary {
            kept: kept.len(),
            of,
            texts: 0,
            texts_sha256: String::new(),
            hidden: HiddenTexts::default(),
        };
        Vocabulary { kept: Arc::from(kept), choice }
    }))
}
