//! The zip layout of PyTorch 1.6 and later, and of TorchScript.
//!
//! One folder contains `data.pkl` with the values, `data/KEY` with the bytes of each storage, `version`, and since 2.1
//! `byteorder`. A TorchScript archive also contains its code and a second pickle, `constants.pkl`; the code is never
//! read.

use std::collections::HashSet;
use std::sync::Arc;

use super::input::Input;
use super::machine::{Dialect, Machine, most_values};
use super::tensor::Data;
use super::value::{Id, Node};
use super::{ByteOrder, Content, PytorchOptions, WriterFacts};
use crate::error::{Code, FormatError, Place, shown};
use crate::source::ReadAt;
use crate::tensor::FileFormat;
use crate::zip::{Method, ZipArchive};

/// Maximum size of a pickle in an archive.
const LARGEST_PICKLE: u64 = 128 << 20;
/// Maximum size of a small record, such as `version`.
const LARGEST_RECORD: u64 = 64;
/// Bytes that a deflated pickle may inflate to, in addition to [`PICKLE_INFLATION`] times its size.
const PICKLE_FREELY_INFLATED: u64 = 4 << 20;
/// How many times its size a deflated pickle may inflate to.
const PICKLE_INFLATION: u64 = 16;
/// Maximum number of entries that no tensor and no known record uses.
const MOST_UNUSED: usize = 10_000;
/// Known versions of the archive format.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;

/// The record that archives of `torch.export` have, and checkpoints have not.
const PROGRAM: &str = "archive_format";

/// A pickle of an archive.
struct Pickle {
    /// Name of its entry.
    name: String,
    bytes: Vec<u8>,
    /// Size in the file: less than its actual size if it is deflated.
    stored: u64,
}

/// An archive, and the name of its one folder.
struct Layout {
    archive: ZipArchive,
    folder: String,
}

/// Opens an archive and runs its pickles.
pub(super) fn open(source: Arc<dyn ReadAt>, options: PytorchOptions) -> Result<Content, FormatError> {
    let archive = ZipArchive::open(source)?;
    archive.check_inflation()?;
    let folder = only_folder(&archive)?;
    let layout = Layout { archive, folder };
    if layout.find("data.pkl").is_none() && layout.find(PROGRAM).is_some() {
        let cause = "a program of `torch.export`, not a checkpoint; save the model's `state_dict()`";
        return Err(FormatError::new(Code::Unsupported, Place::File, cause));
    }
    let pickle = layout.pickle("data.pkl")?;
    let version = layout.version()?;
    let (byte_order, byte_order_stated) = layout.byte_order()?;
    let is_script = layout.find("constants.pkl").is_some() || layout.has_code();
    let constants = if is_script { layout.pickle("constants.pkl").map(Some)? } else { None };

    let mut machine = machine_of(&pickle, options);
    let root = load_whole(&mut machine)?;
    layout.place(&mut machine, "data")?;
    let mut extra_root = None;
    if let Some(Pickle { name, bytes, .. }) = &constants {
        machine.input = Input::new(bytes, Some(name), 0, bytes.len() as u64);
        machine.storage_by_key.clear();
        let values = load_whole(&mut machine)?;
        layout.place(&mut machine, "constants")?;
        extra_root = Some(named_constants(&mut machine, values)?);
    }
    layout.check_unused(&machine)?;

    let records = layout.records();
    let facts = WriterFacts {
        version: Some(version),
        byte_order,
        byte_order_stated,
        protocol: machine.protocol,
        has_checksums: layout.archive.has_checksums(),
        compressed: layout.archive.entries().iter().any(|entry| entry.method() == Method::Deflated),
        producer: records
            .iter()
            .any(|name| name == ".data/serialization_id")
            .then_some("PyTorch 2.1 or later"),
        records,
    };
    let format = if is_script { FileFormat::TorchScript } else { FileFormat::PytorchZip };
    let mut content = Content::of(machine, format, root, facts);
    content.extra_root = extra_root;
    content.archive = Some(layout.archive);
    Ok(content)
}

/// The folder that every entry is in.
fn only_folder(archive: &ZipArchive) -> Result<String, FormatError> {
    let mut folder: Option<&str> = None;
    let mut lower = HashSet::new();
    for entry in archive.entries() {
        let place = || Place::Entry(entry.name().to_owned());
        let Some((top, _)) = entry.name().split_once('/') else {
            let cause = "not inside a folder, unlike all entries of a PyTorch archive";
            return Err(FormatError::new(Code::UnknownFormat, place(), cause));
        };
        if *folder.get_or_insert(top) != top {
            let cause =
                format!("in folder `{}`, others are in `{}`", shown(top), shown(folder.unwrap_or("")));
            return Err(FormatError::new(Code::Malformed, place(), cause));
        }
        if !lower.insert(entry.name().to_lowercase()) {
            let cause = "another entry has the same name in different case";
            return Err(FormatError::new(Code::Duplicate, place(), cause));
        }
    }
    match folder {
        Some(folder) => Ok(folder.to_owned()),
        None => Err(FormatError::new(Code::Missing, Place::File, "the archive has no entries")),
    }
}

/// A machine for a pickle, which may create as many values as its size in the file allows.
fn machine_of(pickle: &Pickle, options: PytorchOptions) -> Machine<'_> {
    let input = Input::new(&pickle.bytes, Some(&pickle.name), 0, pickle.bytes.len() as u64);
    Machine {
        most_values: most_values(pickle.stored),
        ..Machine::new(&pickle.bytes, input, Dialect::Archive, options.allow_opaque)
    }
}

