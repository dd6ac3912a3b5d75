//! What the `.metadata` of a distributed checkpoint says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::globals::{Global, Meaning};
use super::super::keys::check_keys;
use super::super::value::{Arena, PickleKind, PickleValue};
use super::super::{PytorchOptions, load_plain};
use super::parts::check_parts;
use super::{Part, Saved};
use crate::dtype::Dtype;
use crate::error::{Code, FormatError, Place, shown};
use crate::name::Names;
use crate::path::escape;
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes};
use crate::source::ReadAt;
use crate::tensor::TensorInfo;

/// Maximum size of a `.metadata`.
const LARGEST: u64 = 64 << 20;

/// Package of the classes in a `.metadata`.
const PACKAGE: &str = "torch.distributed.";

/// The contents of a `.metadata`: the tensors, their parts, and the files that hold them.
pub struct DistributedIndex {
    pub(super) saved: Vec<Saved>,
    files: Vec<String>,
    /// Keys that lead to each saved value, outermost first, where the file says them.
    paths: Vec<Vec<String>>,
    globals: Vec<Global>,
}

/// Where the bytes of a part are.
struct Stored {
    file: usize,
    start: u64,
    length: u64,
}

impl DistributedIndex {
    /// Reads a `.metadata`. No part is read, and no file opened.
    ///
    /// # Errors
    /// `Code::PathEscape` if a file is not below the checkpoint's folder, `Code::UnsafePickle` for a pickle that names
    /// functions that run code, `Code::Unsupported` for parts that were transformed when they were written,
    /// `Code::Missing` for a part without bytes and for a checkpoint without tensors, `Code::Malformed` for parts that
    /// overlap or leave gaps and for anything that is not such a description.
    pub fn open(source: Arc<dyn ReadAt>, options: PytorchOptions) -> Result<DistributedIndex, FormatError> {
        if source.size() > LARGEST {
            let cause = format!("{} bytes; the limit is {LARGEST}", source.size());
            return Err(FormatError::new(Code::TooLarge, Place::File, cause));
        }
        let (arena, id) = load_plain(source.as_ref(), options)?;
        check_keys(&arena)?;
        let root = PickleValue { arena: &arena, id };
        if class_of(root) != Some("Metadata") {
            return Err(malformed("the pickle is not the `Metadata` of a distributed checkpoint"));
        }
        let mut files = Vec::new();
        let mut stored = stored_parts(attribute(root, "storage_data")?, &mut files)?;
        let saved = saved_tensors(&arena, attribute(root, "state_dict_metadata")?, &mut stored)?;
        let paths = root.get("planner_data").map(paths).unwrap_or_default();
        Ok(DistributedIndex { saved, files, paths, globals: arena.globals.all().to_vec() })
    }

    /// Names of the files with parts, relative to the folder of the `.metadata`.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Every class, function and constant that the pickle names.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// Keys of the dictionary at a path of keys from the root; `None` if there is none.
    pub fn keys(&self, path: &[String]) -> Option<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        let mut known = HashSet::new();
        for saved in self.paths.iter().filter(|saved| saved.starts_with(path)) {
            let key = saved.get(path.len())?;
            if known.insert(key) {
                keys.push(key.clone());
            }
        }
        (!keys.is_empty()).then_some(keys)
    }
}

/// Every entry of `storage_data`, by the name of its value and the offsets of its part.
fn stored_parts(
    data: PickleValue<'_>,
    files: &mut Vec<String>,
) -> Result<HashMap<(String, Vec<usize>), Stored>, FormatError> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut stored = HashMap::new();
    for (index, entry) in dictionary(data, "storage_data")? {
        let name = text(attribute(index, "fqn")?, "a name")?.to_owned();
        // Values that are not tensors have no offset.
        let offset = index.get("offset").filter(|offset| offset.kind() != PickleKind::None);
        let offsets = offset.map_or(Ok(Vec::new()), |offset| lengths(offset, "an offset"))?;
        if let Some(steps) = entry.get("transform_descriptors")
            && (steps.kind() != PickleKind::None && steps.items().next().is_some())
        {
            let cause = "a part that was compressed or otherwise transformed when it was written";
            return Err(FormatError::new(Code::Unsupported, Place::Tensor(name), cause));
        }
        let path = text(attribute(entry, "relative_path")?, "a path")?;
        let file = match places.get(path) {
            Some(&file) => file,
            None => {
                if let Some(cause) = escape(path) {
                    return Err(FormatError::new(Code::PathEscape, Place::File, cause));
                }
                files.push(path.to_owned());
                places.insert(path.to_owned(), files.len() - 1);
                files.len() - 1
            }
        };
        let start = number(attribute(entry, "offset")?, "the start of a part")?;
        let length = number(attribute(entry, "length")?, "the length of a part")?;
        let part = Stored { file, start, length };
        if stored.insert((name.clone(), offsets), part).is_some() {
            let cause = "two entries of `storage_data` are for the same part";
            return Err(FormatError::new(Code::Duplicate, Place::Tensor(name), cause));
        }
    }
    Ok(stored)
}

