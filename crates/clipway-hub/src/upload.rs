//! Large files, to the LFS store: whole or in parts.

use std::io::Read;

use serde_json::json;
use ureq::http::Method;

use crate::http::{About, Ask, Sent};
use crate::push::{PushFile, about};
use crate::told::Part;
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
        let told = self.told(repo, &ask)?;
        let Some(object) = told.get("objects").items().into_iter().next() else {
            return Err(self.unclear("it answers for no file"));
        };
        if let Some(message) = object.get("error").get("message").text() {
            return Err(self.unclear(&self.http.safe(message)));
        }
        if object.get("oid").text() != Some(&file.sha256) {
            return Err(self.unclear("it answers for another file"));
        }
        let upload = object.get("actions").get("upload");
        if !upload.is_there() {
            return Ok(());
        }
        self.http.watcher().begin(&file.path, file.size, 0);
        let (href, header) = (upload.get("href").text().unwrap_or_default(), upload.get("header"));
        let chunk = header.get("chunk_size");
        match chunk.is_there() {
            false => self.put(href, file, 0, file.size).map(drop)?,
            true => {
                let chunk = chunk.text().and_then(|size| size.parse().ok()).unwrap_or(0);
                self.parts(href, &header, chunk, file)?;
            }
        }
        self.http.watcher().end();
        if let Some(href) = object.get("actions").get("verify").get("href").text() {
            let body = json!({ "oid": file.sha256, "size": file.size }).to_string();
            self.http.ask(&Ask::post(href, "application/json", body.as_bytes()), &about(repo))?;
        }
        Ok(())
    }

    /// Sends a file in parts of `chunk` bytes.
    fn parts(&self, href: &str, header: &Part<'_>, chunk: u64, file: &PushFile) -> Result<(), HubError> {
        let count = if chunk == 0 { 0 } else { file.size.div_ceil(chunk) };
        let addresses: Vec<&str> =
            (1..=count.min(PARTS)).filter_map(|part| header.get(&format!("{part:05}")).text()).collect();
        let listed = header.keys().iter().filter(|key| key.parse::<u64>().is_ok()).count();
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
        let open = || -> Result<Box<dyn Read + '_>, HubError> { file.content.slice(start, length) };
        let body = Sent::Stream { length, open: &open };
        let ask = Ask { method: Method::PUT, body, ..Ask::get(address) };
        let answer = self.http.ask(&ask, &About::default())?;
        self.http.watcher().advance(length);
        Ok(answer.header("etag").map(str::to_owned))
    }
}
