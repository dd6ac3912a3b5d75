//! The commit of a push, which is made once even where its answer is lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::http::{About, Ask, quoted};
use crate::push::{ANSWER, PushFile, PushOptions, PushState, about};
use crate::told::Told;
use crate::tree;
use crate::{Hub, HubError, RepoName};

impl Hub {
    /// Makes the commit; returns its id and the address of a pull request.
    pub(crate) fn commit(
        &self,
        repo: &RepoName,
        parent: &str,
        changed: &[&(PushFile, PushState)],
        options: &PushOptions,
    ) -> Result<(String, Option<String>), HubError> {
        let revision = options.branch();
        let body = body(parent, changed, options)?;
        let place = format!("{}{}", quoted(revision, false), options.query());
        let url = format!("{}/api/models/{repo}/commit/{place}", self.http.endpoint());
        let ask = Ask::post(url, "application/x-ndjson", body.as_bytes());
        // A second pull request cannot be told from the first.
        let ask = Ask { is_once: options.pull_request, ..ask };
        let answer = self.http.ask(&ask, &About { handles: &[412], revision, ..about(repo) });
        let is_unclear = match &answer {
            Ok(answer) => answer.status() == 412,
            Err(error) => matches!(
                error,
                HubError::Unreachable { .. } | HubError::Timeout { .. } | HubError::Unavailable { .. }
            ),
        };
        let moved = |found| HubError::Moved { repo: repo.to_string(), expected: parent.to_owned(), found };
        if is_unclear && !options.pull_request {
            let head = tree::commit_of(&self.http, repo, revision)?;
            let tree = tree::list(&self.http, repo, &head)?;
            let has_all = changed.iter().all(|(file, state)| {
                tree.files.get(&file.path).is_some_and(|entry| entry.content.hash() == file.hash(*state))
            });
            return match (head == parent, has_all, answer) {
                (false, true, _) => Ok((head, None)),
                (true, _, Err(error)) => Err(error),
                _ => Err(moved(head)),
            };
        }
        let answer = answer?;
        if answer.status() == 412 {
            return Err(moved("another".to_owned()));
        }
        let told = Told::parse(&answer.bytes(&self.http, ANSWER)?, &self.http.host())?;
        let commit = told.get("commitOid").text().filter(|oid| crate::name::is_commit(oid));
        let commit = commit.ok_or_else(|| self.unclear("no commit in its answer"))?.to_owned();
        Ok((commit, told.get("pullRequestUrl").text().map(|text| self.http.safe(text))))
    }
}

/// The commit, line by line.
fn body(parent: &str, changed: &[&(PushFile, PushState)], options: &PushOptions) -> Result<String, HubError> {
    let header = json!({ "summary": options.summary, "description": "", "parentCommit": parent });
    let mut body = json!({ "key": "header", "value": header }).to_string();
    for (file, state) in changed {
        let line = match state {
            PushState::Large => json!({ "key": "lfsFile", "value": {
                "path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size,
            } }),
            _ => json!({ "key": "file", "value": {
                "content": STANDARD.encode(file.inline()?), "path": file.path, "encoding": "base64",
            } }),
        };
        body.push('\n');
        body.push_str(&line.to_string());
    }
    Ok(body)
}
