//! The fields of a contract by name, and the origins that a source states for them.

use std::collections::BTreeMap;

use super::Origin;

/// A field of a [`Contract`](super::Contract), in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Height and width of the pixels.
    ImageSize,
    /// By whose rule, and with which library's arithmetic, images become pixels.
    PixelRule,
    /// Mean of each channel.
    Mean,
    /// Standard deviation of each channel.
    Std,
    /// Interpolation of the resize.
    Interpolation,
    /// Resize mode.
    ResizeMode,
    /// Padding color of a resize.
    FillColor,
    /// Epsilon of the image tower's norms.
    ImageEpsilon,
    /// Context length.
    ContextLength,
    /// Tokenizer and its rules.
    Tokenizer,
    /// Cleaning of texts.
    Cleaning,
    /// How the vocabulary was trimmed.
    Vocabulary,
    /// Pooling of the text tower.
    Pooling,
    /// End token of a text.
    EndToken,
    /// Epsilon of the text tower's norms.
    TextEpsilon,
    /// Activation of open_clip's own towers.
    Activation,
    /// Factor applied to the cosines.
    LogitScale,
    /// Value added to the logits.
    LogitBias,
    /// License of the weights.
    License,
}

impl Field {
    /// Name in tables and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Field::ImageSize => "image size",
            Field::PixelRule => "pixel rule",
            Field::Mean => "mean",
            Field::Std => "std",
            Field::Interpolation => "interpolation",
            Field::ResizeMode => "resize mode",
            Field::FillColor => "fill color",
            Field::ImageEpsilon => "image epsilon",
            Field::ContextLength => "context length",
            Field::Tokenizer => "tokenizer",
            Field::Cleaning => "text cleaning",
            Field::Vocabulary => "vocabulary",
            Field::Pooling => "text pooling",
            Field::EndToken => "end token",
            Field::TextEpsilon => "text epsilon",
            Field::Activation => "activation",
            Field::LogitScale => "logit scale",
            Field::LogitBias => "logit bias",
            Field::License => "license",
        }
    }
}

/// Origins of fields, where the reader of a source knows more than "the config".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<Field, Origin>);

impl Origins {
    /// Records where a field comes from.
    pub fn set(&mut self, field: Field, origin: Origin) -> &mut Origins {
        self.0.insert(field, origin);
        self
    }

    /// Records where several fields come from.
    pub fn set_all(&mut self, fields: impl IntoIterator<Item = Field>, origin: &Origin) -> &mut Origins {
        self.0.extend(fields.into_iter().map(|field| (field, origin.clone())));
        self
    }

    /// The recorded origin of a field, if any.
    pub fn get(&self, field: Field) -> Option<&Origin> {
        self.0.get(&field)
    }

    /// Overrides these origins with those of `other`.
    pub fn merge(&mut self, other: Origins) {
        self.0.extend(other.0);
    }
}
