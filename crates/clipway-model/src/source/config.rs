//! Finds the config of the weights: first what was given, then what it means. Nothing is guessed.

use std::fmt;
use std::path::{Path, PathBuf};

use clipway_formats::{TensorInfo, shown, shown_path};

use super::SourceError;
use super::trainer_log::TrainerLog;
use crate::checkpoint::{CONFIG_NAME, Checkpoint, CheckpointError};
use crate::config::{ConfigFile, ModelConfig, PreprocessOptions};
use crate::contract::Origins;
use crate::differences::Differences;
use crate::identify::{Assumption, CloseFit, Identification, identify};
use crate::input;
use crate::layout::KnownConfig;
use crate::registry::{self, Pretrained};

/// The given model.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelChoice {
    /// A registered name.
    Name(String),
    /// The weights of a pretrained tag of the registry, with its preprocessing.
    Tag(&'static Pretrained),
    /// A config file.
    File(PathBuf),
    /// A config.
    Config(Box<ConfigFile>),
}

impl ModelChoice {
    /// Interprets a word for a model: a path if it ends in `.json`, else a name.
    pub fn of(text: &str) -> ModelChoice {
        if text.to_ascii_lowercase().ends_with(".json") {
            ModelChoice::File(text.into())
        } else {
            ModelChoice::Name(text.to_owned())
        }
    }
}

/// Where a config comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigOrigin {
    /// From the registry, by the given name.
    Named(String),
    /// From the registry, by the given name and pretrained tag.
    Tag(&'static Pretrained),
    /// From the given file.
    File(PathBuf),
    /// The given config.
    Given,
    /// From the config beside the weights.
    Beside,
    /// From the only registered name that matches names and shapes.
    OnlyFit(String),
    /// Stated by the layout.
    Layout(LayoutOrigin),
}

/// A config stated by the source's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutOrigin {
    /// The registered name, if any.
    pub name: Option<String>,
    /// The config's origin.
    pub from: String,
    /// The activation's origin.
    pub activation_from: String,
    /// Origins of contract fields, where the layout knows more.
    pub origins: Origins,
    /// Contradictions of files that are not used, by file name.
    pub disagreements: Vec<(&'static str, Vec<String>)>,
    /// The text model's own config, where the layout has it in another file and an export carries it along.
    pub text_model_file: Option<Vec<u8>>,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl ConfigOrigin {
    /// The registered name, if any.
    pub fn name(&self) -> Option<&str> {
        match self {
            ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => Some(name),
            ConfigOrigin::Tag(entry) => Some(&entry.model),
            ConfigOrigin::Layout(origin) => origin.name.as_deref(),
            ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside => None,
        }
    }

    /// The text model's own config, where the layout has it in another file.
    pub(super) fn text_model_file(&self) -> Option<Vec<u8>> {
        match self {
            ConfigOrigin::Layout(origin) => origin.text_model_file.clone(),
            _ => None,
        }
    }

    /// The model's name in messages.
    pub fn shown(&self) -> String {
        match self {
            ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => format!("`{name}`"),
            ConfigOrigin::Tag(entry) => format!("`{}`", entry.model),
            ConfigOrigin::File(path) => format!("`{}`", shown_path(path)),
            ConfigOrigin::Given => "the given config".to_owned(),
            ConfigOrigin::Beside => format!("the `{CONFIG_NAME}` beside it"),
            ConfigOrigin::Layout(origin) => match &origin.name {
                Some(name) => format!("`{name}`"),
                None => format!("the config from {}", origin.from),
            },
        }
    }

    /// The origin as recorded in the artifact, which contains no paths.
    pub(crate) fn recorded(&self) -> String {
        match self {
            ConfigOrigin::Named(name) => format!("registry, given name `{name}`"),
            ConfigOrigin::Tag(entry) => {
                format!("registry, given name `{}` and tag `{}`", entry.model, entry.tag)
            }
            ConfigOrigin::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("given file `{}`", shown(&name))
            }
            ConfigOrigin::Given => "as given".to_owned(),
            ConfigOrigin::Beside => format!("`{CONFIG_NAME}` beside the weights"),
            ConfigOrigin::OnlyFit(name) => {
                format!("registry, `{name}`: the only match for names and shapes")
            }
            ConfigOrigin::Layout(origin) => origin.from.clone(),
        }
    }
}

