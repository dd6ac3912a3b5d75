//! ONNX: the initializers of a model, as tensors.
//!
//! A hand-written reader of the protobuf wire format, for the messages of `onnx.proto` (IR versions 3 to 14) that lead
//! to initializers. It knows every field of those messages and refuses others; payloads are located without being read.
//! Tensors inside nodes (constants, subgraphs) are part of the graph and not listed.

mod graph;
mod interface;
mod model;
mod node;
mod operators;
mod tensor;
mod wire;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Code, FormatError, Place};
use crate::json::first_duplicate;
use crate::name::Names;
use crate::source::{ReadAt, read_pieces, read_range};
use crate::tensor::{FileFormat, TensorFile, TensorInfo, read_at_once};

pub use interface::{OnnxInterface, OnnxPort};
pub use node::{OnnxConstant, OnnxOperation};
pub use write::{
    OnnxAttribute, OnnxDim, OnnxExternal, OnnxGraph, OnnxLayout, OnnxNode, OnnxPlace, OnnxValue, write_onnx,
};

use model::Model;
use tensor::{Data, Initializer, read_typed};

/// Opens a file of external data. It receives a path that was checked to stay below the model's folder, and must itself
/// refuse links that leave the folder, and the model file.
pub type OpenExternal<'a> = dyn FnMut(&str) -> Result<Arc<dyn ReadAt>, FormatError> + 'a;

/// An open ONNX model, as a file of its initializers.
pub struct OnnxFile {
    source: Arc<dyn ReadAt>,
    tensors: Vec<TensorInfo>,
    places: Vec<Placed>,
    metadata: Vec<(String, String)>,
    interface: OnnxInterface,
    operations: Vec<OnnxOperation>,
}

/// Where the elements of an initializer are.
enum Placed {
    /// Bytes in a file.
    Bytes { source: Arc<dyn ReadAt>, offset: u64 },
    /// Numbers in the wire format, in the tensor's own message.
    Typed { start: u64, end: u64 },
}

impl OnnxFile {
    /// Opens a model: reads everything except the elements of its tensors, and checks that these exist.
    ///
    /// # Errors
    /// `Code::PathEscape` for external data outside of the folder, `Code::Unsupported` for newer versions, unknown
    /// operators and dtypes, `Code::UnknownKey` for unknown fields, `Code::Truncated`, `Code::Duplicate`, and
    /// `Code::Malformed` for most other problems.
    pub fn open(source: Arc<dyn ReadAt>, external: &mut OpenExternal<'_>) -> Result<OnnxFile, FormatError> {
        let model = Model::read(&source)?;
        let mut files: HashMap<String, Arc<dyn ReadAt>> = HashMap::new();
        let mut file = OnnxFile {
            source,
            tensors: Vec::new(),
            places: Vec::new(),
            metadata: model.metadata,
            interface: model.interface,
            operations: model.operations,
        };
        for Initializer { info, data } in model.initializers {
            let place = match data {
                Data::Bytes { offset } => Placed::Bytes { source: file.source.clone(), offset },
                Data::Typed { start, end } => Placed::Typed { start, end },
                Data::External { location, offset, whole } => {
                    let source = match files.get(&location) {
                        Some(source) => source.clone(),
                        None => {
                            let source = external(&location)?;
                            files.insert(location, source.clone());
                            source
                        }
                    };
                    check_external(&info, source.size(), offset, whole)?;
                    Placed::Bytes { source, offset }
                }
            };
            file.tensors.push(info);
            file.places.push(place);
        }
        let mut checked = Names::new();
        file.tensors.iter().try_for_each(|info| checked.check(&info.name))?;
        let names = file.tensors.iter().map(|info| (info.name.as_str(), 0));
        if let Some((name, _)) = first_duplicate(names) {
            let cause = "two initializers have this name";
            return Err(FormatError::new(Code::Duplicate, Place::Tensor(name.to_owned()), cause));
        }
        Ok(file)
    }

    /// What it takes and gives, and which operators it uses.
    pub fn interface(&self) -> &OnnxInterface {
        &self.interface
    }

    /// Its nodes outside of subgraphs, in an order in which they can be executed.
    pub fn operations(&self) -> &[OnnxOperation] {
        &self.operations
    }

    /// The elements of a tensor of at most 1,024 integers of 32 or 64 bits; `None` for other tensors.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn integers(&self, index: usize) -> Result<Option<Vec<i64>>, FormatError> {
        let info = &self.tensors[index];
        if !node::are_integers(info.dtype, info.bytes()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.read(index, &mut bytes)?;
        Ok(node::integers_of(info.dtype, &bytes))
    }
}

/// Checks that external bytes are inside their file and, if no length is given, end with it.
fn check_external(info: &TensorInfo, size: u64, offset: u64, whole: bool) -> Result<(), FormatError> {
    let end = offset.checked_add(info.bytes() as u64).filter(|&end| end <= size);
    let (code, cause) = match end {
        Some(end) if !whole || end == size => return Ok(()),
        Some(end) => {
            (Code::Malformed, format!("its external data ends at byte {end} of {size}, without a length"))
        }
        None => {
            (Code::Truncated, format!("its external data begins at byte {offset} of {size} and is truncated"))
        }
    };
    Err(FormatError::new(code, Place::Tensor(info.name.clone()), cause))
}

impl TensorFile for OnnxFile {
    fn format(&self) -> FileFormat {
        FileFormat::Onnx
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let info = &self.tensors[index];
        match &self.places[index] {
            Placed::Bytes { source, offset } => *out = read_range(source, *offset, info.bytes() as u64)?,
            Placed::Typed { start, end } => {
                out.clear();
                read_typed(&self.source, *start, *end, info, out)?;
            }
        }
        Ok(())
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        if let Placed::Bytes { source, offset } = &self.places[index] {
            return read_pieces(source, *offset, self.tensors[index].bytes() as u64, sink);
        }
        read_at_once(self, index, sink)
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }
}
