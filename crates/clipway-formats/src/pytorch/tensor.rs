//! Tensors and storages, as described by a pickle's rebuild calls and persistent ids.

use super::globals::Meaning;
use super::legacy;
use super::machine::{Dialect, Machine};
use super::value::{Id, Node};
use crate::dtype::Dtype;
use crate::error::{Code, FormatError, shown};
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes, shown_shape};

/// Maximum size of a tensor that repeats its storage (an expanded one) when it is made contiguous.
const LARGEST_EXPANDED: usize = 16 << 20;
/// Maximum number of characters in a storage key.
const LONGEST_KEY: usize = 256;

/// Where the bytes of a storage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Not known yet.
    Unplaced,
    /// The content of an entry of the archive.
    Entry(usize),
    /// From this offset of the file.
    Offset(u64),
}

/// A storage, as the pickle describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorageSpec {
    pub(super) key: String,
    /// Element type; `None` for a storage of bytes.
    pub(super) element: Option<Dtype>,
    /// Length in elements.
    pub(super) elements: u64,
    pub(super) data: Data,
}

impl StorageSpec {
    pub(super) fn element_size(&self) -> u64 {
        self.element.map_or(1, |dtype| dtype.size() as u64)
    }

    /// Size in bytes, checked for overflow when the storage was created.
    pub(super) fn bytes(&self) -> u64 {
        self.elements * self.element_size()
    }
}

/// Part of a storage, used as a storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageView {
    pub(super) storage: u32,
    pub(super) start: u64,
    pub(super) elements: u64,
}

/// A tensor: a strided view of a storage, checked to be inside it.
#[derive(Clone, Debug)]
pub(super) struct TensorSpec {
    pub(super) storage: u32,
    pub(super) dtype: Dtype,
    /// First element, counted from the start of the storage.
    pub(super) start: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<u64>,
}

impl TensorSpec {
    /// Size of the contiguous tensor in bytes, checked for overflow when the tensor was created.
    pub(super) fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.size()) as u64
    }

    /// Number of elements from the first to the last; 0 if there are none.
    pub(super) fn span(&self) -> u64 {
        if self.shape.contains(&0) {
            return 0;
        }
        1 + self.shape.iter().zip(&self.strides).map(|(&n, &stride)| (n as u64 - 1) * stride).sum::<u64>()
    }

    /// Whether the elements are in row-major order without gaps.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&length, &stride)| {
            let fits = length == 1 || stride == expected;
            expected *= length as u64;
            fits
        }) || self.shape.contains(&0)
    }
}