/// A config and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The config.
    pub config: ConfigFile,
    /// Where it comes from.
    pub origin: ConfigOrigin,
}

/// The config is unknown: several registered models match, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// The source.
    pub path: PathBuf,
    /// What names and shapes show.
    pub identification: Identification,
    /// What is wrong with any of the models.
    pub differences: Differences,
}

impl std::error::Error for Candidates {}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has no config, and its shapes ", shown_path(&self.path))?;
        let names = self.identification.names();
        if !names.is_empty() {
            let models = if names.len() == 1 { "model" } else { "models" };
            write!(f, "fit {} {models}", names.len())?;
            let by_activation = self.differ_in_activation();
            for name in &names {
                write!(f, "\n  {name}{}", if by_activation { trained_so(name) } else { String::new() })?;
            }
            if by_activation {
                f.write_str(
                    "\nthey differ only in the activation, which no shape shows; a fine-tune has that of the weights it \
                     began with",
                )?;
            }
            return self.write_differences(f);
        }
        f.write_str("match no registered model")?;
        for CloseFit { name, differences } in &self.identification.closest {
            let tensors = if *differences == 1 { "tensor" } else { "tensors" };
            write!(f, "\n  {name}, except for {differences} {tensors}")?;
        }
        for near in &self.identification.near {
            write!(f, "\n  {}, at another size", near.name)?;
        }
        if let Some(reconstruction) = &self.identification.reconstruction {
            f.write_str("; they determine the whole config except for")?;
            for Assumption { field, why, .. } in &reconstruction.assumed {
                write!(f, "\n  `{field}`: {why}")?;
            }
        }
        self.write_differences(f)
    }
}

impl Candidates {
    /// Whether several models match and differ only in their activation.
    pub fn differ_in_activation(&self) -> bool {
        let names = self.identification.names();
        names.iter().any(is_quick) && !names.iter().all(is_quick)
    }

    fn write_differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            Ok(())
        } else {
            write!(f, "\nwhichever it is, these differ:\n{}", self.differences)
        }
    }
}

/// Whether a registered name says QuickGELU.
fn is_quick(name: &&str) -> bool {
    name.contains("quickgelu")
}

/// Which pretrained weights of a name's shapes were trained with its activation.
fn trained_so(name: &str) -> String {
    const MOST: usize = 3;
    let quick = is_quick(&name);
    let tags: Vec<&str> = registry::pretrained(name)
        .filter(|entry| entry.quick_gelu == quick)
        .map(|entry| entry.tag.as_str())
        .collect();
    let activation = if quick { "QuickGELU" } else { "GELU" };
    let more = tags.len().saturating_sub(MOST);
    match tags.is_empty() {
        true => format!(" ({activation}; no pretrained weights)"),
        false => {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(" ({activation}; as {}{more})", tags[..tags.len().min(MOST)].join(", "))
        }
    }
}

