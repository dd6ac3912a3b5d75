//! The tar layout of PyTorch before 0.1.10.
//!
//! Four members: `sys_info`, `pickle` (the value, with numbers instead of tensors), `tensors` (number, storage, shape,
//! stride and offset of each) and `storages` (number, class and bytes of each, then the views of storages). Source:
//! `_load` in PyTorch's `torch/serialization.py`.

use std::collections::HashMap;
use std::sync::Arc;

use super::input::Input;
use super::machine::{Dialect, Machine};
use super::tensor::{Data, StorageSpec, StorageView};
use super::value::{Id, Node};
use super::{ByteOrder, Content, PytorchOptions, WriterFacts};
use crate::error::{Code, FormatError, Place};
use crate::shape::MOST_DIMENSIONS;
use crate::source::{ReadAt, read_range};
use crate::tar::{BLOCK, is_header, octal};
use crate::tensor::FileFormat;

/// Members that are read.
const MEMBERS: [&str; 4] = ["sys_info", "pickle", "tensors", "storages"];
/// Members that are accepted.
const MOST_MEMBERS: usize = 64;

/// Opens a tar archive and runs its pickles.
pub(super) fn open(source: Arc<dyn ReadAt>, options: PytorchOptions) -> Result<Content, FormatError> {
    let source = source.as_ref();
    let members = members(source)?;
    let input = |name: &'static str| match members.get(name) {
        Some(&(start, end)) => Ok(Input::new(source, Some(name), start, end)),
        None => {
            let cause = "the tar archive has no such member";
            Err(FormatError::new(Code::Missing, Place::Entry(name.into()), cause))
        }
    };
    let mut machine = Machine::new(source, input("sys_info")?, Dialect::Tar, options.allow_opaque);
    machine.load()?;
    end_of_input(&machine)?;
    machine.input = input("storages")?;
    let storages = storages(&mut machine)?;
    end_of_input(&machine)?;
    machine.input = input("tensors")?;
    tensors(&mut machine, &storages)?;
    end_of_input(&machine)?;
    machine.input = input("pickle")?;
    let root = machine.load()?;
    end_of_input(&machine)?;
    let facts = WriterFacts {
        version: None,
        byte_order: ByteOrder::Little,
        byte_order_stated: false,
        protocol: machine.protocol,
        has_checksums: false,
        compressed: false,
        producer: Some("PyTorch before 0.1.10"),
        records: members.keys().map(|name| (*name).to_owned()).collect(),
    };
    Ok(Content::of(machine, FileFormat::PytorchTar, root, facts))
}

/// Locations of the known members. Every member is checked, known or not.
fn members(source: &dyn ReadAt) -> Result<std::collections::BTreeMap<&'static str, (u64, u64)>, FormatError> {
    let mut found = std::collections::BTreeMap::new();
    let mut at = 0;
    for _ in 0..MOST_MEMBERS {
        let refuse = |code, cause: &str| Err(FormatError::new(code, Place::Byte(at), cause));
        let header = read_range(source, at, BLOCK)?;
        if header.iter().all(|&byte| byte == 0) {
            let rest = read_range(source, at, source.size() - at)?;
            return match rest.iter().all(|&byte| byte == 0) {
                true => Ok(found),
                false => refuse(Code::Malformed, "bytes after the end of the tar archive"),
            };
        }
        if !is_header(&header) {
            return refuse(Code::Malformed, "expected a tar header");
        }
        let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or_default();
        if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return refuse(Code::PathEscape, "the name of a tar member leads out of the archive");
        }
        if !matches!(header[156], 0 | b'0') {
            return refuse(Code::Unsupported, "a tar member that is not a plain file");
        }
        let Some(size) = octal(&header[124..136]) else {
            return refuse(Code::Malformed, "the size of a tar member is not a number");
        };
        let start = at + BLOCK;
        let end = start.checked_add(size).filter(|&end| end <= source.size());
        let Some(end) = end else {
            return refuse(Code::Truncated, "a tar member runs past the end of the file");
        };
        let name = name.strip_prefix("./").unwrap_or(name);
        let known = MEMBERS.into_iter().find(|&known| known == name);
        if known.is_some_and(|known| found.insert(known, (start, end)).is_some()) {
            return refuse(Code::Duplicate, "a tar member occurs twice");
        }
        at = end.next_multiple_of(BLOCK);
    }
    Err(FormatError::new(Code::TooLarge, Place::Byte(at), format!("more than {MOST_MEMBERS} tar members")))
}

