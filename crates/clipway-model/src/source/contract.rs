//! The contract of a source, with the origin of each part.

use super::{ConfigOrigin, SourceOptions};
use crate::architecture::Model;
use crate::artifact::Artifact;
use crate::checkpoint::CONFIG_NAME;
use crate::config::{ConfigFile, PixelRule};
use crate::contract::{
    Activation, Contract, Field, ImageContract, Known, Origin, Origins, Pooling, TextContract,
};
use crate::graph::{Graph, Operation};
use crate::plan::Towers;

/// What the parts of a contract are read from.
pub(super) struct Read<'a> {
    pub(super) config: &'a ConfigFile,
    pub(super) origin: &'a ConfigOrigin,
    /// Origins where the source's reader knows more.
    pub(super) origins: Origins,
    pub(super) model: &'a Model,
    pub(super) tower: Towers,
    /// The origin of the activation.
    pub(super) activation_from: Origin,
    /// The source's `clipway.json`, if it is an artifact.
    pub(super) artifact: Option<&'a Artifact>,
}

/// Why OpenAI's preprocessing is used for weights that state none.
const OPENAI_PIXELS: &str = "nothing states it; OpenAI's value is open_clip's default";

/// What the caller set over what the source states.
pub(super) fn said(options: &SourceOptions) -> Origins {
    let mut origins = Origins::default();
    let pixels = &options.preprocess;
    for (field, name, is_said) in [
        (Field::ImageSize, "image_size", options.image_size.is_some()),
        (Field::ContextLength, "context_length", options.context_length.is_some()),
        (Field::Mean, "image_mean", pixels.mean.is_some()),
        (Field::Std, "image_std", pixels.std.is_some()),
        (Field::Interpolation, "interpolation", pixels.interpolation.is_some()),
        (Field::ResizeMode, "resize_mode", pixels.resize_mode.is_some()),
        (Field::FillColor, "fill_color", pixels.fill_color.is_some()),
        (Field::PixelRule, "max_patches", options.max_patches.is_some()),
    ] {
        if is_said {
            origins.set(field, Origin::option(name));
        }
    }
    origins
}

impl Read<'_> {
    /// Builds the contract. The tokenizer is added by whoever reads its files.
    pub(super) fn contract(&self) -> Contract {
        let has = |tower| [Towers::Both, tower].contains(&self.tower);
        let mut contract = Contract {
            image: has(Towers::Image).then(|| self.image()),
            text: has(Towers::Text).then(|| self.text()),
            activation: Known::new(
                Activation::of(self.config.model.quick_gelu),
                self.origins.get(Field::Activation).unwrap_or(&self.activation_from).clone(),
            ),
            logit_scale: None,
            logit_bias: None,
            license: None,
            license_terms: None,
        };
        if let Some(artifact) = self.artifact {
            contract.remember(&artifact.contract, Origin::in_artifact);
        }
        contract
    }

    fn image(&self) -> ImageContract {
        let (found, stated) = (self.config.preprocess(), &self.config.preprocess);
        let from = |field, key: &str, is_stated: bool| match (self.origin, self.origins.get(field)) {
            (ConfigOrigin::Named(_) | ConfigOrigin::OnlyFit(_) | ConfigOrigin::Given, None) if !is_stated => {
                Origin::Assumption { why: OPENAI_PIXELS.to_owned() }
            }
            _ => self.from(field, &format!("preprocess_cfg.{key}"), is_stated),
        };
        let size_key = "vision_cfg.image_size";
        ImageContract {
            size: Known::new(found.size, self.from(Field::ImageSize, size_key, true)),
            rule: Known::new(found.rule.clone(), self.rule_from(&found.rule)),
            mean: Known::new(found.mean, from(Field::Mean, "mean", stated.mean.is_some())),
            std: Known::new(found.std, from(Field::Std, "std", stated.std.is_some())),
            interpolation: Known::new(
                found.interpolation,
                from(Field::Interpolation, "interpolation", stated.interpolation.is_some()),
            ),
            resize_mode: Known::new(
                found.resize_mode,
                from(Field::ResizeMode, "resize_mode", stated.resize_mode.is_some()),
            ),
            fill_color: Known::new(
                found.fill_color,
                from(Field::FillColor, "fill_color", stated.fill_color.is_some()),
            ),
            epsilon: self.epsilon(Field::ImageEpsilon, "vision_cfg", &self.model.image),
        }
    }

    /// The origin of the rule, which the reader states for image processors and for layouts whose library has none here.
    fn rule_from(&self, rule: &PixelRule) -> Origin {
        let why = match (rule, self.origins.get(Field::PixelRule)) {
            (PixelRule::Transformers(_) | PixelRule::Timm(_), Some(origin)) => return origin.clone(),
            (PixelRule::OpenClip, Some(origin)) if origin.is_assumed() => return origin.clone(),
            (PixelRule::OpenClip, Some(_)) => "options say settings of open_clip, which go by its rule",
            (PixelRule::Timm(_), None) => "the rule of timm, for as many patches as `clipway.json` states",
            (_, None) => "the rule of open_clip, by whose settings the preprocessing is stated",
        };
        Origin::Layout { why: why.to_owned() }
    }

    fn text(&self) -> TextContract {
        let text = &self.config.model.text;
        let (pooling, pooling_key) = match &text.hugging_face {
            Some(tower) => (Pooling::from(tower.pooler), "text_cfg.hf_pooler_type"),
            None => (Pooling::from(text.pool), "text_cfg.pool_type"),
        };
        let end = (pooling == Pooling::EndToken).then_some(text.eos_id);
        let length_key = "text_cfg.context_length";
        TextContract {
            context_length: Known::new(
                text.context_length,
                self.from(Field::ContextLength, length_key, true),
            ),
            tokenizer: None,
            cleaning: None,
            vocabulary: None,
            pooling: Known::new(pooling, self.from(Field::Pooling, pooling_key, true)),
            end_token: end.map(|id| Known::new(id, self.from(Field::EndToken, "text_cfg.eos_id", true))),
            epsilon: self.epsilon(Field::TextEpsilon, "text_cfg", &self.model.text),
        }
    }

    fn epsilon(&self, field: Field, key: &str, tower: &Graph) -> Known<Vec<f64>> {
        let mut values: Vec<f64> = tower.nodes.iter().filter_map(|node| epsilon(&node.operation)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        Known::new(values, self.from(field, key, true))
    }

    /// The origin of a field: the reader's, else the config's.
    fn from(&self, field: Field, key: &str, is_stated: bool) -> Origin {
        self.origins.get(field).cloned().unwrap_or_else(|| self.origin.of_key(key, is_stated))
    }
}