/// Every tensor of `state_dict_metadata` with its parts, each checked to have bytes.
fn saved_tensors(
    arena: &Arena,
    tensors: PickleValue<'_>,
    stored: &mut HashMap<(String, Vec<usize>), Stored>,
) -> Result<Vec<Saved>, FormatError> {
    let (mut saved, mut names, mut work) = (Vec::new(), Names::new(), super::parts::Work::new());
    for (name, value) in dictionary(tensors, "state_dict_metadata")? {
        let name = text(name, "a name")?;
        match class_of(value) {
            // A value without elements, such as the number of epochs.
            Some("BytesStorageMetadata") => continue,
            Some("TensorStorageMetadata") => {}
            _ => return Err(malformed(format!("`{}` is neither a tensor nor bytes", shown(name)))),
        }
        names.check(name)?;
        let refuse = |code, cause: String| FormatError::new(code, Place::Tensor(name.to_owned()), cause);
        let dtype =
            dtype_of(arena, attribute(value, "properties")?).map_err(|(code, why)| refuse(code, why))?;
        let shape = lengths(attribute(value, "size")?, "a size")?;
        if contiguous_bytes(dtype, &shape).is_none() {
            return Err(refuse(Code::TooLarge, "a tensor whose size overflows 64 bits".to_owned()));
        }
        let mut parts = Vec::new();
        for chunk in attribute(value, "chunks")?.items() {
            let offsets = lengths(attribute(chunk, "offsets")?, "the offsets of a part")?;
            let sizes = lengths(attribute(chunk, "sizes")?, "the size of a part")?;
            let key = (name.to_owned(), offsets);
            let Some(place) = stored.remove(&key) else {
                let cause = "`storage_data` has no entry for a part, or the part is listed twice";
                return Err(refuse(Code::Missing, cause.to_owned()));
            };
            let Stored { file, start, length } = place;
            parts.push(Part { offsets: key.1, sizes, file, start, length });
        }
        let info = TensorInfo { name: name.to_owned(), dtype, shape };
        check_parts(&info, &mut parts, &mut work)?;
        saved.push(Saved { info, parts });
    }
    if saved.is_empty() {
        return Err(FormatError::new(Code::Missing, Place::File, "the checkpoint contains no tensors"));
    }
    Ok(saved)
}

/// The keys that lead to each value.
fn paths(data: PickleValue<'_>) -> Vec<Vec<String>> {
    let key = |value: PickleValue<'_>| match value.kind() {
        PickleKind::Str(text) => Some(text.to_owned()),
        PickleKind::Int(number) => Some(number.to_string()),
        _ => None,
    };
    data.entries().filter_map(|(_, path)| path.items().map(key).collect()).collect()
}

/// Name of a value's class, if it is one of PyTorch's distributed package.
fn class_of(value: PickleValue<'_>) -> Option<&str> {
    let PickleKind::Opaque(name) = value.kind() else { return None };
    name.starts_with(PACKAGE).then(|| name.rsplit('.').next().unwrap_or_default())
}

/// The element type, which comes first in the state of a tensor's properties.
fn dtype_of(arena: &Arena, properties: PickleValue<'_>) -> Result<Dtype, (Code, String)> {
    let stated = match properties.get("dtype") {
        Some(dtype) => Some(dtype),
        None => properties.state().and_then(|state| state.items().next()),
    };
    let global = stated.and_then(|dtype| arena.global_of(dtype.id));
    match global.map(|global| (global.meaning, &global.name)) {
        Some((Meaning::Element(Some(dtype)), _)) => Ok(dtype),
        Some((Meaning::Element(None), name)) => {
            Err((Code::Unsupported, format!("tensors of dtype `{}`", shown(name))))
        }
        _ => Err((Code::Malformed, "the element type is not stated".to_owned())),
    }
}

fn dictionary<'a>(
    value: PickleValue<'a>,
    name: &str,
) -> Result<impl Iterator<Item = (PickleValue<'a>, PickleValue<'a>)>, FormatError> {
    match value.kind() {
        PickleKind::Dict => Ok(value.entries()),
        _ => Err(malformed(format!("`{name}` is not a dictionary"))),
    }
}

fn attribute<'a>(value: PickleValue<'a>, name: &str) -> Result<PickleValue<'a>, FormatError> {
    value.get(name).ok_or_else(|| malformed(format!("an object has no attribute `{name}`")))
}

fn text<'a>(value: PickleValue<'a>, what: &str) -> Result<&'a str, FormatError> {
    value.as_str().ok_or_else(|| malformed(format!("{what} is not a text")))
}

fn number(value: PickleValue<'_>, what: &str) -> Result<u64, FormatError> {
    let found = value.as_int().and_then(|number| u64::try_from(number).ok());
    found.ok_or_else(|| malformed(format!("{what} is not a non-negative integer")))
}

fn lengths(value: PickleValue<'_>, what: &str) -> Result<Vec<usize>, FormatError> {
    if !matches!(value.kind(), PickleKind::Tuple | PickleKind::List) {
        return Err(malformed(format!("{what} is not a tuple")));
    }
    let count = value.items().count();
    if count > MOST_DIMENSIONS {
        let cause = format!("{count} dimensions; the limit is {MOST_DIMENSIONS}");
        return Err(FormatError::new(Code::TooLarge, Place::File, cause));
    }
    let length =
        |item| number(item, what).and_then(|length| usize::try_from(length).map_err(|_| too_long(what)));
    value.items().map(length).collect()
}

fn too_long(what: &str) -> FormatError {
    FormatError::new(Code::TooLarge, Place::File, format!("{what} exceeds the address space"))
}

fn malformed(cause: impl Into<String>) -> FormatError {
    FormatError::new(Code::Malformed, Place::File, cause)
}
