//! The stream format of PyTorch before 1.6: pickles one after another, then the storages.
//!
//! Magic number, protocol version, system information, the value itself and the list of storage keys are five pickles.
//! Each storage follows as its length in elements and its bytes, always little-endian.

use std::collections::HashSet;

use super::input::Input;
use super::machine::{Dialect, Machine};
use super::tensor::{Data, StorageSpec};
use super::value::{Id, Node};
use crate::error::{Code, FormatError, shown};
use crate::source::ReadAt;

/// The magic number, 0x1950a86a20f9469cfc6c, as the bytes of its pickle.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Whether a value is the magic number.
pub(super) fn is_magic(node: &Node) -> bool {
    matches!(node, Node::Big(bytes) if **bytes == MAGIC)
}

/// Runs the pickles that follow the magic number, and locates the storages. Returns the value of the stream, which must
/// end with its last storage.
pub(super) fn load(machine: &mut Machine<'_>) -> Result<Id, FormatError> {
    machine.dialect = Dialect::Legacy;
    let version = machine.load()?;
    match machine.arena.node(version) {
        Node::Int(PROTOCOL) => {}
        Node::Int(other) => {
            let cause = format!("legacy protocol {other}; only {PROTOCOL} is known");
            return Err(machine.error(Code::Unsupported, cause));
        }
        _ => return Err(machine.malformed("the legacy protocol is not an integer")),
    }
    let system = machine.load()?;
    if !matches!(machine.arena.node(system), Node::Dict(_)) {
        return Err(machine.malformed("the system information is not a dictionary"));
    }
    let root = machine.load()?;
    place_storages(machine)?;
    if machine.input.remaining() > 0 {
        let cause = format!("{} bytes after the last storage", machine.input.remaining());
        return Err(FormatError::new(Code::Malformed, machine.input.place(machine.input.position()), cause));
    }
    Ok(root)
}

fn place_storages(machine: &mut Machine<'_>) -> Result<(), FormatError> {
    let keys = machine.load()?;
    let Node::List(keys) = machine.arena.node(keys) else {
        return Err(machine.malformed("the keys of the storages are not a list"));
    };
    let mut placed = HashSet::new();
    for key in keys.clone() {
        let index = match machine.arena.node(key) {
            Node::Text(text) => match machine.storage_by_key.get(&**text) {
                Some(&index) => index,
                None => {
                    let cause = format!("storage `{}` is stored, but no tensor uses it", shown(text));
                    return Err(machine.malformed(cause));
                }
            },
            _ => return Err(machine.malformed("the key of a storage is not a text")),
        };
        let offset = machine.input.position();
        let elements = u64::from_le_bytes(machine.input.array()?);
        let storage = &machine.storages[index as usize];
        let refuse =
            |cause: String| Err(FormatError::new(Code::Malformed, machine.input.place(offset), cause));
        if !placed.insert(index) {
            return refuse(format!("storage `{}` is stored twice", shown(&storage.key)));
        }
        if elements != storage.elements {
            return refuse(format!(
                "storage `{}` has {} elements according to the pickle, but {elements} here",
                shown(&storage.key),
                storage.elements
            ));
        }
        let data = Data::Offset(machine.input.position());
        let bytes = storage.bytes();
        machine.input.skip(bytes)?;
        machine.storages[index as usize].data = data;
    }
    match machine.storages.iter().find(|storage| storage.data == Data::Unplaced) {
        Some(missing) => {
            let cause = format!("storage `{}` is used, but not stored", shown(&missing.key));
            Err(machine.error(Code::Missing, cause))
        }
        None => Ok(()),
    }
}

/// Reads the single storage of a legacy stream inside another file, from `start` to `end`.
pub(super) fn nested_storage(source: &dyn ReadAt, start: u64, end: u64) -> Result<StorageSpec, FormatError> {
    let mut machine = Machine::new(source, Input::new(source, None, start, end), Dialect::Legacy, false);
    let magic = machine.load()?;
    if !is_magic(machine.arena.node(magic)) {
        return Err(machine.malformed("the bytes of a storage are not a legacy PyTorch stream"));
    }
    let root = load(&mut machine)?;
    let view = match machine.arena.node(root) {
        Node::Storage(view) => machine.views[*view as usize],
        _ => return Err(machine.malformed("a nested stream that is not a storage")),
    };
    let storage = machine.storages[view.storage as usize].clone();
    if view.start != 0 || view.elements != storage.elements {
        return Err(machine.error(Code::Unsupported, "a nested storage that is part of another"));
    }
    Ok(storage)
}