impl ConfigOrigin {
    /// The origins stated by the reader of a layout.
    pub(super) fn stated(&self) -> Origins {
        match self {
            ConfigOrigin::Layout(layout) => layout.origins.clone(),
            _ => Origins::default(),
        }
    }

    /// The origin of a config key.
    pub fn of_key(&self, key: &str, is_stated: bool) -> Origin {
        let in_file = |file: String| {
            if is_stated { Origin::key(file, key) } else { Origin::Default { file } }
        };
        match self {
            ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => {
                Origin::Registry { name: name.clone() }
            }
            ConfigOrigin::Tag(entry) => Origin::Registry { name: entry.model.clone() },
            ConfigOrigin::File(path) => {
                in_file(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            }
            ConfigOrigin::Given => Origin::option("model"),
            ConfigOrigin::Beside => in_file(CONFIG_NAME.to_owned()),
            ConfigOrigin::Layout(origin) => Origin::Layout { why: origin.from.clone() },
        }
    }
}

/// The epsilon of a norm.
fn epsilon(operation: &Operation) -> Option<f64> {
    match operation {
        Operation::BatchNorm { epsilon, .. }
        | Operation::LayerNorm { epsilon, .. }
        | Operation::HeadNorm { epsilon, .. }
        | Operation::RmsNorm { epsilon, .. } => Some(*epsilon),
        _ => None,
    }
}

impl Contract {
    /// Takes over the origins that the parts of a composed source state.
    pub(super) fn remember_parts(&mut self, said: &Contract) {
        self.remember(said, Origin::clone);
    }

    /// Takes over origins wherever their value still applies and the caller did not override it.
    fn remember(&mut self, said: &Contract, origin: fn(&Origin) -> Origin) {
        if let (Some(ours), Some(said)) = (&mut self.image, &said.image) {
            remember(&mut ours.size, &said.size, origin);
            remember(&mut ours.rule, &said.rule, origin);
            remember(&mut ours.mean, &said.mean, origin);
            remember(&mut ours.std, &said.std, origin);
            remember(&mut ours.interpolation, &said.interpolation, origin);
            remember(&mut ours.resize_mode, &said.resize_mode, origin);
            remember(&mut ours.fill_color, &said.fill_color, origin);
            remember(&mut ours.epsilon, &said.epsilon, origin);
        }
        if let (Some(ours), Some(said)) = (&mut self.text, &said.text) {
            remember(&mut ours.context_length, &said.context_length, origin);
            // A source that was trimmed stays so.
            ours.vocabulary =
                said.vocabulary.as_ref().map(|said| Known::new(said.value.clone(), origin(&said.from)));
            remember(&mut ours.pooling, &said.pooling, origin);
            if let (Some(ours), Some(said)) = (&mut ours.end_token, &said.end_token) {
                remember(ours, said, origin);
            }
            remember(&mut ours.epsilon, &said.epsilon, origin);
        }
        remember(&mut self.activation, &said.activation, origin);
    }
}

fn remember<T: PartialEq>(ours: &mut Known<T>, said: &Known<T>, origin: fn(&Origin) -> Origin) {
    if ours.value == said.value && !matches!(ours.from, Origin::Option { .. }) {
        ours.from = origin(&said.from);
    }
}
