//! What a SOURCE on the command line names: a path, a repository on the Hub, or a pretrained tag of the registry.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use clipway_formats::{shown, shown_path};
use clipway_model::artifact::FileHash;
use clipway_model::input::{self, Elsewhere, Kind};
use clipway_model::registry::{self, Pretrained, UnknownModel, UnknownTag};
use clipway_model::source::ModelChoice;

use crate::failure::{self, Failure};
use crate::hints;

/// A source as it was given, and where its files are. A source on the Hub has no files until it is brought.
#[derive(Clone, Debug, Default)]
pub struct SourceName {
    said: OsString,
    path: PathBuf,
    tag: Option<&'static Pretrained>,
    elsewhere: Elsewhere,
}

impl From<OsString> for SourceName {
    fn from(said: OsString) -> SourceName {
        SourceName { path: said.clone().into(), said, ..SourceName::default() }
    }
}

impl Deref for SourceName {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl SourceName {
    /// The weights of a model by tag, or in a file where there is no such tag, as in open_clip.
    pub fn pretrained(model: &str, pretrained: &str) -> Result<SourceName, Failure> {
        match registry::tag(model, pretrained) {
            Ok(tag) => {
                let said = format!("{model}:{pretrained}").into();
                Ok(SourceName { said, tag: Some(tag), ..SourceName::default() })
            }
            Err(_) if Path::new(pretrained).is_file() => SourceName::file(model, pretrained),
            Err(error) => {
                registry::model(model).map_err(|error| unknown_model(&error))?;
                Err(unknown_tag(model, &error))
            }
        }
    }

    /// A file with weights of a model. One with the name of a tag's file that open_clip checks is that tag's, and must
    /// have the hash in the tag's URL.
    fn file(model: &str, path: &str) -> Result<SourceName, Failure> {
        let mut source = SourceName::from(OsString::from(path));
        let name = source.file_name().and_then(OsStr::to_str);
        let named =
            registry::pretrained(model).find(|entry| entry.url_hash().is_some() && entry.url_file() == name);
        if let Some((tag, hash)) = named.and_then(|tag| Some((tag, tag.url_hash()?))) {
            check_hash(&source, hash, &format!("{model}:{}", tag.tag))?;
            source.tag = Some(tag);
        }
        Ok(source)
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// The source as given, for messages and hints.
    pub fn said(&self) -> String {
        shown(&self.said.to_string_lossy())
    }

    /// Sets where the files are, and those that are read in parts.
    #[cfg(feature = "hub")]
    pub fn found_at(&mut self, path: PathBuf, elsewhere: Elsewhere) {
        self.path = path;
        self.elsewhere = elsewhere;
    }

    /// Weight files that are read in parts.
    pub fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// The pretrained tag that is named.
    pub fn tag(&self) -> Option<&'static Pretrained> {
        self.tag
    }

    /// The model that the name states.
    pub fn model(&self) -> Option<ModelChoice> {
        self.tag.map(ModelChoice::Tag)
    }

    /// Reads `NAME:TAG`, unless a file has that name.
    pub fn read_tag(&mut self) -> Result<(), Failure> {
        let Some((model, tag)) = self.said.to_str().and_then(|said| said.split_once(':')) else {
            return Ok(());
        };
        if self.tag.is_some() || registry::model(model).is_err() || self.path.symlink_metadata().is_ok() {
            return Ok(());
        }
        self.tag = Some(registry::tag(model, tag).map_err(|error| unknown_tag(model, &error))?);
        Ok(())
    }

    /// The name of a repository on the Hub, if that is what was given.
    pub fn on_hub(&self) -> Option<&str> {
        self.said.to_str().filter(|text| text.starts_with("hf-hub:") || text.starts_with("hf://"))
    }
}

/// Checks that the SHA-256 of a file begins with these digits, as in the URL of a tag.
fn check_hash(path: &Path, expected: &str, tag: &str) -> Result<(), Failure> {
    let file = input::open(path, Kind::Weights).map_err(|error| failure::input(&error))?;
    let refuse = |cause| Failure::no("io", format!("`{}`: {cause}", shown_path(path)));
    let found = FileHash::of_source(&file, |_| Ok::<(), Infallible>(())).map_err(refuse)?;
    // Reading piece by piece does not end early.
    let Ok(found) = found;
    if found.sha256.starts_with(expected) {
        return Ok(());
    }
    let message = format!(
        "`{}` has the name of the file of `{tag}`, but its SHA-256 is {}, not {expected}",
        shown_path(path),
        found.sha256
    );
    Err(Failure::no("checksum", message)
        .hint("if it is another model's, pass it as SOURCE with `--model`; else download it again"))
}

/// Failure for a name that is not in the registry.
pub fn unknown_model(error: &UnknownModel) -> Failure {
    let failure = Failure::could_not_run("unknown-model", error);
    match error.newer {
        Some(_) => failure.hint(hints::of_unknown_model(error)),
        None => failure.hint("`clipway models` lists all names and tags"),
    }
}

/// Failure for a tag that a model does not have.
pub fn unknown_tag(model: &str, error: &UnknownTag) -> Failure {
    Failure::could_not_run("unknown-tag", error)
        .hint(format!("`clipway models {}` lists its tags", shown(model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<SourceName, Failure> {
        let mut name = SourceName::from(OsString::from(text));
        name.read_tag().map(|()| name)
    }

    #[test]
    fn tags_are_told_from_paths() {
        let tag = |text: &str| name(text).unwrap().tag().map(|entry| entry.tag.clone());
        assert_eq!(tag("ViT-B-32:openai").as_deref(), Some("openai"));
        assert_eq!(tag("ViT/B-32:LAION2B-s34b_b79k").as_deref(), Some("laion2b_s34b_b79k"));
        for path in ["model.pt", "C:\\model.pt", "hf-hub:a/b", "hf://a/b", "model:openai"] {
            assert_eq!(tag(path), None, "{path}");
        }
        let failure = name("ViT-B-32:openia").unwrap_err();
        assert_eq!(failure.code, "unknown-tag");
        assert!(failure.message.contains("the nearest is `openai`"), "{}", failure.message);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn a_tag_that_is_none_may_be_a_file() {
        let file = std::env::current_exe().unwrap();
        let found = SourceName::pretrained("ViT-B-32", file.to_str().unwrap()).unwrap();
        assert_eq!((&*found, found.tag()), (file.as_path(), None));
        let found = SourceName::pretrained("ViT-B-32", "OpenAI").unwrap();
        assert_eq!(found.said(), "ViT-B-32:OpenAI");
        assert!(matches!(found.model(), Some(ModelChoice::Tag(entry)) if entry.quick_gelu));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vit_b_32-laion2b_e16-af8dbd0c.pth");
        std::fs::copy(std::env::current_exe().unwrap(), &file).unwrap();
        let failure = SourceName::pretrained("ViT-B-32", file.to_str().unwrap()).unwrap_err();
        assert_eq!((failure.code, failure.exit_code), ("checksum", 1));
        assert!(failure.message.contains("not af8dbd0c"), "{}", failure.message);
        // Another model has no such file.
        assert!(SourceName::pretrained("ViT-B-16", file.to_str().unwrap()).is_ok());
        let whole = FileHash::of(&input::read(&file, Kind::Weights).unwrap()).sha256;
        assert!(check_hash(&file, &whole[..8], "").is_ok() && check_hash(&file, &whole, "").is_ok());
        let code = |model, tag| SourceName::pretrained(model, tag).unwrap_err().code;
        assert_eq!((code("ViT-B-32", "none"), code("Nothing", "openai")), ("unknown-tag", "unknown-model"));
    }
}
