//! Repositories, whole or in part, from the Hub into the cache.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::{Cache, files};
use crate::entry::{Entry, Tree};
use crate::hash::Hasher;
use crate::http::Http;
use crate::name::check_path;
use crate::transfer::{Place, Plain, bring};
use crate::tree;
use crate::{HubError, RepoName, Settings, Watcher};

/// The Hub, and the cache of it.
pub struct Hub {
    pub(crate) http: Http,
    cache: Cache,
}

/// A file that is in the cache now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledFile {
    /// Its path in the repository.
    pub path: String,
    /// Size, hash.
    pub entry: Entry,
    /// Whether bytes were transferred for it.
    pub was_fetched: bool,
}

/// Files of a commit that are in the cache now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The commit.
    pub commit: String,
    /// The folder with the files.
    pub folder: PathBuf,
    /// The files.
    pub files: Vec<PulledFile>,
}

impl Hub {
    /// A client with these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn new(settings: Settings, watcher: Arc<dyn Watcher>) -> Result<Hub, HubError> {
        let cache = Cache::new(&settings.cache);
        Ok(Hub { http: Http::new(settings, watcher)?, cache })
    }

    /// Whether requests carry a token.
    pub fn has_token(&self) -> bool {
        self.http.settings().token.is_some()
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The files of a revision. Offline, the cache answers.
    ///
    /// # Errors
    /// A revision that does not exist, cannot be listed, or is not in the cache when the network is off.
    pub fn tree(&self, repo: &RepoName, revision: &str) -> Result<Tree, HubError> {
        let cached = self.cache.commit(repo, revision)?;
        let is_fixed = crate::name::is_commit(revision);
        if self.http.settings().offline || is_fixed {
            let tree = cached.as_ref().map(|commit| self.cache.tree(repo, commit)).transpose()?.flatten();
            match tree {
                Some(tree) => return Ok(tree),
                None if self.http.settings().offline => return self.tree_of_files(repo, revision, cached),
                None => {}
            }
        }
        let commit = tree::commit_of(&self.http, repo, revision)?;
        let tree = match self.cache.tree(repo, &commit)? {
            Some(tree) => tree,
            None => tree::list(&self.http, repo, &commit)?,
        };
        self.cache.keep_tree(repo, &tree)?;
        self.cache.set_commit(repo, revision, &commit)?;
        Ok(tree)
    }

    /// What the cache has of a commit whose listing was not kept: its files, whose blobs' names are their hashes.
    fn tree_of_files(
        &self,
        repo: &RepoName,
        revision: &str,
        commit: Option<String>,
    ) -> Result<Tree, HubError> {
        let absent = || HubError::Offline { repo: repo.to_string(), revision: revision.to_owned() };
        let commit = commit.ok_or_else(absent)?;
        let folder = self.cache.snapshot(repo, &commit);
        let mut tree = Tree { commit, files: Default::default() };
        for path in files::below(&folder)? {
            check_path(&path)?;
            if let Some(entry) = files::named_blob(&folder.join(&path)) {
                tree.files.insert(path, entry);
            }
        }
        if tree.files.is_empty() { Err(absent()) } else { Ok(tree) }
    }

    /// Brings files of a commit into the cache and checks each against its hash. Offline, all must be there.
    ///
    /// # Errors
    /// A file that the commit does not have, or that cannot be fetched and verified.
    pub fn pull(&self, repo: &RepoName, tree: &Tree, wanted: &[&str]) -> Result<Pulled, HubError> {
        let mut chosen = Vec::new();
        for path in wanted {
            match tree.files.get(*path) {
                Some(entry) => chosen.push((*path, entry)),
                None => {
                    if check_path(path).is_ok() && !self.http.settings().offline {
                        self.cache.keep_absent(repo, &tree.commit, path)?;
                    }
                    let (file, revision) = (clipway_formats::shown(path), tree.commit.clone());
                    return Err(HubError::NoFile { repo: repo.to_string(), file, revision });
                }
            }
        }
        if self.http.settings().offline {
            let mut missing = Vec::new();
            for (path, entry) in &chosen {
                if !self.cache.is_good(repo, &entry.content, entry.size)? {
                    missing.push(format!("`{}`", clipway_formats::shown(path)));
                }
            }
            if !missing.is_empty() {
                return Err(HubError::Partial { repo: repo.to_string(), missing });
            }
        }
        let mut pulled = Vec::new();
        for (path, entry) in chosen {
            let place = Place { repo, commit: &tree.commit, file: path, entry };
            let was_fetched = bring(&self.http, &self.cache, place)?;
            self.cache.place(repo, &tree.commit, path, entry.content.hash())?;
            pulled.push(PulledFile { path: path.to_owned(), entry: entry.clone(), was_fetched });
        }
        let folder = self.cache.snapshot(repo, &tree.commit);
        // It is there even if nothing was wanted, for whoever looks for files beside distant ones.
        files::create_folder(&folder)?;
        Ok(Pulled { commit: tree.commit.clone(), folder, files: pulled })
    }

    /// Copies pulled files to a folder as plain files.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn copy_out(&self, pulled: &Pulled, folder: &std::path::Path) -> Result<(), HubError> {
        for file in &pulled.files {
            self.http.check_cancelled()?;
            files::copy(&pulled.folder.join(&file.path), &folder.join(&file.path))?;
        }
        Ok(())
    }

    /// A small file, checked by its hash and not kept; `None` if the commit has none of this name.
    ///
    /// # Errors
    /// A file over `limit` bytes, that cannot be fetched, or whose bytes do not match its hash.
    pub fn small(
        &self,
        repo: &RepoName,
        tree: &Tree,
        file: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, HubError> {
        let Some(entry) = tree.files.get(file) else { return Ok(None) };
        if entry.size > limit {
            return Err(HubError::TooLarge { what: format!("`{}`", clipway_formats::shown(file)), limit });
        }
        let place = Place { repo, commit: &tree.commit, file, entry };
        let bytes = match entry.size {
            0 => Vec::new(),
            size => Plain { http: &self.http, place, signed: None }.part(&(0..size))?,
        };
        let mut hash = Hasher::of(&entry.content, entry.size);
        hash.update(&bytes);
        let (expected, found) = (entry.content.hash().to_owned(), hash.finish());
        match expected == found {
            true => Ok(Some(bytes)),
            false => Err(HubError::Mismatch { file: clipway_formats::shown(file), expected, found }),
        }
    }

    /// Whether the cache has a file of this size for an entry, whose hash was not checked now.
    pub fn has(&self, repo: &RepoName, entry: &Entry) -> bool {
        files::size(&self.cache.blob(repo, entry.content.hash())) == Some(entry.size)
    }

    /// Whether only the cache is used.
    pub fn is_offline(&self) -> bool {
        self.http.settings().offline
    }
}
