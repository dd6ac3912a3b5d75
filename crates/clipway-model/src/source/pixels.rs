//! Finds the preprocessing of weights that come without any: from their pretrained tag, else from the trainer's log, else
//! from what the pretrained tags of their name share.

use super::config::ConfigOrigin;
use super::trainer_log::{LOG, TrainerLog};
use super::{SourceError, SourceOptions};
use crate::config::{ConfigFile, PreprocessConfig, PreprocessOptions};
use crate::contract::{Field, Origin, Origins};
use crate::plan::Towers;
use crate::registry::{self, TagPreprocessing};

/// Preprocessing fields that a tag can state.
const FIELDS: [Field; 5] =
    [Field::Mean, Field::Std, Field::Interpolation, Field::ResizeMode, Field::FillColor];

/// The result; the preprocessing itself is put into the config.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The origins of its fields.
    pub(super) origins: Origins,
    /// What a user should know.
    pub(super) notes: Vec<String>,
}

/// Finds the preprocessing for a config that states none.
pub(super) fn find(
    config: &mut ConfigFile,
    origin: &ConfigOrigin,
    options: &SourceOptions,
    log: Option<&TrainerLog>,
    tower: Towers,
) -> Result<Found, SourceError> {
    let mut found = Found::default();
    if tower == Towers::Text {
        return Ok(found);
    }
    let name = match origin {
        ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => name,
        ConfigOrigin::Tag(entry) => {
            config.preprocess = PreprocessOptions { size: None, ..entry.preprocess.clone() };
            let (name, tag) = (entry.model.clone(), entry.tag.clone());
            found.origins.set_all(FIELDS, &Origin::PretrainedTag { name, tag });
            return Ok(found);
        }
        _ => return Ok(found),
    };
    let said = &options.preprocess;
    if let Some(log) = log.filter(|log| log.model == *name) {
        check_said(log, said)?;
        let tag = registry::tag(name, &log.pretrained).ok();
        let before = tag.map(|tag| tag.preprocess.clone()).unwrap_or_default();
        config.preprocess = PreprocessOptions { size: None, ..before.merged(&log.preprocess) };
        found.origins.set_all(FIELDS, &Origin::TrainerLog { file: LOG.to_owned() });
        let of_tag = tag.map(|tag| format!(", which started from `{}`", tag.tag)).unwrap_or_default();
        found
            .notes
            .push(format!("the preprocessing is from the trainer's `{LOG}`{of_tag}: {}", shown(config)));
        return Ok(found);
    }
    match registry::tag_preprocessing(name) {
        TagPreprocessing::NoTags => {
            found.notes.push(format!(
                "no pretrained tag of `{name}` states its preprocessing: open_clip's default was assumed, {}",
                shown(config)
            ));
        }
        TagPreprocessing::Shared { tags, preprocess } => {
            config.preprocess = PreprocessOptions { size: None, ..*preprocess };
            let count = tags.len();
            found.origins.set_all(FIELDS, &Origin::PretrainedTags { name: name.clone(), tags });
            let all = if count == 1 { "the pretrained tag" } else { "every pretrained tag" };
            found.notes.push(format!("the preprocessing is from {all} of `{name}`: {}", shown(config)));
        }
        TagPreprocessing::Differs(choices) => {
            let size = config.model.vision.image_size;
            let merged =
                |options: &PreprocessOptions| PreprocessConfig::new(size).merged(&options.merged(said));
            let first = choices.first().map(|(_, options)| merged(options));
            // The given options may settle all differences between the tags.
            if choices.iter().any(|(_, options)| Some(merged(options)) != first) {
                let choices = choices.iter().map(|(tag, options)| {
                    format!("`{tag}`: {}", described(&PreprocessConfig::new(size).merged(options)))
                });
                return Err(SourceError::Preprocessing { model: name.clone(), choices: choices.collect() });
            }
            let (_, options) = choices.into_iter().next().unwrap_or_default();
            config.preprocess = PreprocessOptions { size: None, ..options };
        }
    }
    Ok(found)
}

/// Refuses options that contradict the trainer's log.
fn check_said(log: &TrainerLog, said: &PreprocessOptions) -> Result<(), SourceError> {
    let logged = &log.preprocess;
    let mut problems = Vec::new();
    let mut check = |key: &str, differs: bool| {
        if differs {
            problems.push(format!("`{key}` differs from the option"));
        }
    };
    check("image_mean", logged.mean.is_some() && said.mean.is_some() && logged.mean != said.mean);
    check("image_std", logged.std.is_some() && said.std.is_some() && logged.std != said.std);
    let (ours, theirs) = (said.interpolation, logged.interpolation);
    check("image_interpolation", theirs.is_some() && ours.is_some() && ours != theirs);
    let (ours, theirs) = (said.resize_mode, logged.resize_mode);
    check("image_resize_mode", theirs.is_some() && ours.is_some() && ours != theirs);
    if problems.is_empty() { Ok(()) } else { Err(SourceError::TrainerLog { problems }) }
}

