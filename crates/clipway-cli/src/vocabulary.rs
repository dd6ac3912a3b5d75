//! `--vocabulary-from`: trims a text tower's vocabulary to what some texts need.

use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::{shown, shown_first, shown_path};
use clipway_model::input;
use clipway_model::plan::Towers;
use clipway_model::source::{Source, Vocabulary};
use clipway_run::load::LoadedTokenizer;
use clipway_run::text::{Chosen, TrimError};
use clipway_run::verify::{Inputs, unwritable};

use crate::failure::{Failure, chain};
use crate::source::load_failure;
use crate::text::{counted, read_texts};
use crate::ui::Ui;
use crate::verification::InputOptions;

/// Most texts of the choice that a verification runs.
const VERIFIED: usize = 64;

/// Most texts that an error names.
const NAMED: usize = 3;

/// Which tokens to keep.
#[derive(Args)]
pub struct VocabularyOptions {
    /// Trim the text tower's vocabulary and its tokenizer to what these texts need: a file with one text per line
    #[arg(long, value_name = "TEXTS")]
    vocabulary_from: Option<PathBuf>,
}

/// The texts that choose a vocabulary.
pub struct VocabularyTexts<'a> {
    path: &'a Path,
    texts: Vec<String>,
}

impl VocabularyOptions {
    /// The texts that choose; `None` if nothing is to be trimmed.
    pub fn read(&self) -> Result<Option<VocabularyTexts<'_>>, Failure> {
        let Some(path) = self.vocabulary_from.as_deref() else { return Ok(None) };
        let texts = read_texts(path)?.into_iter().filter(|text| !text.trim().is_empty()).collect();
        Ok(Some(VocabularyTexts { path, texts }))
    }
}

impl VocabularyTexts<'_> {
    /// The path of the texts; standard input has none.
    pub fn path(&self) -> Option<&Path> {
        Some(self.path).filter(|path| *path != Path::new(input::STDIN))
    }

    /// Chooses the tokens of a source, with a note on what the choice does to texts that it did not see.
    pub fn choose(
        &self,
        source: &Source,
        tokenizer: Option<&Path>,
        ui: &Ui,
    ) -> Result<(Vocabulary, String), Failure> {
        if source.tower() == Towers::Image {
            let message = "`--vocabulary-from`: only the image tower is there, which reads no texts";
            return Err(Failure::could_not_run("vocabulary", message));
        }
        let folder = tokenizer.unwrap_or(source.folder());
        let found = LoadedTokenizer::find_whole(source, folder).map_err(|error| load_failure(&error))?;
        let Some(found) = found else {
            let message =
                format!("`{}` has no tokenizer, whose vocabulary could be trimmed", shown_path(folder));
            return Err(Failure::no("missing-tokenizer", message)
                .hint("pass the folder of its files with `--tokenizer DIR`"));
        };
        let spinner = ui.spinner("choosing tokens");
        let text = &source.config().model.text;
        let chosen = found.tokenizer.choose(&self.texts, source.model().vocab_size, text);
        spinner.finish_and_clear();
        let Chosen { vocabulary, example } = chosen.map_err(|error| self.failure(&error))?;
        let note = note(&vocabulary, example.as_deref());
        Ok((vocabulary, note))
    }

    /// The inputs of a verification: some of the texts, unless others are given.
    pub fn inputs(&self, mut inputs: Inputs, given: &InputOptions) -> Inputs {
        if given.texts.is_none() {
            let step = self.texts.len().div_ceil(VERIFIED).max(1);
            inputs.texts = self.texts.iter().step_by(step).cloned().collect();
            inputs.name = inputs.name.replace(Inputs::BUILT_IN_TEXTS, "texts of the vocabulary");
        }
        inputs
    }

    fn failure(&self, error: &TrimError) -> Failure {
        let message = format!("`{}`: {}", shown_path(self.path), chain(error));
        match error {
            TrimError::NoTexts => Failure::could_not_run(error.code(), message)
                .hint("write one text per line, such as the labels in their prompts"),
            TrimError::NeedsAll(_) => {
                Failure::no(error.code(), message).hint("leave out `--vocabulary-from`")
            }
            TrimError::Unwritable { .. } => {
                Failure::no(error.code(), message).hint("remove these texts from the file")
            }
            _ => Failure::no(error.code(), message),
        }
    }
}

/// Refuses texts to verify with that a trimmed vocabulary writes differently.
pub fn check_writable(
    source: &Source,
    tokenizer: Option<&Path>,
    given: &InputOptions,
) -> Result<(), Failure> {
    let Some(path) = &given.texts else { return Ok(()) };
    let texts = read_texts(path)?;
    let others = unwritable(source, tokenizer, &texts).map_err(|error| load_failure(&error))?;
    if others.is_empty() {
        return Ok(());
    }
    let message = format!(
        "`{}`: the trimmed vocabulary writes {} of {} with other tokens: {}",
        shown_path(path),
        others.len(),
        counted(texts.len(), "text"),
        shown_first(&others, NAMED)
    );
    Err(Failure::no("vocabulary", message).hint("add these texts to the file of `--vocabulary-from`"))
}

/// What a user should know of a choice.
fn note(vocabulary: &Vocabulary, example: Option<&str>) -> String {
    let choice = &vocabulary.choice;
    let (hidden, other) = (choice.hidden.texts, choice.hidden.otherwise);
    let seen = choice.texts - hidden;
    let mut note = format!("the vocabulary is trimmed to {choice}; these keep their tokens");
    if hidden > 0 {
        note.push_str(&format!(
            ". Chosen by every second of them ({seen}), it would write {other} of the other {hidden} with other tokens"
        ));
        note.push_str(&example.map(|text| format!(", such as `{}`", shown(text))).unwrap_or_default());
    }
    note
}
