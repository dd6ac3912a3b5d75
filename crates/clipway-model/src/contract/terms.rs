//! A contract: everything besides the weights that decides features, with the origin of each part.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Clean, Known, Origin, TokenizerRules, TrimmedVocabulary};
use crate::config::{Interpolation, PixelRule, ResizeMode, TextPool, TextPooler};

/// Everything besides the weights that decides a model's features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// How images become pixels; absent if there is no image tower.
    pub image: Option<ImageContract>,
    /// How texts become token ids and then a feature; absent if there is no text tower.
    pub text: Option<TextContract>,
    /// Activation of open_clip's own towers.
    pub activation: Known<Activation>,
    /// Factor applied to the cosines: the exponential of the stored `logit_scale`; absent if the weights have none.
    pub logit_scale: Option<Known<f32>>,
    /// Value added to the logits, in models trained with the sigmoid loss.
    pub logit_bias: Option<Known<f32>>,
    /// License of the weights, if known: its identifier on the Hub, or else its name.
    pub license: Option<Known<String>>,
    /// Name and address of a license without an identifier of its own; left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_terms: Option<LicenseTerms>,
}

/// Name and address of a license that has no identifier of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenseTerms {
    /// Its name.
    #[serde(rename = "license_name", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its text is: an address, or a file of the folder.
    #[serde(rename = "license_link", default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl LicenseTerms {
    /// Whether neither is known.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none()
    }
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
    /// Padding value of a resize, from 0 to 255.
    pub fill_color: Known<u8>,
    /// Epsilons of the tower's norms, without repeats.
    pub epsilon: Known<Vec<f64>>,
}

/// How texts become token ids and then a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextContract {
    /// Context length.
    pub context_length: Known<usize>,
    /// Tokenizer and its rules; absent if its files are missing.
    pub tokenizer: Option<Known<TokenizerRules>>,
    /// How a text is cleaned before tokenization; absent without a tokenizer.
    pub cleaning: Option<Known<Clean>>,
    /// How the vocabulary was trimmed; left out where it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Known<TrimmedVocabulary>>,
    /// How the token vectors become one.
    pub pooling: Known<Pooling>,
    /// Id of the token that pooling selects, if it looks for one.
    pub end_token: Option<Known<i64>>,
    /// Epsilons of the tower's norms, without repeats.
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
    /// Replaces the tokenizer's rules and keeps its origin.
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
    /// GELU; a config may ask for the tanh approximation.
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

/// How a text's token vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token.
    First,
    /// The last token.
    Last,
    /// The token with the highest id.
    HighestId,
    /// The first end token.
    EndToken,
    /// None.
    None,
    /// The mean of all tokens that are not padding.
    Mean,
    /// The maximum over all tokens that are not padding.
    Max,
    /// What a learned query finds among all tokens that are not padding.
    Query,
    /// The first token, through the tower's own pooler if it has one.
    Class,
    /// The first token of the last layer.
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
            Pooling::Query => "learned query",
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
            TextPool::Mean => Pooling::Mean,
            TextPool::Query => Pooling::Query,
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
