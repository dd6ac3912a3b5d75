//! Listings of commits, in the reference client's form.

use clipway_formats::{FormatError, Json, JsonLimits};
use serde_json::{Map, json};

use crate::entry::{Content, Entry, Tree};
use crate::name::{check_path, is_hex};

const LIMITS: JsonLimits =
    JsonLimits { bytes: 64 << 20, depth: 8, values: 1_000_000, byte_order_mark: false };

/// Reads a listing; `None` if it is not one, or has names or hashes that cannot be.
pub(super) fn read(bytes: &[u8], commit: &str) -> Option<Tree> {
    read_all(bytes, commit).ok().flatten()
}

fn read_all(bytes: &[u8], commit: &str) -> Result<Option<Tree>, FormatError> {
    let json = Json::parse(bytes, LIMITS)?;
    let mut files = std::collections::BTreeMap::new();
    if json.root().require("format_version")?.integer(0, 1000)? != 1 {
        return Ok(None);
    }
    for (path, entry) in json.root().require("files")?.members()? {
        let text = |key: &str| match entry.get(key)?.filter(|value| !value.is_null()) {
            Some(value) => value.string().map(|text| Some(text.to_owned())),
            None => Ok(None),
        };
        let (Some(oid), sha256, xet) = (text("blob_id")?, text("lfs_sha256")?, text("xet_hash")?) else {
            return Ok(None);
        };
        let size = entry.require("size")?.integer(0, usize::MAX)? as u64;
        let is_good = is_hex(&oid, 40) && sha256.as_ref().is_none_or(|hash| is_hex(hash, 64));
        if !is_good || check_path(path).is_err() {
            return Ok(None);
        }
        let content = sha256.map_or_else(|| Content::Git(oid.clone()), Content::Lfs);
        files.insert(path.to_owned(), Entry { size, content, oid, xet });
    }
    Ok(Some(Tree { commit: commit.to_owned(), files }))
}

/// Writes a listing.
pub(super) fn write(tree: &Tree) -> String {
    let files: Map<String, serde_json::Value> = tree
        .files
        .iter()
        .map(|(path, entry)| {
            let sha256 = match &entry.content {
                Content::Lfs(hash) => Some(hash),
                Content::Git(_) => None,
            };
            let value = json!({
                "size": entry.size,
                "blob_id": entry.oid,
                "lfs_sha256": sha256,
                "lfs_size": sha256.map(|_| entry.size),
                "xet_hash": entry.xet,
            });
            (path.clone(), value)
        })
        .collect();
    json!({ "format_version": 1, "files": files }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_come_back() {
        let entry = |content: Content| Entry { size: 3, content, oid: "1".repeat(40), xet: None };
        let files = [
            ("a/b.json".to_owned(), entry(Content::Git("1".repeat(40)))),
            ("c.bin".to_owned(), entry(Content::Lfs("2".repeat(64)))),
        ];
        let tree = Tree { commit: "3".repeat(40), files: files.into() };
        assert_eq!(read(write(&tree).as_bytes(), &tree.commit), Some(tree.clone()));
        for (from, to) in
            [("a/b.json", "../b"), ("\"format_version\":1", "\"format_version\":2"), ("1111", "zzzz")]
        {
            assert_eq!(read(write(&tree).replace(from, to).as_bytes(), &tree.commit), None, "{to}");
        }
    }
}
