//! The position of everything in a written model.

use std::io::{self, Write};

use super::OnnxGraph;
use super::encode::{Encoder, graph_end, graph_start, model_end, model_start, tensor_start};
use crate::error::{Code, FormatError, Place, shown};
use crate::json::first_duplicate;
use crate::path::escape;
use crate::tensor::TensorInfo;

/// Maximum size of a model file: protobuf readers accept files below 2 GiB, and some of them copy messages.
const LARGEST_MODEL: u64 = (1 << 31) - (1 << 26);

/// Tensors with fewer bytes stay in the model file: runtimes look at their elements while loading, and alignment would
/// cost as much as they hold.
const SMALLEST_EXTERNAL: u64 = 1 << 14;

/// Alignment of external tensors, so that they can be mapped into memory.
const ALIGNMENT: u64 = 4096;

/// When to put the elements of large tensors into a separate file, and its name beside the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnnxExternal<'a> {
    /// Only if the model would not fit into a single file.
    WhereNeeded(&'a str),
    /// Always.
    Always(&'a str),
}

/// The position of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxPlace {
    /// Whether they are in the external data file instead of the model.
    pub external: bool,
    /// Offset of their first byte in that file.
    pub offset: u64,
}

/// Everything in a model's files except the elements of its tensors, whose positions it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxLayout {
    /// Bytes of the model file with their offsets; the gaps are tensors.
    pieces: Vec<(u64, Vec<u8>)>,
    places: Vec<OnnxPlace>,
    model_size: u64,
    external: Option<(String, u64)>,
}

impl OnnxLayout {
    /// Lays out the files of a graph.
    ///
    /// # Errors
    /// `Code::Duplicate` for duplicate names of nodes or initializers, `Code::PathEscape` if the name of the external
    /// data is not a bare file name, `Code::TooLarge` for a model file that protobuf cannot represent.
    pub fn new(graph: &OnnxGraph, external: OnnxExternal<'_>) -> Result<OnnxLayout, FormatError> {
        check_names(graph)?;
        let (name, always) = match external {
            OnnxExternal::WhereNeeded(name) => (name, false),
            OnnxExternal::Always(name) => (name, true),
        };
        if escape(name).is_some() || name.contains('/') {
            let cause = format!("external data in `{}`, which is not a bare file name", shown(name));
            return Err(FormatError::new(Code::PathEscape, Place::File, cause));
        }
        let bytes: u64 = graph.initializers.iter().map(|info| info.bytes() as u64).sum();
        let split = always || bytes >= LARGEST_MODEL;
        let mut end = 0u64;
        let mut tensors = Vec::with_capacity(graph.initializers.len());
        for info in &graph.initializers {
            let length = info.bytes() as u64;
            let start = (split && length >= SMALLEST_EXTERNAL).then(|| end.next_multiple_of(ALIGNMENT));
            end = start.map_or(end, |start| start + length);
            tensors.push((start, tensor_start(info, start.map(|start| (name, start))).bytes));
        }
        let layout = arrange(graph, &tensors, split.then(|| (name.to_owned(), end)));
        check_size(layout.model_size)?;
        Ok(layout)
    }

    /// Bytes of the model file around the tensors, with their offsets.
    pub fn pieces(&self) -> &[(u64, Vec<u8>)] {
        &self.pieces
    }

    /// Position of the elements of initializer `index`.
    pub fn place(&self, index: usize) -> OnnxPlace {
        self.places[index]
    }

    /// Size of the model file in bytes.
    pub fn model_size(&self) -> u64 {
        self.model_size
    }

    /// Name and size of the external data file, if there is one.
    pub fn external(&self) -> Option<(&str, u64)> {
        self.external.as_ref().map(|(name, size)| (name.as_str(), *size))
    }
}

