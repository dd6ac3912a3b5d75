//! Folders, from the disk to the Hub: only what changed, in one commit that names its parent.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clipway_formats::shown;
use serde_json::json;

use crate::cache::files;
use crate::entry::Content;
use crate::hash::Hasher;
use crate::http::{About, Ask, quoted};
use crate::name::check_path;
use crate::tree;
use crate::{Hub, HubError, RepoName};

/// Most files in one question about how they are to be sent.
const QUESTION: usize = 256;
/// Most bytes of an answer.
const ANSWER: u64 = 8 << 20;

/// A file to push, with both hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFile {
    /// Path in the repository.
    pub path: String,
    /// The file.
    pub local: PathBuf,
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
    /// Whether to keep a README that the repository has.
    pub keep_readme: bool,
    /// Whether to ask only, and change nothing.
    pub dry_run: bool,
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
    /// The repository's own text stays.
    Kept,
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
        let mut hashes = (Hasher::of(&Content::Lfs(String::new()), size), Hasher::git(size));
        let read = files::each_piece(&mut file, local, |bytes| {
            hashes.0.update(bytes);
            hashes.1.update(bytes);
        })?;
        if read != size {
            return Err(HubError::Changed { file: shown(path) });
        }
        let (path, local) = (path.to_owned(), local.to_owned());
        Ok(PushFile { path, local, size, sha256: hashes.0.finish(), git: hashes.1.finish() })
    }

    /// All files below a folder.
    ///
    /// # Errors
    /// The errors of [`PushFile::read`].
    pub fn folder(folder: &Path) -> Result<Vec<PushFile>, HubError> {
        files::below(folder)?.iter().map(|path| PushFile::read(path, &folder.join(path))).collect()
    }

    fn hash(&self, state: PushState) -> &str {
        if state == PushState::Large { &self.sha256 } else { &self.git }
    }
}

impl Hub {
    /// Pushes files in one commit. Files that the repository has are not sent, and if it has all there is no commit. The
    /// commit names its parent: if its answer is lost, the branch's head decides whether it was made.
    ///
    /// # Errors
    /// A repository that cannot be written or changed meanwhile, a card that the Hub refuses, a file that changed.
    pub fn push(
        &self,
        repo: &RepoName,
        local: &[PushFile],
        options: &PushOptions,
    ) -> Result<PushPlan, HubError> {
        let revision = options.revision.as_deref().unwrap_or("main");
        crate::name::check_revision(revision)?;
        self.validate(local)?;
        let parent = match tree::commit_of(&self.http, repo, revision) {
            Err(HubError::NoRepository { .. }) if options.dry_run => {
                let state = |file: &PushFile| (file.clone(), PushState::Inline);
                let files = local.iter().map(state).collect();
                return Ok(PushPlan { parent: None, commit: None, pull_request: None, files });
            }
            Err(HubError::NoRepository { .. }) => {
                self.create(repo, options.private)?;
                tree::commit_of(&self.http, repo, revision)?
            }
            found => found?,
        };
        let head = tree::list(&self.http, repo, &parent)?;
        let mut states = Vec::new();
        for group in local.chunks(QUESTION) {
            states.extend(self.states(repo, revision, group, options)?);
        }
        for (file, state) in local.iter().zip(&mut states) {
            let there = head.files.get(&file.path);
            if there
                .is_some_and(|there| [&file.sha256, &file.git].contains(&&there.content.hash().to_owned()))
            {
                *state = PushState::Unchanged;
            } else if file.path == "README.md" && options.keep_readme && there.is_some() {
                *state = PushState::Kept;
            }
        }
        let files: Vec<(PushFile, PushState)> = local.iter().cloned().zip(states).collect();
        let mut plan = PushPlan { parent: Some(parent.clone()), commit: None, pull_request: None, files };
        let changed: Vec<&(PushFile, PushState)> = plan
            .files
            .iter()
            .filter(|(_, state)| matches!(state, PushState::Inline | PushState::Large))
            .collect();
        if options.dry_run || changed.is_empty() {
            return Ok(plan);
        }
        for (file, _) in changed.iter().filter(|(_, state)| *state == PushState::Large) {
            self.send(repo, file)?;
        }
        let made = self.commit(repo, revision, &parent, &changed, options)?;
        (plan.commit, plan.pull_request) = (Some(made.0), made.1);
        Ok(plan)
    }

