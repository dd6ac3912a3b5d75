//! What the hub and its file server answer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::wire::Reply;
use super::{Commit, Request, State, TOKEN, git_hash, pointer_hash, sha256};

pub fn answer(state: &mut State, request: &Request) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = decoded(path);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if request.is_cdn {
        return files(state, request, &parts);
    }
    match (request.method.as_str(), &parts[..]) {
        ("POST", ["api", "repos", "create"]) => create(state, request),
        ("POST", ["api", "validate-yaml"]) => Reply::json(200, &json!({"errors": [], "warnings": []})),
        (_, ["api", "models", owner, name, rest @ ..]) => {
            let repo = format!("{owner}/{name}");
            match refused(state, request, &repo) {
                Some(reply) => reply,
                None => api(state, request, &repo, rest, query),
            }
        }
        ("POST", [owner, name, "info", "lfs", "objects", "batch"]) => {
            let repo = format!("{owner}/{}", name.trim_end_matches(".git"));
            refused(state, request, &repo).unwrap_or_else(|| batch(state, request))
        }
        ("POST", ["verify"]) => Reply::json(200, &json!({})),
        (_, [owner, name, "resolve", revision, file @ ..]) => {
            let repo = format!("{owner}/{name}");
            match refused(state, request, &repo) {
                Some(reply) => reply,
                None => resolve(state, request, &repo, revision, &file.join("/")),
            }
        }
        _ => Reply::new(404, "no such route"),
    }
}

/// The refusal of a repository that the request may not see.
fn refused(state: &State, request: &Request, repo: &str) -> Option<Reply> {
    let has_token = request.header("authorization").is_some_and(|text| text == format!("Bearer {TOKEN}"));
    if request.header("authorization").is_some() && !has_token {
        return Some(Reply::json(401, &json!({"error": "Invalid credentials in Authorization header"})));
    }
    let missing = |status| {
        Some(
            Reply::json(status, &json!({"error": "Repository not found"}))
                .with("X-Error-Code", "RepoNotFound"),
        )
    };
    let Some(repository) = state.repositories.get(repo) else {
        return missing(if has_token { 404 } else { 401 });
    };
    if repository.is_private && !has_token {
        return missing(401);
    }
    if repository.is_disabled {
        return Some(Reply::new(403, "").with("X-Error-Message", "Access to this resource is disabled."));
    }
    let is_file = request.target.contains("/resolve/");
    (repository.is_gated && is_file).then(|| Reply::new(403, "").with("X-Error-Code", "GatedRepo"))
}

fn commit_of<'a>(state: &'a State, repo: &str, revision: &str) -> Option<&'a Commit> {
    let commits = &state.repositories.get(repo)?.commits;
    match revision {
        "main" => commits.last(),
        revision => commits.iter().find(|commit| commit.id == revision),
    }
}

