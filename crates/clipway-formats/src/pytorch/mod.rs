//! PyTorch files: checkpoints as zip archives, legacy streams and tar archives, TorchScript archives, and
//! plain pickles.
//!
//! [`PytorchFile::open`] reads the directory and the pickle, never a weight. The pickle is only data here: its values
//! can be inspected ([`PytorchFile::value`]), and no class or function that it names is ever looked up or called. Known
//! calls that make tensors are recognized by their names and arguments; everything else is an opaque value.
//! [`write_pytorch`] writes state dicts that `torch.load(weights_only=True)` accepts.

mod archive;
mod call;
mod distributed;
mod emit;
mod globals;
mod inflated;
mod input;
mod keys;
mod legacy;
mod literal;
mod machine;
mod names;
mod read;
mod sniff;
mod state;
mod tar;
mod tensor;
mod value;
mod write;

use std::sync::Arc;

use self::inflated::Inflated;
use self::input::Input;
use self::machine::{Dialect, Machine};
use self::tensor::{StorageSpec, TensorSpec};
use self::value::{Arena, Id, Node};
use crate::error::{Code, FormatError, Place};
use crate::source::ReadAt;
use crate::tensor::{FileFormat, TensorFile, TensorInfo, read_at_once};
use crate::zip::ZipArchive;

pub use self::distributed::{DistributedFile, DistributedIndex};
pub use self::globals::{Global, GlobalKind};
pub use self::value::{PickleKind, PickleValue};
pub use self::write::write_pytorch;

/// How to open a PyTorch file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PytorchOptions {
    /// Accepts dangerous globals as opaque values, listed by [`PytorchFile::globals`]. By default, they are refused.
    pub allow_opaque: bool,
}

/// Byte order of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
}

/// What a file records about the program that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterFacts {
    /// The `version` record of an archive.
    pub version: Option<u32>,
    /// Byte order of the stored weights.
    pub byte_order: ByteOrder,
    /// Whether the file states the byte order; PyTorch does since 2.1.
    pub byte_order_stated: bool,
    /// Highest pickle protocol declared by the file.
    pub protocol: u8,
    /// Whether the weights have checksums. Only zip archives can, and PyTorch can be told to write none.
    pub has_checksums: bool,
    /// Whether any entry is compressed. PyTorch never does this, and cannot map such a file.
    pub compressed: bool,
    /// The program, if the file shows it.
    pub producer: Option<&'static str>,
    /// Parts of the file that are not storages, such as `data.pkl` and `version`.
    pub records: Vec<String>,
}

/// An open PyTorch file.
pub struct PytorchFile {
    format: FileFormat,
    source: Arc<dyn ReadAt>,
    archive: Option<ZipArchive>,
    big_endian: bool,
    infos: Vec<TensorInfo>,
    /// For each of `infos`, its index in `specs`: a tensor with two names is stored once.
    numbers: Vec<u32>,
    specs: Vec<TensorSpec>,
    storages: Vec<StorageSpec>,
    /// For each storage, the number of `infos` that use it.
    uses: Vec<usize>,
    inflated: Inflated,
    arena: Arena,
    root: Id,
    facts: WriterFacts,
}

/// The result of reading a layout: the values, and where the storages are.
struct Content {
    format: FileFormat,
    archive: Option<ZipArchive>,
    arena: Arena,
    root: Id,
    /// A second tree with tensors: TorchScript's constants.
    extra_root: Option<Id>,
    storages: Vec<StorageSpec>,
    specs: Vec<TensorSpec>,
    facts: WriterFacts,
}

impl Content {
    /// Reads a file of any PyTorch layout.
    fn open(source: &Arc<dyn ReadAt>, options: PytorchOptions) -> Result<Content, FormatError> {
        match sniff::layout(source.as_ref())? {
            sniff::Layout::Zip => archive::open(Arc::clone(source), options),
            sniff::Layout::Tar => tar::open(Arc::clone(source), options),
            sniff::Layout::Pickle => open_stream(source.as_ref(), options),
        }
    }

    fn of(machine: Machine<'_>, format: FileFormat, root: Id, facts: WriterFacts) -> Content {
        Content {
            format,
            archive: None,
            arena: machine.arena,
            root,
            extra_root: None,
            storages: machine.storages,
            specs: machine.tensors,
            facts,
        }
    }
}

impl PytorchFile {
    /// Opens a file of any PyTorch layout. Names, dtypes, shapes and the tree of values are then known; no weights have
    /// been read.
    ///
    /// # Errors
    /// `Code::UnknownFormat` for another kind of file, `Code::UnsafePickle` if its pickle names functions that run
    /// code, and any other problem.
    pub fn open(source: Arc<dyn ReadAt>, options: PytorchOptions) -> Result<PytorchFile, FormatError> {
        let content = Content::open(&source, options)?;
        let mut named = names::tensors(&content.arena, content.root)?;
        if let Some(extra) = content.extra_root {
            named.extend(names::tensors(&content.arena, extra)?);
        }
        if named.is_empty() {
            return Err(no_tensors(&content));
        }
        PytorchFile::of(content, source, named)
    }

    /// Opens a file that is one tensor without a name.
    fn open_tensor(source: Arc<dyn ReadAt>, options: PytorchOptions) -> Result<PytorchFile, FormatError> {
        let content = Content::open(&source, options)?;
        let Node::Tensor(number) = *content.arena.node(content.root) else {
            return Err(FormatError::new(Code::Malformed, Place::File, "expected one tensor"));
        };
        PytorchFile::of(content, source, vec![(String::new(), number)])
    }

