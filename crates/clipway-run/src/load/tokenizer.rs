//! The tokenizer of a source.

use std::path::{Path, PathBuf};

use clipway_model::artifact::{Artifact, ArtifactError};
use clipway_model::config::TextConfig;
use clipway_model::contract::{Known, Origin};
use clipway_model::export::TokenizerParts;
use clipway_model::input;
use clipway_model::plan::Towers;
use clipway_model::source::Source;

use super::error::LoadError;
use crate::text::{
    FolderTokenizer, TextReading, TextTarget, Tokenizer, TokenizerError, TokenizerFiles, TokenizerRules,
};

/// transformers' config, which names the kind of model.
const TRANSFORMERS_CONFIG: &str = "config.json";

/// A model's tokenizer, with what an artifact records about it.
#[derive(Debug)]
pub struct LoadedTokenizer {
    /// The tokenizer and its files.
    pub tokenizer: FolderTokenizer,
    /// Its origin.
    pub from: Origin,
    /// The origin of its cleaning.
    pub cleaning_from: Origin,
    /// The folder of its files.
    folder: PathBuf,
}

impl LoadedTokenizer {
    /// Finds a source's tokenizer in `folder`, as the source's own library reads it: CLIP's is built in, any other is
    /// in the folder. `None` if its files are missing. If the folder has a `clipway.json` and no other library reads
    /// it, the rules are those stated there.
    ///
    /// # Errors
    /// Files that cannot be read or are malformed, and a tokenizer that does not match the model.
    pub fn find(source: &Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let Some(found) = LoadedTokenizer::find_whole(source, folder)? else { return Ok(None) };
        let Some((vocabulary, whole)) = source.vocabulary() else { return Ok(Some(found)) };
        let trimmed = found.tokenizer.trimmed(&vocabulary.kept, whole);
        let trimmed = trimmed.and_then(|trimmed| trimmed.checked(&source.config().model.text));
        let refuse = |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause };
        Ok(Some(LoadedTokenizer { tokenizer: trimmed.map_err(refuse)?, ..found }))
    }

    /// The same with the whole vocabulary, whatever is kept of it.
    ///
    /// # Errors
    /// The errors of [`LoadedTokenizer::find`].
    pub fn find_whole(source: &Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let text = source.vocabulary().map_or(&source.config().model.text, |(_, whole)| whole);
        let reading = TextReading::of(source.layout(), source.origin());
        let refuse =
            |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause: with_files(cause, source) };
        let is_own = folder == source.folder();
        let other = if is_own { None } else { Artifact::find(folder)? };
        let artifact = if is_own { source.artifact() } else { other.as_ref() };
        let inputs = if is_own { input::Folder::open_if_any(folder) } else { input::Folder::open(folder) }?;
        let files = files(&inputs, |name| match artifact {
            Some(artifact) => artifact.check_listed(folder, name),
            None => Ok(()),
        })?;
        let stored = stored_rules(artifact).filter(|_| reading == TextReading::OpenClip);
        let (found, known) = match stored {
            Some((rules, from, cleaning_from)) => {
                let found = FolderTokenizer::by_rules(rules, text, &files).map(Some);
                (found, Some((from, cleaning_from)))
            }
            None => (FolderTokenizer::read(text, reading, &files), None),
        };
        let Some(tokenizer) = found.map_err(refuse)? else { return Ok(None) };
        let (from, cleaning_from) =
            known.unwrap_or_else(|| known_from(source, text, folder, reading, tokenizer.is_built_in, &files));
        Ok(Some(LoadedTokenizer { tokenizer, from, cleaning_from, folder: folder.to_owned() }))
    }

    /// The tokenizer of a folder as the folder's library reads it, which does not know `clipway.json`; `None` if that
    /// library cannot read it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn of_library(folder: &Source) -> Result<Option<Tokenizer>, LoadError> {
        if folder.tower() == Towers::Image {
            return Ok(None);
        }
        let files = files(&input::Folder::open_if_any(folder.folder())?, |_| Ok(()))?;
        let reading = TextReading::of(folder.layout(), folder.origin());
        let found = FolderTokenizer::read(&folder.config().model.text, reading, &files);
        // The export's own notes say what the library cannot follow.
        Ok(found.ok().flatten().map(|found| found.tokenizer))
    }

    /// The tokenizer files and rules for the library of a layout, given by the name that artifacts use.
    ///
    /// # Errors
    /// Rules that the library cannot follow.
    pub fn parts_for(self, layout: &str, source: &Source) -> Result<TokenizerParts, LoadError> {
        let text = &source.config().model.text;
        let refuse = |cause| LoadError::Tokenizer { folder: self.folder.clone(), cause };
        let written = self.tokenizer.written_for(TextTarget::of(layout), text).map_err(refuse)?;
        Ok(TokenizerParts { files: written.files, rules: Some(written.rules), notes: written.notes })
    }

    /// Finds the tokenizer like [`LoadedTokenizer::find`], and records it in the source's contract.
    ///
    /// # Errors
    /// The errors of [`LoadedTokenizer::find`].
    pub fn read_into(source: &mut Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let found = LoadedTokenizer::find(source, folder)?;
        if let Some(LoadedTokenizer { tokenizer, from, cleaning_from, .. }) = &found {
            let rules = Known::new(tokenizer.tokenizer.rules().clone(), from.clone());
            source.set_tokenizer(rules, cleaning_from.clone());
            source.add_notes(tokenizer.notes.iter().cloned());
        }
        Ok(found)
    }
}

