//! From the name of a source on the Hub to its files in the cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clipway_hub::{
    Choice, Distant, Hub, HubError, Pulled, Reference, RepoName, Settings, Tree, Wanted, Watcher,
};
use clipway_model::input::Elsewhere;
use clipway_model::registry::Pretrained;
use indicatif::ProgressBar;

use super::{Reads, failure};
use crate::failure::Failure;
use crate::source_name::SourceName;
use crate::ui::{Trouble, Ui};

/// Formats whose header can be read in parts, with the size from which that is worth it: for safetensors it takes three
/// requests, for archives one for each tensor.
const IN_PARTS: [(&str, u64); 5] = [
    (".safetensors", 1 << 20),
    (".bin", 16 << 20),
    (".pt", 16 << 20),
    (".pth", 16 << 20),
    (".npz", 16 << 20),
];

/// A repository that a user named, and how its weights are chosen.
#[derive(Debug, PartialEq)]
pub struct Named {
    /// Repository and revision.
    pub reference: Reference,
    /// Which weights are wanted.
    pub wanted: Wanted,
    /// The registry's entry, if a tag was named.
    pub tag: Option<&'static Pretrained>,
}

impl Named {
    /// Reads `NAME:TAG` of the registry, or the name of a repository.
    pub fn parse(text: &str) -> Result<Named, Failure> {
        let mut source = SourceName::from(std::ffi::OsString::from(text));
        source.read_tag()?;
        Named::of(&source)
    }

    /// The repository of a source on the Hub.
    fn of(source: &SourceName) -> Result<Named, Failure> {
        let refuse = |error| failure(&error);
        let Some(tag) = source.tag() else {
            let reference = Reference::parse(&source.said()).map_err(refuse)?;
            let wanted = reference.path.clone().map_or(Wanted::Usual, Wanted::File);
            return Ok(Named { reference, wanted, tag: None });
        };
        let Some(place) = &tag.hub else {
            let message = format!("the tag `{}` of `{}` has no repository on the Hub", tag.tag, tag.model);
            return Err(Failure::could_not_run("unsupported", message));
        };
        let reference = Reference::parse(&format!("hf://{place}")).map_err(refuse)?;
        let wanted = Wanted::OpenClip(reference.path.clone());
        Ok(Named { reference, wanted, tag: Some(tag) })
    }
}

/// A client that obeys the environment and the options.
pub fn client(ui: &Ui) -> Result<Hub, Failure> {
    let settings = Settings::read(|name| std::env::var_os(name)).map_err(|error| failure(&error))?;
    let settings = Settings { offline: settings.offline || ui.offline(), ..settings };
    let watcher = Bars {
        bar: Mutex::new(ProgressBar::hidden()),
        cancel: ui.cancel_flag(),
        make: Box::new(bars(ui)),
        say: ui.speaker(),
        trouble: ui.trouble(),
    };
    Hub::new(settings, Arc::new(watcher)).map_err(|error| failure(&error))
}

/// Makes a bar for a file, or none where nobody sees it.
fn bars(ui: &Ui) -> impl Fn(&str, u64) -> ProgressBar + Send + Sync + use<> {
    let model = ui.progress(0, "", true);
    let (style, is_hidden) = (model.style(), model.is_hidden());
    move |file, size| match is_hidden {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(size).with_style(style.clone()).with_prefix(clipway_formats::shown(file)),
    }
}

/// Brings the model's files of a source into the cache, and says where they are.
pub fn bring(source: &mut SourceName, reads: Reads, ui: &Ui) -> Result<(), Failure> {
    let refuse = |error| failure(&error);
    let hub = Arc::new(client(ui)?);
    let named = Named::of(source)?;
    let repo = &named.reference.repo;
    let tree = hub.tree(repo, named.reference.revision()).map_err(refuse)?;
    let choice = chosen(&named, &tree).map_err(refuse)?;
    let distant = match reads {
        Reads::Headers => distant(&hub, repo, &tree, &choice),
        Reads::Weights => Vec::new(),
    };
    let here = choice.files.iter().map(String::as_str).filter(|file| !distant.contains(file));
    let pulled = hub.pull(repo, &tree, &here.collect::<Vec<_>>()).map_err(refuse)?;
    ui.note(&format!("`{repo}` at commit {}", pulled.commit));
    let (folder, name) = match &choice.weights {
        Some(weights) => {
            weights.rsplit_once('/').map_or(("", Some(&**weights)), |(up, name)| (up, Some(name)))
        }
        None => ("", None),
    };
    let folder = pulled.folder.join(folder);
    let mut elsewhere = Elsewhere::default();
    for file in distant {
        let read = Distant::open(&hub, repo, &tree, file).map_err(refuse)?;
        elsewhere.add(file.rsplit('/').next().unwrap_or(file), Arc::new(read));
    }
    source.found_at(name.map_or_else(|| folder.clone(), |name| folder.join(name)), elsewhere);
    Ok(())
}