/// Writes the files of a model from front to back; `bytes_of` returns the little-endian elements of an initializer.
/// Only one tensor is in memory at a time.
///
/// # Errors
/// Errors from writing or from `bytes_of`; `InvalidInput` if the number of bytes does not match dtype and shape.
pub fn write_onnx<B: AsRef<[u8]>>(
    graph: &OnnxGraph,
    layout: &OnnxLayout,
    model: &mut dyn Write,
    external: &mut dyn Write,
    mut bytes_of: impl FnMut(usize) -> io::Result<B>,
) -> io::Result<()> {
    let mut ends = [0, 0];
    let mut pieces = layout.pieces.iter().peekable();
    for (index, info) in graph.initializers.iter().enumerate() {
        let place = layout.places[index];
        if !place.external {
            while let Some((offset, bytes)) = pieces.next_if(|(offset, _)| *offset < place.offset) {
                model.write_all(bytes)?;
                ends[0] = offset + bytes.len() as u64;
            }
        }
        let bytes = bytes_of(index)?;
        let (found, expected) = (bytes.as_ref().len(), info.bytes());
        if found != expected {
            let cause = format!("expected {expected} bytes, found {found}");
            let error = FormatError::new(Code::BadValue, Place::Tensor(info.name.clone()), cause);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let (out, end): (&mut dyn Write, _) =
            if place.external { (&mut *external, &mut ends[1]) } else { (&mut *model, &mut ends[0]) };
        out.write_all(&vec![0; (place.offset - *end) as usize])?;
        out.write_all(bytes.as_ref())?;
        *end = place.offset + found as u64;
    }
    for (_, bytes) in pieces {
        model.write_all(bytes)?;
    }
    Ok(())
}

/// Nests the messages. For each initializer, returns the start of its message, and its offset if it is external.
fn arrange(
    graph: &OnnxGraph,
    tensors: &[(Option<u64>, Vec<u8>)],
    external: Option<(String, u64)>,
) -> OnnxLayout {
    let within = |info: &TensorInfo, start: Option<u64>| start.map_or(info.bytes() as u64, |_| 0);
    let mut fields = Vec::with_capacity(tensors.len());
    for (info, (start, message)) in graph.initializers.iter().zip(tensors) {
        let mut field = Encoder::default();
        field.open(5, message.len() as u64 + within(info, *start));
        field.bytes.extend_from_slice(message);
        fields.push(field.bytes);
    }
    let (first, last) = (graph_start(graph).bytes, graph_end(graph).bytes);
    let lengths = fields.iter().zip(&graph.initializers).zip(tensors);
    let initializers: u64 =
        lengths.map(|((field, info), (start, _))| field.len() as u64 + within(info, *start)).sum();
    let mut text = model_start(graph);
    text.open(7, first.len() as u64 + initializers + last.len() as u64);
    text.bytes.extend(first);

    let mut layout = OnnxLayout { pieces: Vec::new(), places: Vec::new(), model_size: 0, external };
    let (mut piece, mut piece_start) = (text.bytes, 0u64);
    for ((field, info), (start, _)) in fields.into_iter().zip(&graph.initializers).zip(tensors) {
        piece.extend(field);
        layout.places.push(match *start {
            Some(offset) => OnnxPlace { external: true, offset },
            None => {
                let offset = piece_start + piece.len() as u64;
                layout.pieces.push((piece_start, std::mem::take(&mut piece)));
                piece_start = offset + info.bytes() as u64;
                OnnxPlace { external: false, offset }
            }
        });
    }
    piece.extend(last);
    piece.extend(model_end(graph).bytes);
    layout.model_size = piece_start + piece.len() as u64;
    layout.pieces.push((piece_start, piece));
    layout
}

fn check_size(size: u64) -> Result<(), FormatError> {
    if size < LARGEST_MODEL {
        return Ok(());
    }
    let cause = format!("a model file of {size} bytes; protobuf's limit is 2 GiB");
    Err(FormatError::new(Code::TooLarge, Place::File, cause))
}

fn check_names(graph: &OnnxGraph) -> Result<(), FormatError> {
    let twice = |place: Place, what: &str| Err(FormatError::new(Code::Duplicate, place, what.to_owned()));
    if let Some((name, _)) = first_duplicate(graph.initializers.iter().map(|info| (info.name.as_str(), 0))) {
        return twice(Place::Tensor(name.to_owned()), "duplicate name");
    }
    if let Some((name, _)) = first_duplicate(graph.nodes.iter().map(|node| (node.name.as_str(), 0))) {
        return twice(Place::File, &format!("two nodes have the name `{name}`"));
    }
    if let Some((key, _)) = first_duplicate(graph.metadata.iter().map(|(key, _)| (key.as_str(), 0))) {
        return twice(Place::File, &format!("duplicate metadata key `{key}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Code, LARGEST_MODEL, check_size};

    #[test]
    fn models_are_smaller_than_protobuf_holds() {
        assert_eq!(check_size(LARGEST_MODEL - 1), Ok(()));
        assert_eq!(check_size(LARGEST_MODEL).map_err(|error| error.code), Err(Code::TooLarge));
    }
}
