//! Folders, from the disk to the Hub: only what changed, in one commit that names its parent.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clipway_formats::shown;
use serde_json::json;

use crate::cache::files;
use crate::entry::{Content, Tree};
use crate::hash::Hasher;
use crate::http::{About, Ask, quoted};
use crate::name::check_path;
use crate::told::Told;
use crate::tree;
use crate::{Hub, HubError, RepoName};

/// Most files in one question about how they are to be sent.
const QUESTION: usize = 256;
/// Most bytes of an answer.
pub(crate) const ANSWER: u64 = 8 << 20;

/// Where the bytes of a file to push are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushContent {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// A file to push, with both hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFile {
    /// Path in the repository.
    pub path: String,
    /// Its bytes.
    pub content: PushContent,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: String,
    /// git's SHA-1 of the content.
    pub git: String,
}

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Branch; `main` by default.
    pub revision: Option<String>,
    /// Whether a repository that is created is private.
    pub private: bool,
    /// Whether to open a pull request instead of writing to the branch.
    pub pull_request: bool,
    /// First line of the commit's message.
    pub summary: String,
    /// Whether to ask only, and change nothing.
    pub dry_run: bool,
}

impl PushOptions {
    /// The branch.
    pub(crate) fn branch(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// What addresses end with where a pull request is wanted.
    pub(crate) fn query(&self) -> &'static str {
        if self.pull_request { "?create_pr=1" } else { "" }
    }
}

/// What a push does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushState {
    /// The repository has it.
    Unchanged,
    /// It stands in the commit itself.
    Inline,
    /// It goes to the store of large files.
    Large,
    /// The repository does not want it (`.gitignore`).
    Ignored,
}

/// What a push did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPlan {
    /// The commit that was the branch's head; `None` for a repository that does not exist yet.
    pub parent: Option<String>,
    /// The new commit; `None` if nothing changed or nothing was to be written.
    pub commit: Option<String>,
    /// Address of the pull request.
    pub pull_request: Option<String>,
    /// What happens to each file.
    pub files: Vec<(PushFile, PushState)>,
}

impl PushContent {
    /// A reader of `length` bytes from `start` on.
    pub(crate) fn slice(&self, start: u64, length: u64) -> Result<Box<dyn Read + '_>, HubError> {
        Ok(match self {
            PushContent::File(path) => Box::new(files::slice(path, start, length)?),
            PushContent::Bytes(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Box::new(&bytes[place(start)..place(start.saturating_add(length))])
            }
        })
    }

    /// The first bytes, `most` at most.
    fn read(&self, most: u64) -> Result<Vec<u8>, HubError> {
        let mut bytes = Vec::new();
        let read = self.slice(0, most)?.read_to_end(&mut bytes);
        read.map_err(|cause| match self {
            PushContent::File(path) => HubError::io(path, cause),
            PushContent::Bytes(_) => HubError::io("", cause),
        })?;
        Ok(bytes)
    }
}

impl PushFile {
    /// Hashes a file.
    ///
    /// # Errors
    /// A file that cannot be read, or a name that no repository may have.
    pub fn read(path: &str, local: &Path) -> Result<PushFile, HubError> {
        check_path(path)?;
        let failed = |cause| HubError::io(local, cause);
        let mut file = files::open(local)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut hashes = Hashes::of(size);
        let read = files::each_piece(&mut file, local, |bytes| hashes.update(bytes))?;
        if read != size {
            return Err(HubError::Changed { file: shown(path) });
        }
        Ok(hashes.file(path, PushContent::File(local.to_owned()), size))
    }

    /// Hashes bytes that are to be a file of the repository.
    ///
    /// # Errors
    /// A name that no repository may have.
    pub fn of(path: &str, bytes: impl Into<Arc<[u8]>>) -> Result<PushFile, HubError> {
        check_path(path)?;
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        let mut hashes = Hashes::of(size);
        hashes.update(&bytes);
        Ok(hashes.file(path, PushContent::Bytes(bytes), size))
    }

    /// All files below a folder.
    ///
    /// # Errors
    /// The errors of [`PushFile::read`].
    pub fn folder(folder: &Path) -> Result<Vec<PushFile>, HubError> {
        files::below(folder)?.iter().map(|path| PushFile::read(path, &folder.join(path))).collect()
    }