    /// Asks the Hub whether a README's front matter is valid.
    fn validate(&self, local: &[PushFile]) -> Result<(), HubError> {
        let Some(card) = local.iter().find(|file| file.path == "README.md") else { return Ok(()) };
        let bytes = files::read_small(&card.local, ANSWER)?.unwrap_or_default();
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

    /// How the Hub wants files to be sent.
    fn states(
        &self,
        repo: &RepoName,
        revision: &str,
        group: &[PushFile],
        options: &PushOptions,
    ) -> Result<Vec<PushState>, HubError> {
        let mut asked = Vec::new();
        for file in group {
            let mut sample = Vec::new();
            let start = files::slice(&file.local, 0, 512)?.read_to_end(&mut sample);
            start.map_err(|cause| HubError::io(&file.local, cause))?;
            asked.push(json!({ "path": file.path, "sample": STANDARD.encode(sample), "size": file.size }));
        }
        let body = json!({ "files": asked }).to_string();
        let revision = quoted(revision, false);
        let pull = if options.pull_request { "?create_pr=1" } else { "" };
        let url = format!("{}/api/models/{repo}/preupload/{revision}{pull}", self.http.endpoint());
        let json = self.json(repo, &Ask::post(url, "application/json", body.as_bytes()))?;
        group
            .iter()
            .map(|file| {
                let entries = json["files"].as_array().into_iter().flatten();
                let entry = entries.clone().find(|entry| entry["path"] == file.path.as_str());
                let Some(entry) = entry else {
                    return Err(self.unclear("it does not answer for every file"));
                };
                let state = match entry["uploadMode"].as_str() {
                    _ if file.size == 0 => PushState::Inline,
                    Some("regular") => PushState::Inline,
                    Some("lfs") => PushState::Large,
                    _ => return Err(self.unclear("an unknown way to send a file")),
                };
                Ok(match entry["oid"].as_str() {
                    _ if entry["shouldIgnore"] == true => PushState::Ignored,
                    Some(oid) if oid == file.hash(state) => PushState::Unchanged,
                    _ => state,
                })
            })
            .collect()
    }

    /// Makes the commit; returns its id and the address of a pull request.
    fn commit(
        &self,
        repo: &RepoName,
        revision: &str,
        parent: &str,
        changed: &[&(PushFile, PushState)],
        options: &PushOptions,
    ) -> Result<(String, Option<String>), HubError> {
        let header = json!({ "summary": options.summary, "description": "", "parentCommit": parent });
        let mut body = json!({ "key": "header", "value": header }).to_string();
        for (file, state) in changed {
            let line = match state {
                PushState::Large => json!({ "key": "lfsFile", "value": {
                    "path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size,
                } }),
                _ => {
                    let bytes = files::read_small(&file.local, file.size)?.unwrap_or_default();
                    let mut hash = Hasher::git(file.size);
                    hash.update(&bytes);
                    if hash.finish() != file.git {
                        return Err(HubError::Changed { file: shown(&file.path) });
                    }
                    json!({ "key": "file", "value": {
                        "content": STANDARD.encode(bytes), "path": file.path, "encoding": "base64",
                    } })
                }
            };
            body.push('\n');
            body.push_str(&line.to_string());
        }
        let pull = if options.pull_request { "?create_pr=1" } else { "" };
        let url =
            format!("{}/api/models/{repo}/commit/{}{pull}", self.http.endpoint(), quoted(revision, false));
        let ask = Ask::post(url, "application/x-ndjson", body.as_bytes());
        // A second pull request cannot be told from the first.
        let ask = Ask { is_once: options.pull_request, ..ask };
        let answer = self.http.ask(&ask, &About { handles: &[412], revision, ..about(repo) });
        let is_unclear = match &answer {
            Ok(answer) => answer.status() == 412,
            Err(HubError::Unreachable { .. } | HubError::Timeout { .. } | HubError::Unavailable { .. }) => {
                true
            }
            Err(_) => false,
        };
        if is_unclear && !options.pull_request {
            let head = tree::commit_of(&self.http, repo, revision)?;
            let tree = tree::list(&self.http, repo, &head)?;
            let has_all = changed.iter().all(|(file, state)| {
                tree.files.get(&file.path).is_some_and(|entry| entry.content.hash() == file.hash(*state))
            });
            return match (head == parent, has_all, answer) {
                (false, true, _) => Ok((head, None)),
                (true, _, Err(error)) => Err(error),
                _ => {
                    Err(HubError::Moved { repo: repo.to_string(), expected: parent.to_owned(), found: head })
                }
            };
        }
        let answer = answer?;
        if answer.status() == 412 {
            let (expected, found) = (parent.to_owned(), "another".to_owned());
            return Err(HubError::Moved { repo: repo.to_string(), expected, found });
        }
        let json = self.read(answer.bytes(&self.http, ANSWER)?)?;
        let commit = json["commitOid"].as_str().filter(|oid| crate::name::is_commit(oid));
        let commit = commit.ok_or_else(|| self.unclear("no commit in its answer"))?.to_owned();
        Ok((commit, json["pullRequestUrl"].as_str().map(|text| self.http.safe(text))))
    }

    pub(crate) fn json(&self, repo: &RepoName, ask: &Ask<'_>) -> Result<serde_json::Value, HubError> {
        let answer = self.http.ask(ask, &about(repo))?;
        self.read(answer.bytes(&self.http, ANSWER)?)
    }

    /// Reads an answer, which the strict parser must accept first.
    fn read(&self, bytes: Vec<u8>) -> Result<serde_json::Value, HubError> {
        tree::parse(&bytes, self.http.endpoint())?;
        serde_json::from_slice(&bytes).map_err(|_| self.unclear("its answer cannot be read"))
    }

    pub(crate) fn unclear(&self, reason: &str) -> HubError {
        HubError::Answer { host: self.http.host(), reason: reason.to_owned() }
    }
}

pub(crate) fn about(repo: &RepoName) -> About<'_> {
    About { repo: repo.as_str(), ..About::default() }
}