fn end_of_input(machine: &Machine<'_>) -> Result<(), FormatError> {
    match machine.input.remaining() {
        0 => Ok(()),
        rest => Err(machine.malformed(format!("{rest} bytes after the end of the member"))),
    }
}

/// Reads the storages and the views of them, by number.
fn storages(machine: &mut Machine<'_>) -> Result<HashMap<i64, StorageView>, FormatError> {
    let mut found = HashMap::new();
    for _ in 0..count(machine)? {
        let value = machine.load()?;
        let [key, _location, class] = *machine.arena.sequence(value) else {
            return Err(machine.malformed("a storage without exactly three parts"));
        };
        let key = integer(machine, key)?;
        let element = machine.storage_class(class)?;
        let elements = u64::from_le_bytes(machine.input.array()?);
        let data = Data::Offset(machine.input.position());
        let storage = machine.add_storage(StorageSpec { key: key.to_string(), element, elements, data })?;
        let bytes = machine.storages[storage as usize].bytes();
        machine.input.skip(bytes)?;
        add(machine, &mut found, key, StorageView { storage, start: 0, elements })?;
    }
    let views = machine.load()?;
    for view in machine.arena.sequence(views).to_vec() {
        let [key, root, start, elements] = *machine.arena.sequence(view) else {
            return Err(machine.malformed("a view of a storage without exactly four parts"));
        };
        let [key, root, start, elements] = [
            integer(machine, key)?,
            integer(machine, root)?,
            integer(machine, start)?,
            integer(machine, elements)?,
        ];
        let part = found.get(&root).and_then(|whole| {
            let (start, elements) = (u64::try_from(start).ok()?, u64::try_from(elements).ok()?);
            start.checked_add(elements).filter(|&end| end <= whole.elements)?;
            Some(StorageView { storage: whole.storage, start: whole.start + start, elements })
        });
        let Some(part) = part else {
            return Err(machine.malformed(format!("a view that is not inside storage {root}")));
        };
        add(machine, &mut found, key, part)?;
    }
    Ok(found)
}

fn add(
    machine: &Machine<'_>,
    found: &mut HashMap<i64, StorageView>,
    key: i64,
    view: StorageView,
) -> Result<(), FormatError> {
    match found.insert(key, view) {
        None => Ok(()),
        Some(_) => Err(machine.malformed(format!("two storages have the number {key}"))),
    }
}

/// Reads the tensors, by number.
fn tensors(machine: &mut Machine<'_>, storages: &HashMap<i64, StorageView>) -> Result<(), FormatError> {
    for _ in 0..count(machine)? {
        let value = machine.load()?;
        let [key, storage, _class] = *machine.arena.sequence(value) else {
            return Err(machine.malformed("a tensor without exactly three parts"));
        };
        let (key, storage) = (integer(machine, key)?, integer(machine, storage)?);
        let Some(&view) = storages.get(&storage) else {
            return Err(machine.malformed(format!("a tensor of storage {storage}, which does not exist")));
        };
        // PyTorch writes the number of dimensions as 8 bytes, and reads the lower 4.
        let dimensions = u64::from_le_bytes(machine.input.array()?) as u32 as usize;
        if dimensions > MOST_DIMENSIONS {
            return Err(machine.malformed(format!("a tensor of {dimensions} dimensions")));
        }
        let mut numbers = Vec::with_capacity(2 * dimensions + 1);
        for _ in 0..2 * dimensions + 1 {
            let number = i64::from_le_bytes(machine.input.array()?);
            let number = u64::try_from(number);
            numbers.push(number.map_err(|_| machine.malformed("a negative size, stride or offset"))?);
        }
        let Some(dtype) = machine.storages[view.storage as usize].element else {
            return Err(machine.malformed("a tensor with no element type"));
        };
        let strides = numbers[dimensions..2 * dimensions].to_vec();
        let tensor =
            machine.strided(view, dtype, numbers[2 * dimensions], &numbers[..dimensions], strides)?;
        if machine.numbered.insert(key, tensor).is_some() {
            return Err(machine.malformed(format!("two tensors have the number {key}")));
        }
    }
    Ok(())
}

fn count(machine: &mut Machine<'_>) -> Result<i64, FormatError> {
    let value = machine.load()?;
    integer(machine, value)
}

fn integer(machine: &Machine<'_>, id: Id) -> Result<i64, FormatError> {
    match machine.arena.node(id) {
        Node::Int(value) => Ok(*value),
        _ => Err(machine.malformed("expected an integer")),
    }
}
