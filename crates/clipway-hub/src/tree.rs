//! What a commit contains: every file with its size and hash.

use std::collections::BTreeMap;

use clipway_formats::{Json, JsonCursor, JsonLimits};

use crate::entry::{Content, Entry, Tree};
use crate::http::{About, Address, Ask, Http, quoted};
use crate::name::{check_path, is_commit, is_hex};
use crate::{HubError, RepoName};

/// Most files of a repository.
const FILES: usize = 50_000;
/// Most pages of a listing.
const PAGES: usize = 500;
/// Most bytes of a page.
const PAGE: usize = 8 << 20;
/// Most bytes of a file: 4 TiB.
const LARGEST: u64 = 4 << 40;

/// Limits for one page of a listing.
const LIMITS: JsonLimits = JsonLimits { bytes: PAGE, depth: 16, values: 200_000, byte_order_mark: false };

/// Parses an answer.
pub(crate) fn parse(bytes: &[u8], host: &str) -> Result<Json, HubError> {
    Json::parse(bytes, LIMITS).map_err(|cause| HubError::Json { host: host.to_owned(), cause })
}

/// The commit that a revision names.
pub(crate) fn commit_of(http: &Http, repo: &RepoName, revision: &str) -> Result<String, HubError> {
    let url = format!("{}/api/models/{repo}/revision/{}", http.endpoint(), quoted(revision, false));
    let about = About { repo: repo.as_str(), revision, ..About::default() };
    let answer = http.ask(&Ask::get(url), &about)?;
    let host = answer.address.host();
    let json = parse(&answer.bytes(http, PAGE as u64)?, &host)?;
    let wrong = |cause| HubError::Json { host: host.clone(), cause };
    let sha = json.root().require("sha").and_then(|sha| sha.string()).map_err(wrong)?;
    match is_commit(sha) {
        true => Ok(sha.to_owned()),
        false => Err(HubError::Answer { host, reason: "its commit is not a hash".to_owned() }),
    }
}

/// Lists a commit.
pub(crate) fn list(http: &Http, repo: &RepoName, commit: &str) -> Result<Tree, HubError> {
    let mut url = format!("{}/api/models/{repo}/tree/{commit}?recursive=true&expand=false", http.endpoint());
    let about = About { repo: repo.as_str(), revision: commit, ..About::default() };
    let mut files = BTreeMap::new();
    for _ in 0..PAGES {
        let answer = http.ask(&Ask::get(url), &about)?;
        if answer.status() >= 300 {
            return Err(HubError::Redirects { host: answer.address.host() });
        }
        let next = answer.header("link").and_then(next_page).and_then(|next| answer.address.join(next));
        let host = answer.address.host();
        let json = parse(&answer.bytes(http, PAGE as u64)?, &host)?;
        let wrong = |cause| HubError::Json { host: host.clone(), cause };
        for item in json.root().items().map_err(wrong)? {
            let is_file = item.require("type").and_then(|kind| kind.string()).map_err(wrong)? == "file";
            if !is_file {
                continue;
            }
            let path = item.require("path").and_then(|path| path.string()).map_err(wrong)?.to_owned();
            check_path(&path)?;
            let entry = entry(&item, &host, &path)?;
            if files.insert(path, entry).is_some() {
                return Err(HubError::Answer { host, reason: "a listing has a file twice".to_owned() });
            }
            if files.len() > FILES {
                let what = format!("the number of files in `{repo}`");
                return Err(HubError::TooLarge { what, limit: FILES as u64 });
            }
        }
        match next {
            Some(next) if http.is_hub(&next) => url = next.as_str(),
            Some(next) => return Err(HubError::Redirects { host: Address::host(&next) }),
            None => {
                check_folders(&files)?;
                return Ok(Tree { commit: commit.to_owned(), files });
            }
        }
    }
    Err(HubError::TooLarge { what: format!("the number of pages that list `{repo}`"), limit: PAGES as u64 })
}

fn entry(item: &JsonCursor<'_>, host: &str, path: &str) -> Result<Entry, HubError> {
    let wrong = |cause| HubError::Json { host: host.to_owned(), cause };
    let answer = |reason: &str| HubError::Answer {
        host: host.to_owned(),
        reason: format!("`{}`: {reason}", clipway_formats::shown(path)),
    };
    let text = |item: &JsonCursor<'_>, key: &str| -> Result<String, HubError> {
        item.require(key).and_then(|value| value.string()).map(str::to_owned).map_err(wrong)
    };
    let size_of = |item: &JsonCursor<'_>| -> Result<u64, HubError> {
        let size = item.require("size").and_then(|size| size.integer(0, usize::MAX)).map_err(wrong)? as u64;
        match size <= LARGEST {
            true => Ok(size),
            false => Err(HubError::TooLarge {
                what: format!("`{}`", clipway_formats::shown(path)),
                limit: LARGEST,
            }),
        }
    };
    let (oid, size) = (text(item, "oid")?, size_of(item)?);
    if !is_hex(&oid, 40) {
        return Err(answer("its git hash is not one"));
    }
    let lfs = item.get("lfs").map_err(wrong)?.filter(|lfs| !lfs.is_null());
    let content = match lfs {
        Some(lfs) => {
            let sha256 = text(&lfs, "oid")?;
            if !is_hex(&sha256, 64) {
                return Err(answer("its SHA-256 is not one"));
            }
            if size_of(&lfs)? != size {
                return Err(answer("it has two sizes"));
            }
            Content::Lfs(sha256)
        }
        None => Content::Git(oid.clone()),
    };
    let xet = match item.get("xetHash").map_err(wrong)?.filter(|xet| !xet.is_null()) {
        Some(xet) => Some(xet.string().map_err(wrong)?.to_owned()).filter(|xet| is_hex(xet, 64)),
        None => None,
    };
    Ok(Entry { size, content, oid, xet })
}

/// Refuses a file below another file.
fn check_folders(files: &BTreeMap<String, Entry>) -> Result<(), HubError> {
    for path in files.keys() {
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(file) = folders.find(|folder| files.contains_key(*folder)) {
            return Err(HubError::HostileName { name: clipway_formats::shown(file) });
        }
    }
    Ok(())
}

/// The address of the next page in a `Link` header.
fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next")).then_some(target)
    })
}
