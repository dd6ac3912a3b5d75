//! A contract as rows of a table: field, value, origin.

use serde::Serialize;

use super::{Clean, Contract, Field, Known, Side, TokenizerKind, TokenizerRules};

/// One row: a field, its value and its origin, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// Its origin.
    pub from: String,
}

impl Contract {
    /// Every field that the contract states, in the order of [`Field`].
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(image) = &self.image {
            rows.push(row(Field::ImageSize, &image.size, |[height, width]| format!("{height} x {width}")));
            rows.push(row(Field::PixelRule, &image.rule, ToString::to_string));
            rows.push(row(Field::Mean, &image.mean, numbers));
            rows.push(row(Field::Std, &image.std, numbers));
            rows.push(row(Field::Interpolation, &image.interpolation, |value| value.name().to_owned()));
            rows.push(row(Field::ResizeMode, &image.resize_mode, |value| value.name().to_owned()));
            rows.push(row(Field::FillColor, &image.fill_color, u8::to_string));
            rows.push(row(Field::ImageEpsilon, &image.epsilon, |values| epsilons(values)));
        }
        if let Some(text) = &self.text {
            rows.push(row(Field::ContextLength, &text.context_length, |tokens| format!("{tokens} tokens")));
            rows.extend(text.tokenizer.as_ref().map(|known| row(Field::Tokenizer, known, tokenizer)));
            rows.extend(text.cleaning.as_ref().map(|known| row(Field::Cleaning, known, cleaning)));
            rows.extend(
                text.vocabulary.as_ref().map(|known| row(Field::Vocabulary, known, ToString::to_string)),
            );
            rows.push(row(Field::Pooling, &text.pooling, |pooling| pooling.name().to_owned()));
            rows.extend(text.end_token.as_ref().map(|known| row(Field::EndToken, known, i64::to_string)));
            rows.push(row(Field::TextEpsilon, &text.epsilon, |values| epsilons(values)));
        }
        rows.push(row(Field::Activation, &self.activation, ToString::to_string));
        rows.extend(self.logit_scale.as_ref().map(|known| row(Field::LogitScale, known, f32::to_string)));
        rows.extend(self.logit_bias.as_ref().map(|known| row(Field::LogitBias, known, f32::to_string)));
        let named = |license: &String| match self.license_terms.as_ref().and_then(|terms| terms.name.as_ref())
        {
            Some(name) if name != license => format!("{license}: {name}"),
            _ => license.clone(),
        };
        rows.extend(self.license.as_ref().map(|known| row(Field::License, known, named)));
        rows
    }
}

fn row<T>(field: Field, known: &Known<T>, shown: impl Fn(&T) -> String) -> Row {
    Row { field: field.name(), value: shown(&known.value), from: known.from.to_string() }
}

fn numbers(values: &[f64; 3]) -> String {
    values.map(|value| value.to_string()).join(", ")
}

fn epsilons(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:e}")).collect::<Vec<_>>().join(", ")
}

fn tokenizer(rules: &TokenizerRules) -> String {
    match &rules.kind {
        TokenizerKind::ClipBpe {} => "CLIP's byte-pair encoding".to_owned(),
        TokenizerKind::TokenizerJson(json) => {
            let side = match json.padding_side {
                Side::Right => "right",
                Side::Left => "left",
            };
            format!("`tokenizer.json`, padding {} on the {side}", json.pad_id)
        }
    }
}

fn cleaning(clean: &Clean) -> String {
    match clean {
        Clean::Lower => "repaired, lower-cased",
        Clean::Whitespace => "repaired",
        Clean::WhitespaceUnderscore => "repaired, underscores replaced",
        Clean::Canonicalize => "repaired, punctuation removed, lower-cased",
        Clean::Siglip => "punctuation removed, lower-cased",
        Clean::Nothing => "none",
    }
    .to_owned()
}