/// The weights do not match the config: all differences.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The source.
    pub path: PathBuf,
    /// The model's name in messages.
    pub model: String,
    /// Its registered name, if it has one.
    pub given: Option<String>,
    /// The differences.
    pub differences: Differences,
    /// What names and shapes show.
    pub identification: Identification,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` does not match {}\n{}", shown_path(&self.path), self.model, self.differences)
    }
}

/// What is added to the cosine of an image and a text, in a model with SigLIP's loss.
pub(super) const LOGIT_BIAS: &str = "logit_bias";

/// What names and shapes show.
pub(super) fn identified(tensors: &[TensorInfo]) -> Identification {
    let of = |keeps: &dyn Fn(&TensorInfo) -> bool| {
        let kept = tensors.iter().filter(|tensor| keeps(tensor));
        identify(kept.map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())))
    };
    let found = of(&|_| true);
    if !found.names().is_empty() || !tensors.iter().any(|tensor| tensor.name == LOGIT_BIAS) {
        return found;
    }
    // Any model has one, once it is trained with SigLIP's loss.
    let without = of(&|tensor| tensor.name != LOGIT_BIAS);
    if without.names().is_empty() { found } else { without }
}

/// Finds the config of a checkpoint whose tensors have these names and shapes in open_clip: the given one, else
/// open_clip's own config beside the weights, else the one stated by the layout, else the only registered one that
/// matches.
pub(super) fn resolve(
    checkpoint: &Checkpoint,
    choice: Option<&ModelChoice>,
    told: impl FnOnce() -> Result<Option<KnownConfig>, SourceError>,
    tensors: &[TensorInfo],
    log: Option<&TrainerLog>,
) -> Result<Resolved, SourceError> {
    match choice {
        Some(ModelChoice::Name(name)) => {
            let config = bare(registry::model(name)?);
            Ok(Resolved { config, origin: ConfigOrigin::Named(name.replace('/', "-")) })
        }
        Some(ModelChoice::Tag(entry)) => {
            let config = bare(registry::model(&entry.model)?);
            Ok(Resolved { config, origin: ConfigOrigin::Tag(entry) })
        }
        Some(ModelChoice::File(path)) => {
            let config = read_config(path)?;
            Ok(Resolved { config, origin: ConfigOrigin::File(path.clone()) })
        }
        Some(ModelChoice::Config(config)) => {
            Ok(Resolved { config: (**config).clone(), origin: ConfigOrigin::Given })
        }
        None => match checkpoint.config() {
            Some((_, config)) => Ok(Resolved { config: config.clone(), origin: ConfigOrigin::Beside }),
            None => {
                if let Some(known) = told()? {
                    let KnownConfig {
                        config,
                        name,
                        from,
                        activation_from,
                        origins,
                        disagreements,
                        text_model_file,
                        notes,
                    } = known;
                    let origin = LayoutOrigin {
                        name,
                        from,
                        activation_from,
                        origins,
                        disagreements,
                        text_model_file,
                        notes,
                    };
                    return Ok(Resolved { config, origin: ConfigOrigin::Layout(origin) });
                }
                let identification = identified(tensors);
                if let Some(log) = log.filter(|log| log.fits(&identification)) {
                    let config = bare(registry::model(&log.model)?);
                    return Ok(Resolved { config, origin: ConfigOrigin::Named(log.model.clone()) });
                }
                match identification.names()[..] {
                    [name] => {
                        let config = bare(registry::model(name)?);
                        Ok(Resolved { config, origin: ConfigOrigin::OnlyFit(name.to_owned()) })
                    }
                    _ => {
                        let path = checkpoint.path().to_owned();
                        let differences = Differences::default();
                        Err(Box::new(Candidates { path, identification, differences }).into())
                    }
                }
            }
        },
    }
}

fn bare(model: ModelConfig) -> ConfigFile {
    ConfigFile { model, preprocess: PreprocessOptions::default() }
}

fn read_config(path: &Path) -> Result<ConfigFile, SourceError> {
    let bytes = input::read(path, input::Kind::Config)
        .map_err(|error| SourceError::Open(CheckpointError::Input(error)))?;
    ConfigFile::parse(&bytes).map_err(|cause| SourceError::Config { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::build;
    use clipway_formats::Dtype;

    #[test]
    fn a_registered_model_is_known_with_the_logit_bias_of_another_loss() {
        let parameters = build(&registry::model("RN50x4").unwrap()).unwrap().parameters;
        let order = parameters.in_state_dict_order();
        let info = |name: &str, shape: &[usize]| TensorInfo {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        };
        let mut tensors: Vec<TensorInfo> =
            order.into_iter().map(|id| info(&parameters.get(id).name, &parameters.get(id).shape)).collect();
        let expected = identified(&tensors).names();
        assert!(expected.contains(&"RN50x4"), "{expected:?}");
        tensors.push(info(LOGIT_BIAS, &[]));
        assert_eq!(identified(&tensors).names(), expected);
    }
}