    /// A file of these tensors of its content, each with its name.
    fn of(
        mut content: Content,
        source: Arc<dyn ReadAt>,
        named: Vec<(String, u32)>,
    ) -> Result<PytorchFile, FormatError> {
        check_total(&content, &named)?;
        let mut infos = Vec::with_capacity(named.len());
        let mut numbers = Vec::with_capacity(named.len());
        let mut uses = vec![0; content.storages.len()];
        for (index, (name, number)) in named.into_iter().enumerate() {
            let spec = &content.specs[number as usize];
            content.arena.first_names.entry(number).or_insert(index);
            infos.push(TensorInfo { name, dtype: spec.dtype, shape: spec.shape.clone() });
            numbers.push(number);
            uses[spec.storage as usize] += 1;
        }
        let inflated = Inflated::new(content.archive.as_ref(), &content.storages, &uses)?;
        Ok(PytorchFile {
            format: content.format,
            source,
            archive: content.archive,
            big_endian: content.facts.byte_order == ByteOrder::Big,
            infos,
            numbers,
            specs: content.specs,
            storages: content.storages,
            uses,
            inflated,
            arena: content.arena,
            root: content.root,
            facts: content.facts,
        })
    }

    /// The file's value: the state dict, or the checkpoint around it.
    pub fn value(&self) -> PickleValue<'_> {
        PickleValue { arena: &self.arena, id: self.root }
    }

    /// Every class, function and constant named by the pickle, in order of first use.
    pub fn globals(&self) -> &[Global] {
        self.arena.globals.all()
    }

    /// What the file records about its writer.
    pub fn writer(&self) -> &WriterFacts {
        &self.facts
    }

    /// Index of the storage of tensor `index`; tensors that share memory have the same one.
    pub fn storage_of(&self, index: usize) -> usize {
        self.spec(index).storage as usize
    }

    /// The storage of tensor `index` if another tensor uses it too, or `None` if it has its own.
    pub fn shares_storage(&self, index: usize) -> Option<usize> {
        let storage = self.storage_of(index);
        (self.uses[storage] > 1).then_some(storage)
    }

    /// Size of a storage in bytes, which may be more or less than the tensors on it.
    pub fn storage_bytes(&self, storage: usize) -> u64 {
        self.storages[storage].bytes()
    }

    fn spec(&self, index: usize) -> &TensorSpec {
        &self.specs[self.numbers[index] as usize]
    }
}

impl TensorFile for PytorchFile {
    fn format(&self) -> FileFormat {
        self.format
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.read_tensor(self.spec(index), out)
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        match self.stream_tensor(self.spec(index), sink)? {
            true => Ok(()),
            false => read_at_once(self, index, sink),
        }
    }
}

/// Maximum total size of a file's tensors, in addition to `MOST_USES` times the storages.
const FREELY_REPEATED: u64 = 32 << 20;
/// How often the bytes of storages may be used, by tied and expanded tensors.
const MOST_USES: u64 = 8;

/// Why a file without tensors is of no use: what it has in their place, if that is known.
fn no_tensors(content: &Content) -> FormatError {
    let arrays = content.arena.globals.all().iter().any(|global| global.name.ends_with(ARRAYS));
    if arrays {
        let cause = "the file contains NumPy arrays and no tensors; save them as tensors, or as `.npz`";
        return FormatError::new(Code::Unsupported, Place::File, cause);
    }
    FormatError::new(Code::Missing, Place::File, "the file contains no tensors")
}

/// The function that NumPy pickles its arrays by.
const ARRAYS: &str = "multiarray._reconstruct";

/// Refuses a file whose tensors repeat a few bytes so often that reading them all would never end.
fn check_total(content: &Content, named: &[(String, u32)]) -> Result<(), FormatError> {
    let stored: u64 = content.storages.iter().map(StorageSpec::bytes).fold(0, u64::saturating_add);
    let bytes = named.iter().map(|&(_, number)| content.specs[number as usize].bytes());
    let total = bytes.fold(0, u64::saturating_add);
    if total / MOST_USES > FREELY_REPEATED / MOST_USES + stored {
        let cause = format!("tensors of {total} bytes in total, repeated from {stored} stored bytes");
        return Err(FormatError::new(Code::TooLarge, Place::File, cause));
    }
    Ok(())
}

/// Opens a file that starts with a pickle: a legacy stream, or a single pickle.
fn open_stream(source: &dyn ReadAt, options: PytorchOptions) -> Result<Content, FormatError> {
    let input = Input::new(source, None, 0, source.size());
    let mut machine = Machine::new(source, input, Dialect::Plain, options.allow_opaque);
    let first = machine.load()?;
    let legacy = legacy::is_magic(machine.arena.node(first));
    let root = if legacy { legacy::load(&mut machine)? } else { first };
    if machine.input.remaining() > 0 {
        return Err(machine.malformed(format!(
            "{} bytes after the end of the pickle, which is not the start of a PyTorch stream",
            machine.input.remaining()
        )));
    }
    let facts = WriterFacts {
        version: None,
        byte_order: ByteOrder::Little,
        byte_order_stated: false,
        protocol: machine.protocol,
        has_checksums: false,
        compressed: false,
        producer: legacy.then_some("PyTorch, in the format before 1.6"),
        records: Vec::new(),
    };
    let format = if legacy { FileFormat::PytorchLegacy } else { FileFormat::Pickle };
    Ok(Content::of(machine, format, root, facts))
}

/// Runs a pickle that is the whole source, and returns its values.
fn load_plain(source: &dyn ReadAt, options: PytorchOptions) -> Result<(Arena, Id), FormatError> {
    let input = Input::new(source, None, 0, source.size());
    let mut machine = Machine::new(source, input, Dialect::Plain, options.allow_opaque);
    let root = machine.load()?;
    match machine.input.remaining() {
        0 => Ok((machine.arena, root)),
        rest => Err(machine.malformed(format!("{rest} bytes after the end of the pickle"))),
    }
}
