//! A contract: everything but the weights that decides features, each part with where it is known from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Clean, Known, Origin, TokenizerRules};
use crate::config::{Interpolation, PixelRule, ResizeMode, TextPool, TextPooler};

/// Everything but the weights that decides a model's features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// How images become pixels; absent without an image tower.
    pub image: Option<ImageContract>,
    /// How texts become token ids and those a feature; absent without a text tower.
    pub text: Option<TextContract>,
    /// Activation of open_clip's own towers.
    pub activation: Known<Activation>,
    /// Factor of the cosines: the exponential of the stored `logit_scale`; absent where the weights have none.
    pub logit_scale: Option<Known<f32>>,
    /// What is added to the logits, in models trained with the sigmoid loss.
    pub logit_bias: Option<Known<f32>>,
    /// License of the weights, where it is known.
    pub license: Option<Known<String>>,
}

/// How images become pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageContract {
    /// Height and width, in pixels.
    pub size: Known<[usize; 2]>,
    /// By whose rule, step by step, images become pixels. Under a rule of transformers the fields below are the nearest
    /// settings of open_clip.
    pub rule: Known<PixelRule>,
    /// Mean of each channel, of values from 0 to 1.
    pub mean: Known<[f64; 3]>,
    /// Standard deviation of each channel.
    pub std: Known<[f64; 3]>,
    /// Interpolation of the resize.
    pub interpolation: Known<Interpolation>,
    /// Resize mode.
    pub resize_mode: Known<ResizeMode>,
    /// Value, from 0 to 255, of what a resize leaves empty.
    pub fill_color: Known<u8>,
    /// Epsilons of the tower's norms, each once.
    pub epsilon: Known<Vec<f64>>,
}

/// How texts become token ids, and those a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextContract {
    /// Tokens of a text.
    pub context_length: Known<usize>,
    /// Tokenizer and its rules; absent where its files are missing.
    pub tokenizer: Option<Known<TokenizerRules>>,
    /// How a text is cleaned before it is cut into tokens; absent without tokenizer.
    pub cleaning: Option<Known<Clean>>,
    /// How the vectors of tokens become one.
    pub pooling: Known<Pooling>,
    /// Id of the token whose vector is taken, where the pooling looks for one.
    pub end_token: Option<Known<i64>>,
    /// Epsilons of the tower's norms, each once.
    pub epsilon: Known<Vec<f64>>,
}

impl ImageContract {
    /// States the rule of the folder that is written, where it is another than the source's.
    pub(crate) fn read_by(&mut self, rule: &PixelRule, title: &str) {
        if self.rule.value != *rule {
            let why = format!(
                "the rule of {title}, which this folder is for; the source's is that of {}",
                self.rule.value
            );
            self.rule = Known::new(rule.clone(), Origin::Layout { why });
        }
    }
}

impl TextContract {
    /// Puts other rules in the place of the tokenizer's, which stays known from where it is.
    pub(crate) fn read_by(&mut self, rules: &TokenizerRules) {
        if let Some(tokenizer) = &mut self.tokenizer {
            tokenizer.value.clone_from(rules);
        }
        if let Some(cleaning) = &mut self.cleaning {
            cleaning.value = rules.clean;
        }
    }
}

/// The activation of open_clip's own towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// GELU; a config may ask for its tanh approximation.
    Gelu,
}

impl Activation {
    /// The activation of a config.
    pub fn of(quick_gelu: bool) -> Activation {
        if quick_gelu { Activation::QuickGelu } else { Activation::Gelu }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::QuickGelu => "QuickGELU",
            Activation::Gelu => "GELU",
        })
    }
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token's.
    First,
    /// The last token's.
    Last,
    /// The one of the token with the highest id.
    HighestId,
    /// The one of the first token with the id of the end token.
    EndToken,
    /// None is taken.
    None,
    /// The mean of what is not padding.
    Mean,
    /// The greatest values of what is not padding.
    Max,
    /// The first token's, through the tower's own pooler where it has one.
    Class,
    /// The first token's, of the last layer.
    ClassOfLastLayer,
}

impl Pooling {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::First => "first token",
            Pooling::Last => "last token",
            Pooling::HighestId => "token with the highest id",
            Pooling::EndToken => "first end token",
            Pooling::None => "none",
            Pooling::Mean => "mean",
            Pooling::Max => "maximum",
            Pooling::Class => "class token",
            Pooling::ClassOfLastLayer => "class token of the last layer",
        }
    }
}

impl From<TextPool> for Pooling {
    fn from(pool: TextPool) -> Pooling {
        match pool {
            TextPool::First => Pooling::First,
            TextPool::Last => Pooling::Last,
            TextPool::Argmax => Pooling::HighestId,
            TextPool::Eos => Pooling::EndToken,
            TextPool::None => Pooling::None,
        }
    }
}

impl From<Option<TextPooler>> for Pooling {
    fn from(pooler: Option<TextPooler>) -> Pooling {
        match pooler {
            None => Pooling::None,
            Some(TextPooler::Mean) => Pooling::Mean,
            Some(TextPooler::Max) => Pooling::Max,
            Some(TextPooler::Class) => Pooling::Class,
            Some(TextPooler::ClassLastHiddenState) => Pooling::ClassOfLastLayer,
        }
    }
}
