//! The cache, in the reference client's layout.
//!
//! `models--owner--name/{blobs/HASH, snapshots/COMMIT/PATH, refs/REVISION, .no_exist/COMMIT/PATH, trees/COMMIT.json}`,
//! and `.locks/models--owner--name/HASH.lock`. A blob may be a link into a store that several repositories share; such a
//! link is followed, and replaced where its content is wrong, but never written through.

pub(crate) mod files;
mod trees;

use std::path::{Path, PathBuf};

use crate::entry::{Content, Tree};
use crate::hash::Hasher;
use crate::name::{check_revision, is_commit, is_hex};
use crate::{HubError, RepoName};

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A repository in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRepository {
    /// The repository.
    pub repo: RepoName,
    /// Its revisions: name and commit.
    pub revisions: Vec<(String, String)>,
    /// Number of complete blobs.
    pub blobs: usize,
    /// Bytes of the blobs.
    pub bytes: u64,
    /// Bytes of partial files.
    pub partial: u64,
}

impl Cache {
    /// A cache in this folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    pub(crate) fn folder(&self, repo: &RepoName) -> PathBuf {
        self.root.join(folder_name(repo))
    }

    pub(crate) fn blob(&self, repo: &RepoName, hash: &str) -> PathBuf {
        self.folder(repo).join("blobs").join(hash)
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, repo: &RepoName, commit: &str) -> PathBuf {
        self.folder(repo).join("snapshots").join(commit)
    }

    pub(crate) fn lock(&self, repo: &RepoName, hash: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(repo)).join(format!("{hash}.lock"))
    }

    /// The commit that a revision named when it was last seen.
    ///
    /// # Errors
    /// A cache that cannot be read.
    pub fn commit(&self, repo: &RepoName, revision: &str) -> Result<Option<String>, HubError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        check_revision(revision)?;
        let bytes = files::read_small(&self.folder(repo).join("refs").join(revision), 256)?;
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Ok(text.filter(|text| is_commit(text)))
    }

    pub(crate) fn set_commit(&self, repo: &RepoName, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) || self.commit(repo, revision)?.as_deref() == Some(commit) {
            return Ok(());
        }
        files::write_small(&self.folder(repo).join("refs").join(revision), commit.as_bytes())
    }

    /// The listing of a commit, if it was kept.
    ///
    /// # Errors
    /// A cache that cannot be read. A listing that is damaged counts as absent.
    pub fn tree(&self, repo: &RepoName, commit: &str) -> Result<Option<Tree>, HubError> {
        let path = self.folder(repo).join("trees").join(format!("{commit}.json"));
        let bytes = files::read_small(&path, 64 << 20)?;
        Ok(bytes.and_then(|bytes| trees::read(&bytes, commit)))
    }

    pub(crate) fn keep_tree(&self, repo: &RepoName, tree: &Tree) -> Result<(), HubError> {
        let path = self.folder(repo).join("trees").join(format!("{}.json", tree.commit));
        if self.tree(repo, &tree.commit)?.as_ref() == Some(tree) {
            return Ok(());
        }
        self.tag()?;
        files::write_small(&path, trees::write(tree).as_bytes())
    }

    /// Marks the folder as a cache, for backup programs.
    fn tag(&self) -> Result<(), HubError> {
        let path = self.root.join("CACHEDIR.TAG");
        if files::size(&path).is_some() {
            return Ok(());
        }
        files::write_small(
            &path,
            b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache of the Hugging Face Hub.\n",
        )
    }

    pub(crate) fn keep_absent(&self, repo: &RepoName, commit: &str, file: &str) -> Result<(), HubError> {
        files::touch(&self.folder(repo).join(".no_exist").join(commit).join(file))
    }

    /// Puts a blob's name into a commit's folder.
    pub(crate) fn place(
        &self,
        repo: &RepoName,
        commit: &str,
        file: &str,
        hash: &str,
    ) -> Result<PathBuf, HubError> {
        let path = self.snapshot(repo, commit).join(file);
        let up = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{hash}"));
        files::link(&path, &target, &self.blob(repo, hash))?;
        Ok(path)
    }

    /// Whether a blob is complete and has the content that its name promises. Its hash is read once; a mark beside the
    /// blobs remembers the size and time of what was hashed.
    pub(crate) fn is_good(&self, repo: &RepoName, content: &Content, size: u64) -> Result<bool, HubError> {
        let path = self.blob(repo, content.hash());
        if files::size(&path) != Some(size) {
            return Ok(false);
        }
        let mark = self.folder(repo).join(".clipway").join(content.hash());
        let stamp = files::stamp(&path);
        let known = files::read_small(&mark, 256)?;
        if stamp.is_some() && stamp.as_ref().map(String::as_bytes) == known.as_deref() {
            return Ok(true);
        }
        if hash_of(&path, content, size)? != content.hash() {
            return Ok(false);
        }
        self.mark(repo, content)?;
        Ok(true)
    }

    /// Remembers that a blob was just hashed.
    pub(crate) fn mark(&self, repo: &RepoName, content: &Content) -> Result<(), HubError> {
        match files::stamp(&self.blob(repo, content.hash())) {
            Some(stamp) => {
                files::write_small(&self.folder(repo).join(".clipway").join(content.hash()), stamp.as_bytes())
            }
            None => Ok(()),
        }
    }

    /// The repositories of models in the cache.
    ///
    /// # Errors
    /// A cache that cannot be read.
    pub fn repositories(&self) -> Result<Vec<CachedRepository>, HubError> {
        let mut found = Vec::new();
        for name in files::names(&self.root)? {
            let Some(repo) = name.strip_prefix("models--").map(|name| name.replacen("--", "/", 1)) else {
                continue;
            };
            let Ok(repo) = RepoName::parse(&repo) else { continue };
            let folder = self.folder(&repo);
            let mut revisions = Vec::new();
            for revision in files::below(&folder.join("refs"))? {
                if let Ok(Some(commit)) = self.commit(&repo, &revision) {
                    revisions.push((revision, commit));
                }
            }
            let mut one = CachedRepository { repo, revisions, blobs: 0, bytes: 0, partial: 0 };
            for blob in files::names(&folder.join("blobs"))? {
                let size = files::size(&folder.join("blobs").join(&blob)).unwrap_or(0);
                if blob.ends_with(".incomplete") {
                    one.partial += size;
                } else if files::size(&folder.join("blobs").join(&blob)).is_some() {
                    one.blobs += 1;
                    one.bytes += size;
                }
            }
            found.push(one);
        }
        Ok(found)
    }

    /// Hashes every blob of a repository; returns the names of those whose content is not what their name says. Names
    /// that are no hash are not judged.
    ///
    /// # Errors
    /// A cache that cannot be read.
    pub fn damaged(&self, repo: &RepoName) -> Result<Vec<String>, HubError> {
        let mut damaged = Vec::new();
        for name in files::names(&self.folder(repo).join("blobs"))? {
            let content = match &name {
                name if is_hex(name, 64) => Content::Lfs(name.clone()),
                name if is_hex(name, 40) => Content::Git(name.clone()),
                _ => continue,
            };
            let path = self.blob(repo, &name);
            let is_good = match files::size(&path) {
                Some(size) => hash_of(&path, &content, size)? == name,
                None => false,
            };
            if !is_good {
                damaged.push(name);
            }
        }
        Ok(damaged)
    }

    /// Removes partial files that no living process holds, and blobs with wrong content if `damaged` names them.
    /// Returns the bytes that became free. A link is removed, never what it leads to.
    ///
    /// # Errors
    /// A cache that cannot be changed.
    pub fn clean(&self, repo: &RepoName, damaged: &[String]) -> Result<u64, HubError> {
        let folder = self.folder(repo).join("blobs");
        let mut freed = 0;
        for name in files::names(&folder)? {
            let path = folder.join(&name);
            let size = files::size(&path).unwrap_or(0);
            let is_free = name.ends_with(files::INCOMPLETE) && files::is_unused(&path);
            if is_free || damaged.contains(&name) {
                files::remove(&path)?;
                freed += size;
            }
        }
        Ok(freed)
    }
}

/// Name of a repository's folder.
fn folder_name(repo: &RepoName) -> String {
    format!("models--{}", repo.as_str().replace('/', "--"))
}

/// Reads a file and hashes it.
fn hash_of(path: &Path, content: &Content, size: u64) -> Result<String, HubError> {
    let mut file = files::open(path)?;
    let mut hasher = Hasher::of(content, size);
    files::each_piece(&mut file, path, |bytes| hasher.update(bytes))?;
    Ok(hasher.finish())
}