/// The tokenizer files of a folder, each checked by `check`.
pub(super) fn files(
    folder: &input::Folder,
    check: impl Fn(&str) -> Result<(), ArtifactError>,
) -> Result<Vec<(String, Vec<u8>)>, LoadError> {
    let mut files = Vec::new();
    let names = TokenizerFiles::NAMES.into_iter().chain(TokenizerFiles::RANKS).chain([TRANSFORMERS_CONFIG]);
    for name in names.filter(|name| folder.has(name)) {
        check(name)?;
        files.extend(folder.read(name, input::Kind::Tokenizer)?.map(|bytes| (name.to_owned(), bytes)));
    }
    Ok(files)
}

/// Adds the contradictions of the source's other files to those of a tokenizer.
fn with_files(error: TokenizerError, source: &Source) -> TokenizerError {
    let TokenizerError::Unfit { mut problems } = error else { return error };
    for (file, found) in source.disagreements() {
        problems.extend(found.iter().map(|problem| format!("`{file}`: {problem}")));
    }
    TokenizerError::Unfit { problems }
}

/// The origins of rules and cleaning that no artifact states.
fn known_from(
    source: &Source,
    text: &TextConfig,
    folder: &Path,
    reading: TextReading,
    is_built_in: bool,
    files: &[(String, Vec<u8>)],
) -> (Origin, Origin) {
    let tokenizer = &text.tokenizer;
    let key = |key: &str, is_stated| source.origin().of_key(key, is_stated);
    let from = match (is_built_in, reading) {
        (true, TextReading::OpenClip) => key("text_cfg.hf_tokenizer_name", tokenizer.name.is_some()),
        (true, TextReading::Transformers) => {
            let why = "the folder has no tokenizer; CLIP's own matches the rows and the end token".to_owned();
            Origin::Assumption { why }
        }
        (false, _) if folder != source.folder() => Origin::option("tokenizer"),
        (false, _) => Origin::file(vocabulary_file(files)),
    };
    let cleaning_from = match reading {
        TextReading::OpenClip => key("text_cfg.tokenizer_kwargs.clean", tokenizer.cleaning.is_some()),
        TextReading::Transformers => {
            Origin::Layout { why: "transformers leaves cleaning to the tokenizer".to_owned() }
        }
    };
    (from, cleaning_from)
}

/// The file of a folder that its vocabulary is read from.
fn vocabulary_file(files: &[(String, Vec<u8>)]) -> &'static str {
    let has = |name: &str| files.iter().any(|(file, _)| file == name);
    let known = ["spiece.model", "tokenizer.json", "vocab.json", "vocab.txt"];
    TokenizerFiles::RANKS.into_iter().chain(known).find(|name| has(name)).unwrap_or("tokenizer.json")
}

/// The rules in an artifact's `clipway.json` with their origins and the cleaning's, if it states any.
fn stored_rules(artifact: Option<&Artifact>) -> Option<(TokenizerRules, Origin, Origin)> {
    let text = artifact?.contract.text.as_ref()?;
    let rules = text.tokenizer.as_ref()?;
    let cleaning_from = text.cleaning.as_ref().map_or(&rules.from, |known| &known.from);
    Some((rules.value.clone(), rules.from.in_artifact(), cleaning_from.in_artifact()))
}