impl Machine<'_> {
    /// `BINPERSID`: a storage of the archive, or whatever the dialect defines.
    pub(super) fn persistent(&mut self, id: Id) -> Result<Id, FormatError> {
        if self.dialect == Dialect::Tar {
            return self.numbered_tensor(id);
        }
        let Node::Tuple(parts) = self.arena.node(id) else {
            return Err(self.malformed("a persistent id that is not a tuple"));
        };
        let parts = parts.to_vec();
        let tag = parts.first().map(|&tag| self.arena.node(tag));
        match (tag, &parts[..], self.dialect) {
            (Some(Node::Text(tag)), [_, class, ..], Dialect::Legacy) if &**tag == "module" => Ok(*class),
            (Some(Node::Text(tag)), [_, class, key, location, elements], Dialect::Archive)
                if &**tag == "storage" =>
            {
                self.storage(*class, *key, *location, *elements, None)
            }
            (Some(Node::Text(tag)), [_, class, key, location, elements, view], Dialect::Legacy)
                if &**tag == "storage" =>
            {
                self.storage(*class, *key, *location, *elements, Some(*view))
            }
            _ => {
                Err(self.malformed(format!("a persistent id of {} parts that names no storage", parts.len())))
            }
        }
    }

    /// Creates the storage of a persistent id, or finds it by its key.
    fn storage(
        &mut self,
        class: Id,
        key: Id,
        location: Id,
        elements: Id,
        view: Option<Id>,
    ) -> Result<Id, FormatError> {
        let element = self.storage_class(class)?;
        let key = match self.arena.node(key) {
            Node::Text(key) if is_key(key) => key.to_string(),
            Node::Text(key) => {
                return Err(self.malformed(format!("`{}` is not the key of a storage", shown(key))));
            }
            _ => return Err(self.malformed("the key of a storage is not a text")),
        };
        match self.arena.node(location) {
            Node::Text(location) if &**location == "meta" => {
                return Err(self.error(Code::Unsupported, "a storage on the `meta` device has no data"));
            }
            Node::Text(_) => {}
            _ => return Err(self.malformed("the location of a storage is not a text")),
        }
        let elements = self.unsigned(elements, "the length of a storage")?;
        let index = self.add_storage(StorageSpec { key, element, elements, data: Data::Unplaced })?;
        let mut part = StorageView { storage: index, start: 0, elements };
        if let Some(Node::Tuple(view)) = view.map(|view| self.arena.node(view)) {
            let [_key, start, length] = view[..] else {
                return Err(self.malformed("a view of a storage without exactly three parts"));
            };
            part.start = self.unsigned(start, "the start of a view")?;
            part.elements = self.unsigned(length, "the length of a view")?;
            if part.start.checked_add(part.elements).is_none_or(|end| end > elements) {
                return Err(self.malformed(format!(
                    "a view of {} elements from {} on of a storage of {elements}",
                    part.elements, part.start
                )));
            }
        } else if view.is_some_and(|view| !matches!(self.arena.node(view), Node::None)) {
            return Err(self.malformed("a view of a storage that is neither a tuple nor `None`"));
        }
        self.views.push(part);
        self.new_node(Node::Storage(self.views.len() as u32 - 1))
    }

    /// Adds a storage, or finds the same one; two different ones must not have the same key.
    pub(super) fn add_storage(&mut self, storage: StorageSpec) -> Result<u32, FormatError> {
        if storage.elements.checked_mul(storage.element_size()).is_none_or(|bytes| bytes > i64::MAX as u64) {
            let cause = format!("a storage of {} elements", storage.elements);
            return Err(self.error(Code::TooLarge, cause));
        }
        if let Some(&index) = self.storage_by_key.get(&storage.key) {
            let first = &self.storages[index as usize];
            if (first.element, first.elements) != (storage.element, storage.elements) {
                let cause = format!(
                    "storage `{}` is described twice: with {} and {} elements, or with two types",
                    shown(&storage.key),
                    first.elements,
                    storage.elements
                );
                return Err(self.malformed(cause));
            }
            return Ok(index);
        }
        let index = self.storages.len() as u32;
        self.storage_by_key.insert(storage.key.clone(), index);
        self.storages.push(storage);
        Ok(index)
    }

    /// Element type of a storage class; `None` for bytes.
    pub(super) fn storage_class(&self, class: Id) -> Result<Option<Dtype>, FormatError> {
        let Node::Global(index) = self.arena.node(class) else {
            return Err(self.malformed("the class of a storage is not a global"));
        };
        let global = self.arena.globals.get(*index);
        match global.meaning {
            Meaning::UntypedStorage => Ok(None),
            Meaning::Storage(Some(dtype)) => Ok(Some(dtype)),
            Meaning::Storage(None) => {
                let is_quantized = ["QInt", "QUInt"].iter().any(|class| global.name.contains(class));
                let cause = if is_quantized {
                    ", of quantized weights; save the model before it is quantized"
                } else {
                    ""
                };
                Err(self
                    .error(Code::Unsupported, format!("storages of class `{}`{cause}", shown(&global.name))))
            }
            _ => Err(self.malformed(format!("`{}` is not the class of a storage", shown(&global.name)))),
        }
    }

    /// A tensor in a tar archive, by its number.
    fn numbered_tensor(&mut self, id: Id) -> Result<Id, FormatError> {
        let number = match self.arena.node(id) {
            Node::Int(number) => Some(*number),
            Node::Text(text) => text.parse().ok(),
            // A class with its source code: only the class matters.
            Node::Tuple(parts) => match parts.first() {
                Some(&class) if matches!(self.arena.node(class), Node::Global(_)) => return Ok(class),
                _ => None,
            },
            _ => None,
        };
        let found = number.and_then(|number| self.numbered.get(&number).copied());
        found.ok_or_else(|| self.malformed("a persistent id without a tensor"))
    }

    /// `_rebuild_tensor` and its later forms.
    pub(super) fn rebuild(&mut self, form: Meaning, items: &[Id]) -> Result<Id, FormatError> {
        let (expected, given_dtype) = match form {
            Meaning::RebuildTensor => (4..=4, None),
            Meaning::RebuildTensorV2 => (6..=7, None),
            _ => (7..=8, items.get(6).copied()),
        };
        let most = *expected.end();
        if !expected.contains(&items.len()) {
            return Err(self.malformed(format!("a tensor made of {} arguments", items.len())));
        }
        if form != Meaning::RebuildTensor {
            if !matches!(self.arena.node(items[4]), Node::Bool(_)) {
                return Err(self.malformed("`requires_grad` is not a truth value"));
            }
            if !matches!(self.arena.node(items[5]), Node::Dict(_) | Node::None) {
                return Err(self.malformed("the hooks of a tensor are not a dictionary"));
            }
            match items.get(most - 1).map(|&metadata| self.arena.node(metadata)) {
                None | Some(Node::None) => {}
                Some(Node::Dict(pairs)) if pairs.is_empty() => {}
                Some(_) => {
                    let cause = "a tensor with metadata, such as a conjugate or negative bit";
                    return Err(self.error(Code::Unsupported, cause));
                }
            }
        }
        let Node::Storage(view) = self.arena.node(items[0]) else {
            return Err(self.malformed("a tensor whose storage is not one"));
        };
        let view = self.views[*view as usize];
        let element = self.storages[view.storage as usize].element;
        let dtype = match (element, given_dtype) {
            (Some(dtype), None) => dtype,
            (None, Some(dtype)) => self.element_type(dtype)?,
            _ => return Err(self.malformed("a tensor with no element type, or with two")),
        };
        let start = self.unsigned(items[1], "the offset of a tensor")?;
        let shape = self.lengths(items[2], "the size of a tensor")?;
        let strides = self.lengths(items[3], "the stride of a tensor")?;
        self.strided(view, dtype, start, &shape, strides)
    }

    /// Creates a tensor from part of a storage, after checking that it is inside.
    pub(super) fn strided(
        &mut self,
        view: StorageView,
        dtype: Dtype,
        start: u64,
        shape: &[u64],
        strides: Vec<u64>,
    ) -> Result<Id, FormatError> {
        if shape.len() != strides.len() {
            let cause = format!("{} dimensions, but {} strides", shape.len(), strides.len());
            return Err(self.malformed(cause));
        }
        let storage = &self.storages[view.storage as usize];
        let lengths: Option<Vec<usize>> = shape.iter().map(|&length| usize::try_from(length).ok()).collect();
        let sized = lengths.and_then(|shape| contiguous_bytes(dtype, &shape).map(|bytes| (shape, bytes)));
        let Some((lengths, bytes)) = sized else {
            return Err(self.error(Code::TooLarge, "a tensor whose size overflows 64 bits"));
        };
        if bytes as u64 > storage.bytes().max(LARGEST_EXPANDED as u64) {
            let cause = format!("a tensor of {bytes} bytes, repeated from a storage of {}", storage.bytes());
            return Err(self.error(Code::TooLarge, cause));
        }
        let unit = if storage.element.is_some() { 1 } else { dtype.size() as u64 };
        let available = view.elements / unit;
        let last = shape.iter().zip(&strides).try_fold(start, |last, (&length, &stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        });
        let inside = match last {
            _ if lengths.contains(&0) => start <= available,
            Some(last) => last < available,
            None => false,
        };
        if !inside || !view.start.is_multiple_of(unit) {
            return Err(self.malformed(format!(
                "a tensor of shape {} from element {start} on is not inside its storage of {available}",
                shown_shape(&lengths)
            )));
        }
        let start = view.start / unit + start;
        let spec = TensorSpec { storage: view.storage, dtype, start, shape: lengths, strides };
        self.tensors.push(spec);
        self.new_node(Node::Tensor(self.tensors.len() as u32 - 1))
    }

    /// `torch.storage._load_from_bytes`, in a plain pickle: a storage, as a legacy file inside.
    pub(super) fn nested_file(&mut self, bytes: Id) -> Result<Id, FormatError> {
        let Node::Bytes(content) = self.arena.node(bytes) else {
            return Err(self.malformed("a nested file that is not bytes"));
        };
        let length = content.len() as u64;
        let Some(&start) = self.bytes_at.get(&bytes) else {
            return Err(self.error(Code::Unsupported, "a nested file that is written as text"));
        };
        let key = start.to_string();
        let index = match self.storage_by_key.get(&key) {
            Some(&index) => index,
            None => {
                let storage = legacy::nested_storage(self.source, start, start + length)?;
                self.add_storage(StorageSpec { key, ..storage })?
            }
        };
        let elements = self.storages[index as usize].elements;
        self.views.push(StorageView { storage: index, start: 0, elements });
        self.new_node(Node::Storage(self.views.len() as u32 - 1))
    }

    fn element_type(&self, id: Id) -> Result<Dtype, FormatError> {
        let Node::Global(index) = self.arena.node(id) else {
            return Err(self.malformed("the dtype of a tensor is not a global"));
        };
        let global = self.arena.globals.get(*index);
        match global.meaning {
            Meaning::Element(Some(dtype)) => Ok(dtype),
            Meaning::Element(None) => {
                Err(self.error(Code::Unsupported, format!("tensors of dtype `{}`", shown(&global.name))))
            }
            _ => Err(self.malformed(format!("`{}` is not a dtype", shown(&global.name)))),
        }
    }

    fn unsigned(&self, id: Id, what: &str) -> Result<u64, FormatError> {
        let found = match self.arena.node(id) {
            Node::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        };
        found.ok_or_else(|| {
            let cause = format!("{what} is not a non-negative integer");
            self.error(Code::BadValue, cause)
        })
    }

    pub(super) fn lengths(&self, id: Id, what: &str) -> Result<Vec<u64>, FormatError> {
        let Node::Tuple(items) = self.arena.node(id) else {
            return Err(self.malformed(format!("{what} is not a tuple")));
        };
        if items.len() > MOST_DIMENSIONS {
            let cause = format!("{} dimensions; the limit is {MOST_DIMENSIONS}", items.len());
            return Err(self.error(Code::TooLarge, cause));
        }
        items.iter().map(|&item| self.unsigned(item, what)).collect()
    }
}

/// Whether a text can be a storage key: a plain file name.
fn is_key(key: &str) -> bool {
    !matches!(key, "" | "." | "..")
        && key.len() <= LONGEST_KEY
        && !key.chars().any(|c| c.is_control() || c == '/' || c == '\\')
}