    pub(crate) fn hash(&self, state: PushState) -> &str {
        if state == PushState::Large { &self.sha256 } else { &self.git }
    }

    /// Whether a hash is one of its two.
    fn has_hash(&self, hash: &str) -> bool {
        self.sha256 == hash || self.git == hash
    }

    /// The bytes of a file that stands in the commit itself.
    pub(crate) fn inline(&self) -> Result<Vec<u8>, HubError> {
        let bytes = self.content.read(self.size)?;
        let mut hash = Hasher::git(self.size);
        hash.update(&bytes);
        match hash.finish() == self.git {
            true => Ok(bytes),
            false => Err(HubError::Changed { file: shown(&self.path) }),
        }
    }
}

/// Both hashes of a file.
struct Hashes {
    sha256: Hasher,
    git: Hasher,
}

impl Hashes {
    fn of(size: u64) -> Hashes {
        Hashes { sha256: Hasher::of(&Content::Lfs(String::new()), size), git: Hasher::git(size) }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.git.update(bytes);
    }

    fn file(self, path: &str, content: PushContent, size: u64) -> PushFile {
        PushFile {
            path: path.to_owned(),
            content,
            size,
            sha256: self.sha256.finish(),
            git: self.git.finish(),
        }
    }
}

impl Hub {
    /// The branch that a push would write, as it is; `None` for a repository that does not exist.
    ///
    /// # Errors
    /// A branch that does not exist, or a Hub that cannot be asked.
    pub fn head(&self, repo: &RepoName, options: &PushOptions) -> Result<Option<Tree>, HubError> {
        crate::name::check_revision(options.branch())?;
        match tree::commit_of(&self.http, repo, options.branch()) {
            Err(HubError::NoRepository { .. }) => Ok(None),
            found => tree::list(&self.http, repo, &found?).map(Some),
        }
    }

    /// Pushes files in one commit onto a branch as [`Hub::head`] found it. Files that the repository has are not sent, and
    /// if it has all there is no commit. The commit names its parent: if its answer is lost, the branch's head decides
    /// whether it was made.
    ///
    /// # Errors
    /// A repository that cannot be written or changed meanwhile, a card that the Hub refuses, a file that changed.
    pub fn push(
        &self,
        repo: &RepoName,
        head: Option<&Tree>,
        local: &[PushFile],
        options: &PushOptions,
    ) -> Result<PushPlan, HubError> {
        self.validate(local)?;
        let created;
        let head = match head {
            Some(head) => head,
            None if options.dry_run => {
                let files = local.iter().map(|file| (file.clone(), PushState::Inline)).collect();
                return Ok(PushPlan { parent: None, commit: None, pull_request: None, files });
            }
            None => {
                self.create(repo, options.private)?;
                created = self.created(repo, local, options)?;
                &created
            }
        };
        let mut states = Vec::new();
        for group in local.chunks(QUESTION) {
            states.extend(self.states(repo, group, options)?);
        }
        for (file, state) in local.iter().zip(&mut states) {
            let there = head.files.get(&file.path).map(|entry| entry.content.hash());
            if there.is_some_and(|hash| file.has_hash(hash)) {
                *state = PushState::Unchanged;
            }
        }
        let files: Vec<(PushFile, PushState)> = local.iter().cloned().zip(states).collect();
        let parent = Some(head.commit.clone());
        let mut plan = PushPlan { parent, commit: None, pull_request: None, files };
        let is_sent = |state: PushState| matches!(state, PushState::Inline | PushState::Large);
        let changed: Vec<&(PushFile, PushState)> =
            plan.files.iter().filter(|(_, state)| is_sent(*state)).collect();
        if options.dry_run || changed.is_empty() {
            return Ok(plan);
        }
        for (file, _) in changed.iter().filter(|(_, state)| *state == PushState::Large) {
            self.send(repo, file)?;
        }
        let made = self.commit(repo, &head.commit, &changed, options)?;
        (plan.commit, plan.pull_request) = (Some(made.0), made.1);
        Ok(plan)
    }

