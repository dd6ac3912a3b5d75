//! Where a value comes from.

use std::fmt;

use clipway_formats::shown;
use serde::{Deserialize, Serialize};

/// Where a value comes from. `Display` gives a short phrase for a table column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Origin {
    /// A file of the source states it.
    SourceFile {
        /// Name of the file.
        file: String,
        /// Its key in the file, such as `text_config.eos_token_id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The source's layout allows no other value.
    Layout {
        /// What makes it certain.
        why: String,
    },
    /// open_clip's registry states it for a name.
    Registry {
        /// The name.
        name: String,
    },
    /// The given pretrained tag states it.
    PretrainedTag {
        /// Name of the architecture.
        name: String,
        /// The tag.
        tag: String,
    },
    /// Every pretrained tag of a registered name states it.
    PretrainedTags {
        /// The name.
        name: String,
        /// Its tags.
        tags: Vec<String>,
    },
    /// The registry's table of licenses has it.
    LicenseTable {
        /// The repository, or a tag as `NAME:TAG`.
        what: String,
    },
    /// The trainer logged it beside the checkpoint.
    TrainerLog {
        /// Name of the file, such as `params.txt`.
        file: String,
    },
    /// The caller set it.
    Option {
        /// Name of the option, such as `image_mean`.
        name: String,
    },
    /// A tensor of the source holds it.
    Weights {
        /// Name of the tensor.
        tensor: String,
    },
    /// open_clip's default: the config does not state it.
    Default {
        /// The config that does not state it.
        file: String,
    },
    /// Nothing states it, so it is assumed.
    Assumption {
        /// Why this value.
        why: String,
    },
    /// The source is an artifact, and its `clipway.json` states it.
    Artifact {
        /// Where the artifact has it from.
        said: Box<Origin>,
    },
}

impl Origin {
    /// A key of one of the source's files.
    pub fn key(file: impl Into<String>, key: impl Into<String>) -> Origin {
        Origin::SourceFile { file: file.into(), key: Some(key.into()) }
    }

    /// One of the source's files as a whole.
    pub fn file(file: impl Into<String>) -> Origin {
        Origin::SourceFile { file: file.into(), key: None }
    }

    /// An option set by the caller.
    pub fn option(name: impl Into<String>) -> Origin {
        Origin::Option { name: name.into() }
    }

    /// The same origin, as stated by an artifact that is itself a source.
    #[must_use]
    pub fn in_artifact(&self) -> Origin {
        match self {
            Origin::Artifact { .. } => self.clone(),
            said => Origin::Artifact { said: Box::new(said.clone()) },
        }
    }

    /// Whether nothing states the value.
    pub fn is_assumed(&self) -> bool {
        match self {
            Origin::Assumption { .. } => true,
            Origin::Artifact { said } => said.is_assumed(),
            _ => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::SourceFile { file, key: None } => write!(f, "`{}`", shown(file)),
            Origin::SourceFile { file, key: Some(key) } => {
                write!(f, "`{}`, `{}`", shown(file), shown(key))
            }
            Origin::Layout { why } => f.write_str(why),
            Origin::Registry { name } => write!(f, "the registry's config of `{}`", shown(name)),
            Origin::PretrainedTag { name, tag } => {
                write!(f, "the pretrained tag `{}` of `{}`", shown(tag), shown(name))
            }
            Origin::PretrainedTags { name, tags } => {
                write!(f, "every pretrained tag of `{}` ({})", shown(name), shown(&tags.join(", ")))
            }
            Origin::LicenseTable { what } => write!(f, "the registry's licenses, `{}`", shown(what)),
            Origin::TrainerLog { file } => write!(f, "the trainer's `{}`", shown(file)),
            Origin::Option { name } => write!(f, "set by the option `{}`", shown(name)),
            Origin::Weights { tensor } => write!(f, "tensor `{}`", shown(tensor)),
            Origin::Default { file } => write!(f, "open_clip's default: not set in `{}`", shown(file)),
            Origin::Assumption { why } => write!(f, "assumed: {why}"),
            Origin::Artifact { said } => write!(f, "the source's `clipway.json`: {said}"),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// Its origin.
    pub from: Origin,
}

impl<T> Known<T> {
    /// Pairs a value with its origin.
    pub fn new(value: T, from: Origin) -> Known<T> {
        Known { value, from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_of_an_artifact_names_the_first_origin() {
        let first = Origin::key("config.json", "text_config.eos_token_id");
        let twice = first.in_artifact().in_artifact();
        assert_eq!(
            twice.to_string(),
            "the source's `clipway.json`: `config.json`, `text_config.eos_token_id`"
        );
        assert!(!twice.is_assumed());
        let assumed = Origin::Assumption { why: "the weights hold none".to_owned() };
        assert!(assumed.in_artifact().is_assumed());
    }

    #[test]
    fn what_a_file_names_cannot_forge_lines() {
        let origin = Origin::file("a\nb");
        assert_eq!(origin.to_string(), "`a\\u{a}b`");
    }

    #[test]
    fn json_and_back() {
        for origin in [
            Origin::file("config.json"),
            Origin::option("image_mean"),
            Origin::PretrainedTags { name: "ViT-B-32".to_owned(), tags: vec!["openai".to_owned()] },
            Origin::PretrainedTag { name: "ViT-B-32".to_owned(), tag: "openai".to_owned() },
            Origin::Registry { name: "ViT-B-32".to_owned() }.in_artifact(),
            Origin::LicenseTable { what: "timm/x".to_owned() },
        ] {
            let json = serde_json::to_string(&Known::new(1, origin.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Known<i32>>(&json).unwrap(), Known::new(1, origin), "{json}");
        }
        assert!(serde_json::from_str::<Origin>(r#"{"kind": "layout", "why": "x", "more": 1}"#).is_err());
    }
}