fn shown(config: &ConfigFile) -> String {
    described(&config.preprocess())
}

/// A short description of a preprocessing.
fn described(preprocess: &PreprocessConfig) -> String {
    let PreprocessConfig { mean, std, interpolation, resize_mode, .. } = preprocess;
    format!("mean {mean:?}, std {std:?}, {}, {}", interpolation.name(), resize_mode.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Interpolation, ResizeMode};

    type Outcome = Result<(ConfigFile, Found), SourceError>;

    fn found(name: &str, said: PreprocessOptions, log: Option<&TrainerLog>) -> Outcome {
        let model = registry::model(name).unwrap();
        let mut config = ConfigFile { model, preprocess: PreprocessOptions::default() };
        let options = SourceOptions { preprocess: said, ..SourceOptions::default() };
        let found = find(&mut config, &ConfigOrigin::Named(name.to_owned()), &options, log, Towers::Both)?;
        Ok((config, found))
    }

    fn none() -> PreprocessOptions {
        PreprocessOptions::default()
    }

    #[test]
    fn what_all_tags_share_is_taken_and_said() {
        let (config, found) = found("MobileCLIP-S1", none(), None).unwrap();
        let taken = config.preprocess();
        assert_eq!(
            (taken.mean, taken.std, taken.interpolation),
            ([0.0; 3], [1.0; 3], Interpolation::Bilinear)
        );
        let tags = vec!["datacompdr".to_owned()];
        let origin = Origin::PretrainedTags { name: "MobileCLIP-S1".to_owned(), tags };
        assert_eq!(found.origins.get(Field::Mean), Some(&origin));
        assert!(
            found.notes[0].contains("pretrained tag of `MobileCLIP-S1`: mean [0.0, 0.0, 0.0]"),
            "{found:?}"
        );
    }

    #[test]
    fn a_given_tag_states_its_preprocessing() {
        let model = registry::model("ViT-B-16-SigLIP").unwrap();
        let mut config = ConfigFile { model, preprocess: PreprocessOptions::default() };
        let origin = ConfigOrigin::Tag(registry::tag("ViT-B-16-SigLIP", "webli").unwrap());
        let found = find(&mut config, &origin, &SourceOptions::default(), None, Towers::Both).unwrap();
        let taken = config.preprocess();
        assert_eq!((taken.mean, taken.resize_mode), ([0.5; 3], ResizeMode::Squash));
        let from = found.origins.get(Field::ResizeMode).unwrap();
        assert_eq!(from.to_string(), "the pretrained tag `webli` of `ViT-B-16-SigLIP`");
        assert!(found.notes.is_empty());
    }

    #[test]
    fn tags_that_differ_are_asked_about() {
        let differs = |name: &&str| matches!(registry::tag_preprocessing(name), TagPreprocessing::Differs(_));
        for name in registry::names().filter(differs) {
            let error = found(name, none(), None).unwrap_err();
            assert_eq!(error.code(), "ambiguous-preprocessing", "{name}");
            assert!(error.to_string().lines().count() > 2, "{error}");
            let said = PreprocessOptions {
                mean: Some([0.5; 3]),
                std: Some([0.5; 3]),
                interpolation: Some(Interpolation::Bicubic),
                resize_mode: Some(ResizeMode::Squash),
                ..none()
            };
            assert!(found(name, said, None).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_without_tags_has_a_stated_assumption() {
        let without = |name: &&str| registry::tag_preprocessing(name) == TagPreprocessing::NoTags;
        let name = registry::names().find(without).unwrap();
        let (config, found) = found(name, none(), None).unwrap();
        assert_eq!(config.preprocess, none());
        assert!(found.notes[0].contains("was assumed, mean [0.48145466"), "{found:?}");
    }

    #[test]
    fn the_trainers_log_decides() {
        let logged = |preprocess: PreprocessOptions, pretrained: &str| TrainerLog {
            model: "ViT-B-32".to_owned(),
            pretrained: pretrained.to_owned(),
            preprocess,
            ..TrainerLog::default()
        };
        let half = PreprocessOptions { mean: Some([0.5; 3]), ..none() };
        let (config, found_by_log) =
            found("ViT-B-32", none(), Some(&logged(half.clone(), "openai"))).unwrap();
        assert_eq!(config.preprocess().mean, [0.5; 3]);
        assert_eq!(found_by_log.origins.get(Field::Std), Some(&Origin::TrainerLog { file: LOG.to_owned() }));
        let other = PreprocessOptions { mean: Some([0.1; 3]), ..none() };
        let error = found("ViT-B-32", other, Some(&logged(half.clone(), ""))).unwrap_err();
        assert_eq!(error.code(), "contradiction");
        assert!(error.to_string().contains("`image_mean`"), "{error}");
        assert!(found("ViT-B-32", half.clone(), Some(&logged(half, ""))).is_ok());
    }
}
