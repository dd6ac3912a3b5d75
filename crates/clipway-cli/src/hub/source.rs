//! From the name of a source on the Hub to its files in the cache.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clipway_hub::{Choice, Hub, HubError, Pulled, Reference, RepoName, Settings, Tree, Watcher};
use clipway_model::registry;
use indicatif::ProgressBar;

use super::failure;
use crate::failure::Failure;
use crate::ui::Ui;

/// A repository that a user named, and the weights in it if they have an unusual name.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Repository and revision.
    pub reference: Reference,
    /// Whether only the files of the model are wanted.
    pub is_tag: bool,
}

impl Named {
    /// Reads `NAME:TAG` of the registry, or the name of a repository.
    pub fn parse(text: &str) -> Result<Named, Failure> {
        if let Some((model, tag)) =
            text.split_once(':').filter(|(model, _)| *model != "hf-hub" && *model != "hf")
        {
            registry::model(model).map_err(|error| Failure::could_not_run("unknown-model", error))?;
            let entry =
                registry::tag(model, tag).map_err(|error| Failure::could_not_run("bad-option", error))?;
            let place = entry.hub.as_deref().unwrap_or_default();
            let reference = Reference::parse(&format!("hf://{place}")).map_err(|error| failure(&error))?;
            return Ok(Named { reference, is_tag: true });
        }
        let reference = Reference::parse(text).map_err(|error| failure(&error))?;
        Ok(Named { reference, is_tag: false })
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

/// The model files of a source in the cache: the path that other commands read.
pub fn bring(text: &str, ui: &Ui) -> Result<PathBuf, Failure> {
    let hub = client(ui)?;
    let reference = Reference::parse(text).map_err(|error| failure(&error))?;
    let tree = hub.tree(&reference.repo, reference.revision()).map_err(|error| failure(&error))?;
    let (choice, pulled) = fetched(&hub, &reference, &tree).map_err(|error| failure(&error))?;
    ui.note(&format!("`{}` at commit {}", reference.repo, pulled.commit));
    Ok(match choice.weights {
        Some(weights) => pulled.folder.join(weights),
        None => pulled.folder,
    })
}

/// Pulls the files that make a model.
pub fn fetched(hub: &Hub, reference: &Reference, tree: &Tree) -> Result<(Choice, Pulled), HubError> {
    let repo: &RepoName = &reference.repo;
    let choice = Choice::of(tree, reference.path.as_deref()).ok_or_else(|| HubError::NoFile {
        repo: repo.to_string(),
        file: reference.path.clone().unwrap_or_else(|| "model.safetensors".to_owned()),
        revision: tree.commit.clone(),
    })?;
    let files: Vec<&str> = choice.files.iter().map(String::as_str).collect();
    let pulled = hub.pull(repo, tree, &files)?;
    Ok((choice, pulled))
}

/// Makes the bar of a file with a size.
type MakeBar = dyn Fn(&str, u64) -> ProgressBar + Send + Sync;

/// Bars on the terminal.
struct Bars {
    bar: Mutex<ProgressBar>,
    cancel: Arc<AtomicBool>,
    make: Box<MakeBar>,
    say: Box<dyn Fn(&str) + Send + Sync>,
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

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_of_the_registry_has_a_repository() {
        let mut count = 0;
        for model in registry::names() {
            for entry in registry::pretrained(model) {
                let named = Named::parse(&format!("{model}:{}", entry.tag)).unwrap();
                assert!(named.is_tag && named.reference.revision.is_none(), "{named:?}");
                let place = entry.hub.as_deref().unwrap();
                assert_eq!(
                    place,
                    format!(
                        "{}/{}",
                        named.reference.repo,
                        named.reference.path.as_deref().unwrap_or_default()
                    )
                );
                count += 1;
            }
        }
        assert_eq!(count, 196);
        for bad in ["ViT-B-32:none", "Nothing:openai", "a/b/c"] {
            assert!(Named::parse(bad).is_err(), "{bad}");
        }
    }
}
