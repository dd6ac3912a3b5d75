//! Well-known text models, stored as data in the crate.

use std::sync::OnceLock;

use clipway_formats::{Json, JsonLimits, JsonValue, shown};

use super::{TextModel, read};
use crate::config::write::pretty;
use crate::nearest::nearest;

/// Per name, the sizes from the model's `config.json`, or another name of the same model.
static MODELS: &str = include_str!("../../../data/text_models.json");

/// An unknown text model name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown text model `{name}`{}; known: {}; for any other BERT, RoBERTa, \
     XLM-RoBERTa, ModernBERT, mT5 or M2M-100, put its `config.json` beside the weights",
    match nearest {
        Some(nearest) => format!(": the nearest is `{nearest}`"),
        None => String::new(),
    },
    names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownTextModel {
    /// The name, as given.
    pub name: String,
    /// The most similar name.
    pub nearest: Option<&'static str>,
}

/// Names of the known text models; some models have two.
pub fn names() -> impl Iterator<Item = &'static str> {
    documents().iter().map(|(name, _)| name.as_str())
}

/// The text model with a Hugging Face name.
///
/// # Errors
/// An unknown name, with the nearest known one.
///
/// ```
/// assert_eq!(clipway_model::config::text_model::known("roberta-base").unwrap().width, 768);
/// ```
pub fn known(name: &str) -> Result<TextModel, UnknownTextModel> {
    // The data belongs to the crate, and a test reads all of it.
    Ok(read::read(document(name)?).ok().flatten().expect("the known text models are right"))
}

/// The `config.json` of the text model with a Hugging Face name, as far as it differs from transformers' defaults.
///
/// # Errors
/// An unknown name, with the nearest known one.
pub(crate) fn known_file(name: &str) -> Result<String, UnknownTextModel> {
    Ok(pretty(document(name)?))
}

fn document(name: &str) -> Result<&'static Json, UnknownTextModel> {
    let find = |wanted: &str| documents().iter().find(|(name, _)| name == wanted).map(|(_, json)| json);
    let found = find(name).and_then(|json| match &json.value {
        JsonValue::String(other) => find(other),
        _ => Some(json),
    });
    found.ok_or_else(|| {
        let all: Vec<&'static str> = names().collect();
        UnknownTextModel { name: shown(name), nearest: nearest(name, &all) }
    })
}

fn documents() -> &'static [(String, Json)] {
    static DOCUMENTS: OnceLock<Vec<(String, Json)>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        match Json::parse(MODELS.as_bytes(), JsonLimits::CONFIG).map(|json| json.value) {
            Ok(JsonValue::Object(members)) => members,
            other => {
                unreachable!("the known text models are an object: {:?}", other.map(|value| value.kind()))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_a_model() {
        assert!(names().count() > 30);
        for name in names() {
            assert!(known(name).is_ok(), "{name}");
        }
        assert_eq!(known("FacebookAI/xlm-roberta-large").ok(), known("xlm-roberta-large").ok());
    }

    #[test]
    fn an_unknown_name_has_a_nearest_one() {
        let error = known("google/mt5-bass").expect_err("there is none");
        assert_eq!(error.nearest, Some("google/mt5-base"));
        assert!(error.to_string().contains("`facebook/nllb-200-distilled-600M`"), "{error}");
    }
}
