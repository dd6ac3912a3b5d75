//! `clipway mix`: one model made of several, exported and verified like any other.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueEnum};
use clipway_formats::shown;
use clipway_model::mix::{MixError, ScaleFrom, pair};
use clipway_run::mix::{MixSourcesError, mix_sources};

use super::destination::Destination;
use super::export::{ExportOptions, Subject};
use crate::failure::{self, Failure, List};
use crate::hub::{self, Reads};
use crate::source::load_failure;
use crate::source_name::SourceName;
use crate::ui::Ui;

/// Source of the logit scale and bias.
#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// The source of the image tower
    Image,
    /// The source of the text tower
    Text,
}

/// Mix models by their weights (WiSE-FT, soups), or put together the towers of two
#[derive(Args)]
pub struct Mix {
    /// Sources, each with its share of the weights, such as `a.pt:0.7 b.pt:0.3`; without shares, all count the same
    #[arg(value_name = "SOURCE[:SHARE]", required_unless_present = "image_from")]
    sources: Vec<String>,

    /// Take the image tower and the preprocessing from this source
    #[arg(long, value_name = "SOURCE", requires_all = ["text_from", "logit_scale_from"], conflicts_with = "sources")]
    image_from: Option<SourceName>,

    /// Take the text tower and the tokenizer from this source
    #[arg(long, value_name = "SOURCE", requires = "image_from")]
    text_from: Option<SourceName>,

    /// The tower whose source has the logit scale and bias to use
    #[arg(long, value_name = "TOWER", value_enum, requires = "image_from")]
    logit_scale_from: Option<Scale>,

    #[command(flatten)]
    destination: Destination,

    #[command(flatten)]
    export: ExportOptions,
}

impl Mix {
    /// The sources of single towers, which may be on the Hub. Those with shares are brought when the shares are known.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        let arguments = &mut self.export.source_arguments;
        if arguments.pretrained.is_some() {
            let message = "`--pretrained` names one source, and a mix has several";
            return Err(Failure::could_not_run("bad-option", message)
                .hint("name each as `NAME:TAG`, with a share such as `ViT-B-32:openai:0.5`"));
        }
        Ok(self.image_from.iter_mut().chain(&mut self.text_from).chain(&mut arguments.base).collect())
    }

    /// Exports the mix, or reports what an export would do.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        if let (Some(image), Some(text), Some(scale)) =
            (&self.image_from, &self.text_from, self.logit_scale_from)
        {
            let scale = match scale {
                Scale::Image => ScaleFrom::Image,
                Scale::Text => ScaleFrom::Text,
            };
            let sources = [self.export.resolve(image)?, self.export.resolve(text)?];
            let [image_source, text_source] = sources;
            let mixed = pair(image_source, text_source, scale).map_err(|error| mix_failure(&error))?;
            let inputs: [&Path; 2] = [image, text];
            return self.export.run(&Subject::Mixed(&mixed), &inputs, &self.destination, ui);
        }
        let (mut paths, shares) = shares(&self.sources)?;
        paths.iter_mut().try_for_each(|path| hub::bring(path, Reads::Weights, ui))?;
        let sources = paths.iter().map(|path| self.export.resolve(path)).collect::<Result<Vec<_>, _>>()?;
        let mixed = mix_sources(sources, &shares, self.export.tokenizer_folder());
        let mixed = mixed.map_err(|error| match &error {
            MixSourcesError::Load(error) => load_failure(error),
            MixSourcesError::Mix(error) => mix_failure(error),
            _ => Failure::could_not_run("internal", failure::chain(&error)),
        })?;
        let inputs: Vec<&Path> = paths.iter().map(|path| &**path).collect();
        self.export.run(&Subject::Mixed(&mixed), &inputs, &self.destination, ui)
    }
}

/// Paths and shares: those given after the last colon, or else equal ones.
fn shares(words: &[String]) -> Result<(Vec<SourceName>, Vec<f64>), Failure> {
    let named = |text: &str| SourceName::from(OsString::from(text));
    let parsed: Vec<(SourceName, Option<f64>)> = words
        .iter()
        .map(|word| match word.rsplit_once(':') {
            Some((path, share)) if !path.is_empty() => match share.parse() {
                Ok(share) => (named(path), Some(share)),
                Err(_) => (named(word), None),
            },
            _ => (named(word), None),
        })
        .collect();
    let given = parsed.iter().filter(|(_, share)| share.is_some()).count();
    if given != 0 && given != parsed.len() {
        let without = parsed.iter().position(|(_, share)| share.is_none()).unwrap_or_default();
        let message = format!("`{}` has no share, but other sources have one", shown(&words[without]));
        return Err(Failure::could_not_run("bad-option", message)
            .hint("give every source a share, such as `a.pt:0.7 b.pt:0.3`, or none"));
    }
    let equal = 1.0 / parsed.len() as f64;
    Ok(parsed.into_iter().map(|(path, share)| (path, share.unwrap_or(equal))).unzip())
}

/// Failure, with its exit status, for models that cannot be put together.
fn mix_failure(error: &MixError) -> Failure {
    let list = List::of(None, &error.problems());
    let failure = Failure { list, ..Failure::no(error.code(), failure::chain(error)) };
    match error {
        MixError::TooFew => Failure { exit_code: failure::COULD_NOT_RUN, ..failure }
            .hint("pass two sources or more; to export one, use `clipway export`"),
        MixError::Share(_) | MixError::Sum(_) => Failure { exit_code: failure::COULD_NOT_RUN, ..failure }
            .hint("for WiSE-FT with the coefficient 0.3 pass `zero-shot:0.7 fine-tuned:0.3`"),
        MixError::Unlike(_) => failure.hint(
            "if only the rules of preprocessing or tokenizers differ, export the sources to one target first, and mix \
             those folders",
        ),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_last_colon() {
        let check = |words: &[&str], paths: &[&str], expected: &[f64]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (found, shares) = shares(&words).unwrap();
            assert_eq!(found.iter().map(SourceName::said).collect::<Vec<_>>(), paths);
            assert_eq!(shares, expected);
        };
        check(&["a:0.7", "b:0.3"], &["a", "b"], &[0.7, 0.3]);
        check(&["C:a:-0.5", "b:1.5"], &["C:a", "b"], &[-0.5, 1.5]);
        check(&["ViT-B-32:openai", "a"], &["ViT-B-32:openai", "a"], &[0.5, 0.5]);
        check(&["RN50:openai:0.9", "RN50:cc12m:0.1"], &["RN50:openai", "RN50:cc12m"], &[0.9, 0.1]);
        check(&["a", "b:c"], &["a", "b:c"], &[0.5, 0.5]);
        check(&["hf-hub:me/a:0.5", "hf-hub:me/b@v1:0.5"], &["hf-hub:me/a", "hf-hub:me/b@v1"], &[0.5, 0.5]);
        assert_eq!(shares(&["a:1".to_owned(), "b".to_owned()]).unwrap_err().code, "bad-option");
    }
}
