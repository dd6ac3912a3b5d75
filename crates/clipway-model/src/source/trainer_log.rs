//! `params.txt`: arguments logged by open_clip's trainer, beside or one folder above the checkpoints.

use std::path::Path;

use clipway_formats::{FormatError, Json, JsonLimits, shown};

use super::SourceError;
use super::config::ConfigOrigin;
use crate::checkpoint::CheckpointError;
use crate::config::{ConfigFile, Interpolation, PreprocessOptions, ResizeMode};
use crate::identify::Identification;
use crate::input::{Folder, Kind};

/// Name of the file.
pub(super) const LOG: &str = "params.txt";

/// Arguments that decide features.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TrainerLog {
    /// `model`.
    pub(super) model: String,
    /// `force_quick_gelu`.
    pub(super) quick_gelu: bool,
    /// `pretrained`: a tag whose preprocessing was used, if it is one.
    pub(super) pretrained: String,
    /// `force_image_size`.
    pub(super) image_size: Option<[usize; 2]>,
    /// `force_context_length`.
    pub(super) context_length: Option<usize>,
    /// `image_mean`, `image_std`, `image_interpolation` and `image_resize_mode`.
    pub(super) preprocess: PreprocessOptions,
}

impl TrainerLog {
    /// Finds a checkpoint's log: beside it, or above the folder of checkpoints. `None` for a file with this name that
    /// names no model.
    pub(super) fn find(weights: &Path) -> Result<Option<TrainerLog>, SourceError> {
        let beside = weights.parent().unwrap_or(Path::new(""));
        let above = beside.file_name().is_some_and(|name| name == "checkpoints").then(|| beside.join(".."));
        for folder in std::iter::once(beside.to_owned()).chain(above) {
            let refuse = |error| SourceError::Open(CheckpointError::Input(error));
            let Some(bytes) = Folder::open_if_any(&folder)
                .and_then(|folder| folder.read(LOG, Kind::Config))
                .map_err(refuse)?
            else {
                continue;
            };
            return TrainerLog::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|problem| SourceError::TrainerLog { problems: vec![problem] });
        }
        Ok(None)
    }

    /// Whether weights with these names and shapes could be the trained model, at some size.
    pub(super) fn fits(&self, identification: &Identification) -> bool {
        let is_near = identification.near.iter().any(|near| near.name == self.model);
        is_near || identification.exact.iter().any(|fit| fit.name == self.model)
    }

    /// Applies forced settings to the model's config, and checks a given config against them.
    pub(super) fn apply(
        &self,
        config: &mut ConfigFile,
        origin: &ConfigOrigin,
    ) -> Result<Vec<String>, SourceError> {
        let refuse = |problem: String| SourceError::TrainerLog { problems: vec![problem] };
        let (ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name)) = origin else { return Ok(Vec::new()) };
        let plain = |name: &str| name.strip_suffix("-quickgelu").unwrap_or(name).to_owned();
        if plain(name) != plain(&self.model) {
            return Err(refuse(format!("`model` is `{}`, not `{name}`", shown(&self.model))));
        }
        let trained = self.quick_gelu || self.model.ends_with("-quickgelu");
        let given = config.model.quick_gelu;
        if *name != self.model && given != trained {
            let activation = |quick: bool| if quick { "QuickGELU" } else { "GELU" };
            let (ours, theirs) = (activation(given), activation(trained));
            return Err(refuse(format!("the model was trained with {theirs}, but `{name}` uses {ours}")));
        }
        let fault = |error: FormatError| refuse(error.to_string());
        if self.quick_gelu {
            config.model.set_quick_gelu(true).map_err(fault)?;
        }
        if let Some(size) = self.image_size {
            config.model.set_image_size(size).map_err(fault)?;
        }
        if let Some(length) = self.context_length {
            config.model.set_context_length(length).map_err(fault)?;
        }
        Ok(vec![format!("the trainer's `{LOG}` names the model, `{}`", shown(&self.model))])
    }

    fn parse(text: &str) -> Result<Option<TrainerLog>, String> {
        let mut log = TrainerLog::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if matches!(value, "None" | "") {
                continue;
            }
            let bad = |expected: &str| format!("`{key}`: expected {expected}, found `{}`", shown(value));
            match key.trim() {
                "model" => value.clone_into(&mut log.model),
                "pretrained" => value.clone_into(&mut log.pretrained),
                "force_quick_gelu" => log.quick_gelu = value == "True",
                "force_image_size" => {
                    let sides = numbers(value).ok_or_else(|| bad("a side or two sides"))?;
                    let side = |side: f64| side as usize;
                    log.image_size = match sides[..] {
                        [one] => Some([side(one); 2]),
                        [height, width] => Some([side(height), side(width)]),
                        _ => return Err(bad("a side or two sides")),
                    };
                }
                "force_context_length" => {
                    log.context_length = Some(value.parse().map_err(|_| bad("a number of tokens"))?);
                }
                "image_mean" => log.preprocess.mean = Some(three(value).ok_or_else(|| bad("three numbers"))?),
                "image_std" => log.preprocess.std = Some(three(value).ok_or_else(|| bad("three numbers"))?),
                "image_interpolation" => {
                    let known = Interpolation::from_name(value);
                    log.preprocess.interpolation = Some(known.ok_or_else(|| bad("an interpolation"))?);
                }
                "image_resize_mode" => {
                    let known = ResizeMode::from_name(value);
                    log.preprocess.resize_mode = Some(known.ok_or_else(|| bad("a resize mode"))?);
                }
                _ => {}
            }
        }
        Ok((!log.model.is_empty()).then_some(log))
    }
}

