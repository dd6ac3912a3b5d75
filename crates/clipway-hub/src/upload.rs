//! Large files, to the LFS store: whole or in parts.

use std::io::Read;

use serde_json::json;
use ureq::http::Method;

use crate::cache::files;
use crate::http::{About, Ask, Sent};
use crate::push::{PushFile, about};
use crate::{Hub, HubError, RepoName};

/// Most parts of a large file.
const PARTS: u64 = 100_000;
/// Media type of the LFS protocol.
const LFS: &str = "application/vnd.git-lfs+json";

impl Hub {
    /// Sends a large file to the store, unless it is there.
    pub(crate) fn send(&self, repo: &RepoName, file: &PushFile) -> Result<(), HubError> {
        let body = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256",
            "objects": [{ "oid": file.sha256, "size": file.size }],
        });
        let body = body.to_string();
        let url = format!("{}/{repo}.git/info/lfs/objects/batch", self.http.endpoint());
        let mut ask = Ask::post(url, LFS, body.as_bytes());
        ask.headers.push(("accept", LFS.to_owned()));
        let json = self.json(repo, &ask)?;
        let object = &json["objects"][0];
        if let Some(message) = object["error"]["message"].as_str() {
            return Err(self.unclear(&self.http.safe(message)));
        }
        if object["oid"] != file.sha256.as_str() {
            return Err(self.unclear("it answers for another file"));
        }
        let Some(upload) = object["actions"].get("upload") else { return Ok(()) };
        self.http.watcher().begin(&file.path, file.size, 0);
        let href = upload["href"].as_str().unwrap_or_default();
        match upload["header"].get("chunk_size").map(|size| size.as_str().unwrap_or_default()) {
            None => {
                self.put(href, file, 0, file.size)?;
            }
            Some(size) => self.parts(href, &upload["header"], size.parse().unwrap_or(0), file)?,
        }
        self.http.watcher().end();
        if let Some(href) = object["actions"]["verify"]["href"].as_str() {
            let body = json!({ "oid": file.sha256, "size": file.size }).to_string();
            self.http.ask(&Ask::post(href, "application/json", body.as_bytes()), &about(repo))?;
        }
        Ok(())
    }

    /// Sends a file in parts of `chunk` bytes.
    fn parts(
        &self,
        href: &str,
        header: &serde_json::Value,
        chunk: u64,
        file: &PushFile,
    ) -> Result<(), HubError> {
        let count = if chunk == 0 { 0 } else { file.size.div_ceil(chunk) };
        let addresses: Vec<&str> =
            (1..=count.min(PARTS)).filter_map(|part| header[format!("{part:05}")].as_str()).collect();
        let listed = header
            .as_object()
            .map_or(0, |header| header.keys().filter(|key| key.parse::<u64>().is_ok()).count());
        if count == 0 || addresses.len() as u64 != count || listed as u64 != count {
            return Err(self.unclear("its parts do not add up to the file"));
        }
        let mut tags = Vec::new();
        for (part, address) in addresses.iter().enumerate() {
            let start = part as u64 * chunk;
            let tag = self.put(address, file, start, chunk.min(file.size - start))?;
            let Some(tag) = tag else { return Err(self.unclear("a part without an `ETag`")) };
            tags.push(json!({ "partNumber": part + 1, "etag": tag }));
        }
        let body = json!({ "oid": file.sha256, "parts": tags }).to_string();
        self.http.ask(&Ask::post(href, LFS, body.as_bytes()), &About::default()).map(drop)
    }

    /// Sends bytes of a file to a signed address; returns the answer's `ETag`.
    fn put(
        &self,
        address: &str,
        file: &PushFile,
        start: u64,
        length: u64,
    ) -> Result<Option<String>, HubError> {
        let open =
            || -> Result<Box<dyn Read>, HubError> { Ok(Box::new(files::slice(&file.local, start, length)?)) };
        let body = Sent::Stream { length, open: &open };
        let ask = Ask { method: Method::PUT, body, ..Ask::get(address) };
        let answer = self.http.ask(&ask, &About::default())?;
        self.http.watcher().advance(length);
        Ok(answer.header("etag").map(str::to_owned))
    }
}