/// Runs the pickle that is the whole input.
fn load_whole(machine: &mut Machine<'_>) -> Result<Id, FormatError> {
    let value = machine.load()?;
    match machine.input.remaining() {
        0 => Ok(value),
        rest => Err(machine.malformed(format!("{rest} bytes after the end of the pickle"))),
    }
}

/// Turns the constants, a tuple, into a dictionary with the names that TorchScript code uses.
fn named_constants(machine: &mut Machine<'_>, values: Id) -> Result<Id, FormatError> {
    let items = machine.arena.sequence(values).to_vec();
    let mut pairs = Vec::with_capacity(items.len());
    for (position, item) in items.into_iter().enumerate() {
        pairs.push((machine.new_node(Node::Text(format!("c{position}").into()))?, item));
    }
    let constants = machine.new_node(Node::Dict(pairs))?;
    let key = machine.new_node(Node::Text("CONSTANTS".into()))?;
    machine.new_node(Node::Dict(vec![(key, constants)]))
}

impl Layout {
    fn find(&self, record: &str) -> Option<usize> {
        self.archive.find(&format!("{}/{record}", self.folder))
    }

    fn has_code(&self) -> bool {
        let code = format!("{}/code/", self.folder);
        self.archive.entries().iter().any(|entry| entry.name().starts_with(&code))
    }

    /// Name and content of a required pickle.
    fn pickle(&self, record: &str) -> Result<Pickle, FormatError> {
        let name = format!("{}/{record}", self.folder);
        let Some(index) = self.find(record) else {
            return Err(FormatError::new(Code::Missing, Place::Entry(name), "the archive has no such entry"));
        };
        let entry = &self.archive.entries()[index];
        let (stored, size) = (entry.compressed_size(), entry.size());
        if size > stored.saturating_mul(PICKLE_INFLATION).saturating_add(PICKLE_FREELY_INFLATED) {
            let cause = format!("a pickle of {size} bytes inflates from {stored}");
            return Err(FormatError::new(Code::TooLarge, Place::Entry(name), cause));
        }
        let bytes = self.archive.read(index, LARGEST_PICKLE)?;
        Ok(Pickle { name, bytes, stored })
    }

    fn text(&self, record: &str) -> Result<Option<String>, FormatError> {
        let Some(index) = self.find(record) else { return Ok(None) };
        let bytes = self.archive.read(index, LARGEST_RECORD)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.bad(record, "the record is not UTF-8".into())),
        }
    }

    fn bad(&self, record: &str, cause: String) -> FormatError {
        FormatError::new(Code::BadValue, Place::Entry(format!("{}/{record}", self.folder)), cause)
    }

    fn version(&self) -> Result<u32, FormatError> {
        let mut found = None;
        for record in ["version", ".data/version"] {
            let Some(text) = self.text(record)? else { continue };
            let text = text.trim_end();
            match text.parse() {
                Ok(version)
                    if !VERSIONS.contains(&version) || found.is_some_and(|first| first != version) =>
                {
                    return Err(
                        self.bad(record, format!("expected one version from 1 to 10, found {version}"))
                    );
                }
                Ok(version) => found = Some(version),
                Err(_) => return Err(self.bad(record, format!("version `{}` is not a number", shown(text)))),
            }
        }
        found.ok_or_else(|| {
            let place = Place::Entry(format!("{}/version", self.folder));
            FormatError::new(Code::Missing, place, "the archive has no such entry")
        })
    }

    fn byte_order(&self) -> Result<(ByteOrder, bool), FormatError> {
        match self.text("byteorder")?.as_deref() {
            None => Ok((ByteOrder::Little, false)),
            Some("little") => Ok((ByteOrder::Little, true)),
            Some("big") => Ok((ByteOrder::Big, true)),
            Some(other) => {
                let cause = format!("byte order `{}` is neither `little` nor `big`", shown(other));
                Err(self.bad("byteorder", cause))
            }
        }
    }

    /// Finds the entries of storages that have none yet; each must have exactly the expected size.
    fn place(&self, machine: &mut Machine<'_>, folder: &str) -> Result<(), FormatError> {
        for storage in machine.storages.iter_mut().filter(|storage| storage.data == Data::Unplaced) {
            let name = format!("{}/{folder}/{}", self.folder, storage.key);
            let Some(index) = self.archive.find(&name) else {
                let cause = "a tensor's bytes should be here, but the archive has no such entry";
                return Err(FormatError::new(Code::Missing, Place::Entry(name), cause));
            };
            let found = self.archive.entries()[index].size();
            if found != storage.bytes() {
                let cause =
                    format!("{found} bytes, but according to the pickle the storage has {}", storage.bytes());
                return Err(FormatError::new(Code::Malformed, Place::Entry(name), cause));
            }
            storage.data = Data::Entry(index);
        }
        Ok(())
    }

    fn check_unused(&self, machine: &Machine<'_>) -> Result<(), FormatError> {
        let unused = self.archive.entries().len().saturating_sub(machine.storages.len());
        if unused > MOST_UNUSED {
            let cause = format!("{unused} unused entries; the limit is {MOST_UNUSED}");
            return Err(FormatError::new(Code::TooLarge, Place::File, cause));
        }
        Ok(())
    }

    /// Names of the entries that are not storages, without the folder.
    fn records(&self) -> Vec<String> {
        let data = format!("{}/data/", self.folder);
        let names = self.archive.entries().iter().map(|entry| entry.name());
        names
            .filter(|name| !name.starts_with(&data))
            .map(|name| name[self.folder.len() + 1..].to_owned())
            .collect()
    }
}