/// A Python list, tuple or bare number.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let inner = text.trim_matches(|c| "[]()".contains(c)).trim_end_matches(',');
    let json: Result<Json, FormatError> = Json::parse(format!("[{inner}]").as_bytes(), JsonLimits::CONFIG);
    let json = json.ok()?;
    json.root().items().ok()?.map(|item| item.number().ok()).collect()
}

fn three(text: &str) -> Option<[f64; 3]> {
    match numbers(text)?[..] {
        [one] => Some([one; 3]),
        [r, g, b] => Some([r, g, b]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_decide_features_are_read() {
        let text = "model: ViT-B-16\nforce_quick_gelu: True\npretrained: openai\nprecision: amp\nimage_mean: [0.5, 0.4, 0.3]\n\
                    image_std: None\nimage_interpolation: bilinear\nimage_resize_mode: squash\nforce_image_size: [48, 32]\n\
                    force_context_length: 20\nlogs: ./logs/\n";
        let log = TrainerLog::parse(text).unwrap().unwrap();
        assert_eq!(
            (log.model.as_str(), log.quick_gelu, log.pretrained.as_str()),
            ("ViT-B-16", true, "openai")
        );
        assert_eq!((log.image_size, log.context_length), (Some([48, 32]), Some(20)));
        let expected = PreprocessOptions {
            mean: Some([0.5, 0.4, 0.3]),
            interpolation: Some(Interpolation::Bilinear),
            resize_mode: Some(ResizeMode::Squash),
            ..PreprocessOptions::default()
        };
        assert_eq!(log.preprocess, expected);
        let one = TrainerLog::parse("model: x\nforce_image_size: 48\n").unwrap().unwrap();
        assert_eq!(one.image_size, Some([48, 48]));
        assert_eq!(TrainerLog::parse("a text: of another kind\n").unwrap(), None);
        for bad in ["image_mean: [0.5, 0.4]", "image_interpolation: lanczos", "force_image_size: big"] {
            assert!(TrainerLog::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_model_that_was_given_must_be_the_trained_one() {
        let log = TrainerLog { model: "ViT-B-32".to_owned(), quick_gelu: true, ..TrainerLog::default() };
        let apply = |name: &str| {
            let model = crate::registry::model(name).unwrap();
            let mut config = ConfigFile { model, preprocess: PreprocessOptions::default() };
            log.apply(&mut config, &ConfigOrigin::Named(name.to_owned())).map(|_| config.model.quick_gelu)
        };
        assert!(apply("ViT-B-32").unwrap(), "the trainer forced it");
        assert!(apply("ViT-B-32-quickgelu").unwrap());
        let error = apply("ViT-B-16").unwrap_err();
        assert_eq!(error.code(), "contradiction");
        assert!(error.to_string().contains("`model` is `ViT-B-32`, not `ViT-B-16`"), "{error}");
        let plain = TrainerLog { model: "ViT-B-32".to_owned(), ..TrainerLog::default() };
        let model = crate::registry::model("ViT-B-32-quickgelu").unwrap();
        let mut config = ConfigFile { model, preprocess: PreprocessOptions::default() };
        let origin = ConfigOrigin::Named("ViT-B-32-quickgelu".to_owned());
        assert!(plain.apply(&mut config, &origin).unwrap_err().to_string().contains("trained with GELU"));
    }
}
