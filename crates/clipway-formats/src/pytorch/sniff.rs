//! Detects a file's layout from its first bytes; or what else it may be, for messages.

use crate::error::{Code, FormatError, Place};
use crate::safetensors::is_safetensors;
use crate::source::{ReadAt, read_range};
use crate::tar::{BLOCK, is_header};

/// Layouts of PyTorch files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Zip,
    Tar,
    /// A pickle, or a legacy stream, which starts with one.
    Pickle,
}

/// Detects the layout of a PyTorch file.
pub(super) fn layout(source: &dyn ReadAt) -> Result<Layout, FormatError> {
    let head = read_range(source, 0, source.size().min(BLOCK))?;
    if is_safetensors(&head) {
        let cause = "not a PyTorch file: it looks like safetensors";
        Err(FormatError::new(Code::UnknownFormat, Place::File, cause))
    } else if head.starts_with(b"PK") {
        Ok(Layout::Zip)
    } else if is_header(&head) {
        Ok(Layout::Tar)
    } else if head.starts_with(&[0x80]) && head.len() > 1 {
        Ok(Layout::Pickle)
    } else {
        let cause = format!("not a PyTorch file: {}", what_it_is(&head));
        Err(FormatError::new(Code::UnknownFormat, Place::File, cause))
    }
}

fn what_it_is(head: &[u8]) -> &'static str {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if head.is_empty() {
        "the file is empty"
    } else if head.iter().all(|&byte| byte == 0) {
        "it starts with zeros only, like an unfinished download"
    } else if starts(b"version https://git-lfs") {
        "a Git LFS pointer; fetch the file itself with `git lfs pull`"
    } else if starts(b"GGUF") {
        "a GGUF file"
    } else if starts(b"\x89HDF") {
        "an HDF5 file"
    } else if starts(b"\x93NUMPY") {
        "a numpy array"
    } else if starts(b"7z\xbc\xaf\x27\x1c") {
        "a 7z archive"
    } else if starts(b"\x1f\x8b") {
        "a gzip file"
    } else if starts(b"GIF8") || starts(b"\x89PNG") || starts(b"\xff\xd8\xff") {
        "an image"
    } else if head.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "a text"
    } else {
        "its first bytes match no known layout"
    }
}