fn api(state: &mut State, request: &Request, repo: &str, rest: &[&str], query: &str) -> Reply {
    let no_revision =
        || Reply::json(404, &json!({"error": "Invalid rev id"})).with("X-Error-Code", "RevisionNotFound");
    match (request.method.as_str(), rest) {
        ("GET", [] | ["revision", ..]) => {
            let revision = if rest.is_empty() { "main".to_owned() } else { rest[1..].join("/") };
            let Some(commit) = commit_of(state, repo, &revision) else { return no_revision() };
            let siblings: Vec<Value> = commit.files.keys().map(|path| json!({"rfilename": path})).collect();
            Reply::json(
                200,
                &json!({"id": repo, "modelId": repo, "sha": commit.id, "private": false,
                "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}),
            )
        }
        ("GET", ["tree", revision, ..]) if !state.pages.is_empty() => {
            let page = state.pages.remove(0);
            let next = format!("<{}/api/models/{repo}/tree/{revision}?x>; rel=\"next\"", state.hub);
            Reply::new(200, page).with("Link", next)
        }
        ("GET", ["tree", revision, ..]) => {
            let Some(commit) = commit_of(state, repo, revision) else { return no_revision() };
            let at: usize =
                query.split('&').find_map(|part| part.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
            let entries: Vec<Value> =
                commit.files.iter().map(|(path, bytes)| entry(commit, path, bytes)).collect();
            let page: Vec<&Value> = entries.iter().skip(at).take(1000).collect();
            let reply = Reply::json(200, &json!(page));
            match at + 1000 < entries.len() {
                true => reply.with(
                    "Link",
                    format!(
                        "<{}/api/models/{repo}/tree/{revision}?recursive=true&cursor={}>; rel=\"next\"",
                        state.hub,
                        at + 1000
                    ),
                ),
                false => reply,
            }
        }
        ("POST", ["preupload", ..]) => preupload(state, request, repo),
        ("POST", ["commit", ..]) => commit(state, request, repo, query),
        _ => Reply::new(404, "no such call"),
    }
}

fn entry(commit: &Commit, path: &str, bytes: &[u8]) -> Value {
    match commit.lfs.get(path) {
        Some(oid) => {
            json!({"type": "file", "path": path, "size": bytes.len(), "oid": pointer_hash(oid, bytes.len()),
            "lfs": {"oid": oid, "size": bytes.len(), "pointerSize": 134}})
        }
        None => json!({"type": "file", "path": path, "size": bytes.len(), "oid": git_hash(bytes)}),
    }
}

fn resolve(state: &State, request: &Request, repo: &str, revision: &str, file: &str) -> Reply {
    let Some(commit) = commit_of(state, repo, revision) else {
        return Reply::new(404, "").with("X-Error-Code", "RevisionNotFound");
    };
    let Some(bytes) = commit.files.get(file) else {
        return Reply::new(404, "")
            .with("X-Error-Code", "EntryNotFound")
            .with("X-Repo-Commit", commit.id.as_str());
    };
    if let Some(oid) = commit.lfs.get(file) {
        return Reply::new(302, "")
            .with("X-Repo-Commit", commit.id.as_str())
            .with("X-Linked-Etag", format!("\"{oid}\""))
            .with("X-Linked-Size", bytes.len().to_string())
            .with("Location", format!("{}/object/{oid}?signature=secret", state.cdn));
    }
    let reply = ranged(request, bytes);
    reply.with("X-Repo-Commit", commit.id.as_str()).with("ETag", format!("\"{}\"", git_hash(bytes)))
}

fn ranged(request: &Request, bytes: &Arc<Vec<u8>>) -> Reply {
    let whole = || Reply {
        status: 200,
        headers: vec![("Accept-Ranges".into(), "bytes".into())],
        body: Arc::clone(bytes),
    };
    let Some((from, to)) =
        request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    else {
        return whole();
    };
    let from: usize = from.parse().unwrap_or(0);
    let to = to.parse().map_or(bytes.len(), |to: usize| bytes.len().min(to + 1));
    if from >= to {
        return Reply::new(416, "").with("Content-Range", format!("bytes */{}", bytes.len()));
    }
    Reply::new(206, bytes[from..to].to_vec())
        .with("Content-Range", format!("bytes {from}-{}/{}", to - 1, bytes.len()))
}

/// The file server.
fn files(state: &mut State, request: &Request, parts: &[&str]) -> Reply {
    match (request.method.as_str(), parts) {
        ("GET" | "HEAD", ["object", oid]) => match state.objects.get(*oid) {
            Some(bytes) => ranged(request, bytes),
            None => Reply::new(404, ""),
        },
        ("PUT", ["upload", oid]) => {
            if sha256(&request.body) != *oid {
                return Reply::new(400, "the checksum differs");
            }
            state.objects.insert((*oid).to_owned(), Arc::new(request.body.clone()));
            Reply::new(200, "")
        }
        ("PUT", ["upload", oid, part]) => {
            let part: usize = part.parse().unwrap_or(0);
            state.parts.insert(((*oid).to_owned(), part), request.body.clone());
            Reply::new(200, "").with("ETag", format!("\"{}-{part}\"", &sha256(&request.body)[..8]))
        }
        ("POST", ["complete", oid]) => {
            let order: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let mut bytes = Vec::new();
            for part in order["parts"].as_array().into_iter().flatten() {
                let number = part["partNumber"].as_u64().unwrap_or(0) as usize;
                let Some(body) = state.parts.get(&((*oid).to_owned(), number)) else {
                    return Reply::new(400, "no part");
                };
                if part["etag"] != format!("\"{}-{number}\"", &sha256(body)[..8]) {
                    return Reply::new(400, "another tag");
                }
                bytes.extend_from_slice(body);
            }
            if sha256(&bytes) != *oid {
                return Reply::new(400, "the checksum differs");
            }
            state.objects.insert((*oid).to_owned(), Arc::new(bytes));
            Reply::json(200, &json!({}))
        }
        _ => Reply::new(404, ""),
    }
}

fn create(state: &mut State, request: &Request) -> Reply {
    if request.header("authorization").is_none() {
        return Reply::json(401, &json!({"error": "a token is needed"}));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let name = body["name"].as_str().unwrap_or_default();
    let id = format!("{}/{name}", body["organization"].as_str().unwrap_or("me"));
    let url = format!("{}/{id}", state.hub);
    if state.repositories.contains_key(&id) {
        return Reply::json(409, &json!({"error": "You already created this model repo", "url": url}));
    }
    state.add(
        &id,
        Commit {
            files: [(".gitattributes".to_owned(), Arc::new(b"*.bin filter=lfs\n".to_vec()))].into(),
            ..Commit::default()
        },
    );
    if let Some(repository) = state.repositories.get_mut(&id) {
        repository.is_private = body["visibility"] == "private";
    }
    Reply::json(200, &json!({"url": url, "name": id, "id": id}))
}

fn preupload(state: &State, request: &Request, repo: &str) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let head = commit_of(state, repo, "main");
    let files: Vec<Value> = body["files"].as_array().into_iter().flatten().map(|file| {
        let path = file["path"].as_str().unwrap_or_default();
        let is_large = file["size"].as_u64().unwrap_or(0) as usize >= state.large;
        let oid = head.and_then(|head| Some((head, head.files.get(path)?))).map(|(head, bytes)| {
            head.lfs.get(path).cloned().unwrap_or_else(|| git_hash(bytes))
        });
        json!({"path": path, "uploadMode": if is_large { "lfs" } else { "regular" }, "shouldIgnore": false, "oid": oid})
    }).collect();
    Reply::json(200, &json!({ "files": files }))
}

fn batch(state: &State, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let objects: Vec<Value> = body["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| {
            let (oid, size) =
                (object["oid"].as_str().unwrap_or_default(), object["size"].as_u64().unwrap_or(0));
            if state.objects.contains_key(oid) {
                return json!({"oid": oid, "size": size});
            }
            let verify = json!({"href": format!("{}/verify", state.hub)});
            let upload = match state.chunk as u64 {
                0 => json!({"href": format!("{}/upload/{oid}?signature=secret", state.cdn)}),
                chunk => {
                    let mut header = json!({"chunk_size": chunk.to_string()});
                    for part in 1..=size.div_ceil(chunk) {
                        header[format!("{part:05}")] =
                            json!(format!("{}/upload/{oid}/{part}?signature=secret", state.cdn));
                    }
                    json!({"href": format!("{}/complete/{oid}", state.cdn), "header": header})
                }
            };
            json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
        })
        .collect();
    Reply::json(200, &json!({"transfer": "multipart", "objects": objects}))
}

fn commit(state: &mut State, request: &Request, repo: &str, query: &str) -> Reply {
    if let Some(other) = state.other.take() {
        let mut commit = commit_of(state, &other, "main").cloned().unwrap_or_default();
        commit.files.insert("other.txt".to_owned(), Arc::new(b"other".to_vec()));
        state.add(&other, commit);
    }
    let head = commit_of(state, repo, "main").cloned().unwrap_or_default();
    let mut new = head.clone();
    for line in request.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap_or_default();
        let value = &line["value"];
        let path = value["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str() {
            Some("header") => {
                if value["parentCommit"].as_str().is_some_and(|parent| parent != head.id) {
                    return Reply::json(
                        412,
                        &json!({"error": "A commit has happened since. Please refresh and try again."}),
                    );
                }
            }
            Some("file") => {
                let bytes =
                    STANDARD.decode(value["content"].as_str().unwrap_or_default()).unwrap_or_default();
                new.lfs.remove(&path);
                new.files.insert(path, Arc::new(bytes));
            }
            Some("lfsFile") => {
                let oid = value["oid"].as_str().unwrap_or_default();
                let Some(bytes) = state.objects.get(oid) else {
                    return Reply::new(400, "no such object");
                };
                new.files.insert(path.clone(), Arc::clone(bytes));
                new.lfs.insert(path, oid.to_owned());
            }
            _ => return Reply::new(400, "an unknown operation"),
        }
    }
    let is_request = query.contains("create_pr=1");
    let oid = if is_request { git_hash(query.as_bytes()) } else { state.add(repo, new) };
    let url = format!("{}/{repo}/commit/{oid}", state.hub);
    let pull = is_request.then(|| format!("{}/{repo}/discussions/1", state.hub));
    Reply::json(
        200,
        &json!({"success": true, "commitOid": oid, "commitUrl": url, "pullRequestUrl": pull, "hookOutput": ""}),
    )
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).unwrap_or(0) as u8;
        out.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    String::from_utf8_lossy(&out).into_owned()
}