    /// Asks the Hub whether a README's front matter is valid.
    fn validate(&self, local: &[PushFile]) -> Result<(), HubError> {
        let Some(card) = local.iter().find(|file| file.path == "README.md") else { return Ok(()) };
        let bytes = card.content.read(ANSWER)?;
        let body = json!({ "content": String::from_utf8_lossy(&bytes), "repoType": "model" }).to_string();
        let url = format!("{}/api/validate-yaml", self.http.endpoint());
        let ask = Ask::post(url, "application/json", body.as_bytes());
        match self.http.ask(&ask, &About::default()) {
            Err(HubError::Refused { status: 400 | 422, said, .. }) => Err(HubError::Card { said }),
            answer => answer.map(drop),
        }
    }

    fn create(&self, repo: &RepoName, private: bool) -> Result<(), HubError> {
        let (owner, name) = repo.parts();
        let visibility = if private { "private" } else { "public" };
        let body = json!({ "name": name, "organization": owner, "visibility": visibility }).to_string();
        let url = format!("{}/api/repos/create", self.http.endpoint());
        let about = About { repo: repo.as_str(), handles: &[409], ..About::default() };
        self.http.ask(&Ask::post(url, "application/json", body.as_bytes()), &about).map(drop)
    }

    /// The first commit of a repository that was created. What is pushed was made for an empty one.
    fn created(&self, repo: &RepoName, local: &[PushFile], options: &PushOptions) -> Result<Tree, HubError> {
        let commit = tree::commit_of(&self.http, repo, options.branch())?;
        let tree = tree::list(&self.http, repo, &commit)?;
        let is_foreign = |file: &PushFile| {
            let there = tree.files.get(&file.path).map(|entry| entry.content.hash());
            there.is_some_and(|hash| !file.has_hash(hash))
        };
        match local.iter().any(|file| file.path == "README.md" && is_foreign(file)) {
            true => {
                Err(HubError::Moved { repo: repo.to_string(), expected: "none".to_owned(), found: commit })
            }
            false => Ok(tree),
        }
    }

    /// How the Hub wants files to be sent.
    fn states(
        &self,
        repo: &RepoName,
        group: &[PushFile],
        options: &PushOptions,
    ) -> Result<Vec<PushState>, HubError> {
        let mut asked = Vec::new();
        for file in group {
            let sample = STANDARD.encode(file.content.read(512)?);
            asked.push(json!({ "path": file.path, "sample": sample, "size": file.size }));
        }
        let body = json!({ "files": asked }).to_string();
        let (revision, query) = (quoted(options.branch(), false), options.query());
        let url = format!("{}/api/models/{repo}/preupload/{revision}{query}", self.http.endpoint());
        let told = self.told(repo, &Ask::post(url, "application/json", body.as_bytes()))?;
        let entries = told.get("files").items();
        let state_of = |file: &PushFile| {
            let entry = entries.iter().find(|entry| entry.get("path").text() == Some(&file.path));
            let Some(entry) = entry else {
                return Err(self.unclear("it does not answer for every file"));
            };
            let state = match entry.get("uploadMode").text() {
                _ if file.size == 0 => PushState::Inline,
                Some("regular") => PushState::Inline,
                Some("lfs") => PushState::Large,
                _ => return Err(self.unclear("an unknown way to send a file")),
            };
            Ok(match entry.get("oid").text() {
                _ if entry.get("shouldIgnore").is_true() => PushState::Ignored,
                Some(oid) if oid == file.hash(state) => PushState::Unchanged,
                _ => state,
            })
        };
        group.iter().map(state_of).collect()
    }

    /// Asks, and parses the answer.
    pub(crate) fn told(&self, repo: &RepoName, ask: &Ask<'_>) -> Result<Told, HubError> {
        let answer = self.http.ask(ask, &about(repo))?;
        Told::parse(&answer.bytes(&self.http, ANSWER)?, &self.http.host())
    }

    pub(crate) fn unclear(&self, reason: &str) -> HubError {
        HubError::Answer { host: self.http.host(), reason: reason.to_owned() }
    }
}

pub(crate) fn about(repo: &RepoName) -> About<'_> {
    About { repo: repo.as_str(), ..About::default() }
}
