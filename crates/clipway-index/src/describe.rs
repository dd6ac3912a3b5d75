//! What an index is to know of a file whose feature was made elsewhere.

use std::path::Path;

use clipway_search::Item;
use sha2::{Digest, Sha256};

use crate::found::{Found, modified_ns};
use crate::prepare::now;

/// Size, time and hash of a file, so that the next [`fill`](crate::fill) takes it as unchanged; `None` if it is no file or
/// cannot be read. The image is not decoded: its width, height and date stay unknown.
pub fn describe(path: &Path) -> Option<Item> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let (size, modified_ns) = (metadata.len(), modified_ns(&metadata));
    let found = Found { path: path.to_owned(), size, modified_ns, member: None };
    let modified_ns = found.settled_ns();
    let hash = Sha256::digest(found.read().ok()?.bytes).into();
    Some(Item { size, modified_ns, hash, added: now(), ..Item::default() })
}