/// The weight files that are worth reading in parts: large ones that the cache does not have.
fn distant<'a>(hub: &Hub, repo: &RepoName, tree: &Tree, choice: &'a Choice) -> Vec<&'a str> {
    let is_graph = |file: &String| file.ends_with(".onnx");
    if hub.is_offline() || choice.files.iter().any(is_graph) {
        return Vec::new();
    }
    let is_distant = |file: &&str| {
        let entry = &tree.files[*file];
        let is_beside = choice.weights.is_some() || !file.contains('/');
        let is_large = IN_PARTS.iter().any(|(end, size)| file.ends_with(end) && entry.size >= *size);
        is_large && is_beside && !hub.has(repo, entry)
    };
    choice.files.iter().map(String::as_str).filter(is_distant).collect()
}

/// Pulls the files that make a model.
pub fn fetched(hub: &Hub, named: &Named, tree: &Tree) -> Result<Pulled, Failure> {
    let choice = chosen(named, tree).map_err(|error| failure(&error))?;
    let files: Vec<&str> = choice.files.iter().map(String::as_str).collect();
    hub.pull(&named.reference.repo, tree, &files).map_err(|error| failure(&error))
}

/// The files that make a model.
fn chosen(named: &Named, tree: &Tree) -> Result<Choice, HubError> {
    let absent = || HubError::NoFile {
        repo: named.reference.repo.to_string(),
        file: named.wanted.file().to_owned(),
        revision: tree.commit.clone(),
    };
    Choice::of(tree, &named.wanted).ok_or_else(absent)
}

/// Makes the bar of a file with a size.
type MakeBar = dyn Fn(&str, u64) -> ProgressBar + Send + Sync;

/// Bars on the terminal.
struct Bars {
    bar: Mutex<ProgressBar>,
    cancel: Arc<AtomicBool>,
    make: Box<MakeBar>,
    say: Box<dyn Fn(&str) + Send + Sync>,
    trouble: Trouble,
}

impl Bars {
    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Bars {
    fn begin(&self, file: &str, size: u64, done: u64) {
        let mut bar = self.bar();
        bar.finish_and_clear();
        *bar = (self.make)(file, size);
        bar.set_position(done);
    }

    fn advance(&self, bytes: u64) {
        self.bar().inc(bytes);
    }

    fn end(&self) {
        self.bar().finish_and_clear();
    }

    fn wait(&self, reason: &str, time: Duration) {
        (self.say)(&format!("{reason}; trying again in {} s", time.as_secs()));
    }

    fn warn(&self, text: &str) {
        (self.say)(&format!("the Hub says: {text}"));
    }

    fn fail(&self, error: HubError) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure(&error));
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use clipway_model::registry;

    use super::*;

    #[test]
    fn every_tag_of_the_registry_has_a_repository() {
        let mut count = 0;
        for model in registry::names() {
            for entry in registry::pretrained(model) {
                let named = Named::parse(&format!("{model}:{}", entry.tag)).unwrap();
                assert!(named.reference.revision.is_none(), "{named:?}");
                assert_eq!(named.tag, Some(entry));
                let Wanted::OpenClip(file) = named.wanted else { panic!("{named:?}") };
                let place = entry.hub.as_deref().unwrap();
                assert_eq!(
                    place,
                    format!("{}/{}", named.reference.repo, file.as_deref().unwrap_or_default())
                );
                count += 1;
            }
        }
        assert_eq!(count, 196);
        for bad in ["ViT-B-32:none", "Nothing:openai", "a/b/c"] {
            assert!(Named::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Named::parse("hf://a/b/c.bin").unwrap().wanted, Wanted::File("c.bin".to_owned()));
        assert_eq!(Named::parse("a/b@v1").unwrap().wanted, Wanted::Usual);
    }
}
