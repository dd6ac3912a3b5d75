//! Properties that hold for every tensor file.

use std::io::Cursor;
use std::sync::Arc;

use clipway_formats::{
    FormatError, PickleKind, PickleValue, PytorchFile, PytorchOptions, ReadAt, SafetensorsFile, TensorFile,
    TensorInfo, write_pytorch, write_safetensors,
};

use crate::check_message;
use crate::memory::{bounded, limited};

/// Maximum tensor bytes read per input, kept low so that runs stay fast.
const MOST_READ: usize = 1 << 20;

/// Memory that reading a tensor may take beyond three times its size: as stored, rearranged, and handed on.
const READING: usize = 8 << 20;

/// Tensors and their bytes.
type Content = Vec<(TensorInfo, Result<Vec<u8>, FormatError>)>;

/// Opens an input twice, once within its memory limit, expects the same result and checks it; then writes it in our two
/// formats and reads it back.
///
/// # Panics
/// If any of this fails.
pub fn check_file<F: TensorFile + 'static>(
    input: &[u8],
    open: impl Fn(Arc<dyn ReadAt>) -> Result<F, FormatError>,
) -> Option<Arc<F>> {
    let first = bounded(input.len(), || open(Arc::new(input.to_vec())));
    let second = open(Arc::new(input.to_vec()));
    let (first, second) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(first), Err(second)) => {
            assert_eq!(first, second, "two refusals of one input");
            check_message(&first);
            return None;
        }
        _ => panic!("accepted and refused"),
    };
    assert_eq!(first.tensors(), second.tensors(), "two readings of one input");
    let names: std::collections::HashSet<&str> =
        first.tensors().iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names.len(), first.tensors().len(), "a name twice");
    let content = read(&first);
    assert_eq!(content, read(&second), "two readings of one input");
    if content.len() == first.tensors().len()
        && let Some(whole) =
            content.into_iter().map(|(info, bytes)| Some((info, bytes.ok()?))).collect::<Option<Vec<_>>>()
    {
        write_and_read(&whole);
    }
    Some(Arc::new(first))
}

/// Reads the tensors, up to the reading limit.
fn read(file: &dyn TensorFile) -> Content {
    let mut content = Content::new();
    let mut left = MOST_READ;
    for (index, info) in file.tensors().iter().enumerate() {
        let Some(fewer) = left.checked_sub(info.bytes()) else { break };
        left = fewer;
        let bytes = limited(3 * info.bytes() + READING, || read_one(file, index));
        if let Ok(bytes) = &bytes {
            assert_eq!(bytes.len(), info.bytes(), "bytes of `{}`", info.name);
        }
        content.push((info.clone(), bytes));
    }
    content
}

fn read_one(file: &dyn TensorFile, index: usize) -> Result<Vec<u8>, FormatError> {
    let size = file.tensors()[index].dtype.size();
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let read = file.read(index, &mut whole);
    let streamed = file.read_chunks(index, &mut |piece| {
        assert_eq!(piece.len() % size, 0, "a piece of half elements");
        pieces.extend_from_slice(piece);
    });
    if let (Err(read), Err(_)) = (&read, &streamed) {
        check_message(read);
        return Err(read.clone());
    }
    assert_eq!(read, streamed, "whole and in pieces");
    assert_eq!(whole, pieces, "whole and in pieces");
    Ok(whole)
}

/// Checks that tensors survive writing and reading, unless a format cannot hold one of the names.
fn write_and_read(content: &[(TensorInfo, Vec<u8>)]) {
    let infos: Vec<TensorInfo> = content.iter().map(|(info, _)| info.clone()).collect();
    let mut bytes = Vec::new();
    if write_safetensors(&mut bytes, &infos, &[], |index| Ok(&content[index].1)).is_ok() {
        same(content, &SafetensorsFile::open(Arc::new(bytes)).expect("our own safetensors file"));
    }
    let mut out = Cursor::new(Vec::new());
    if !infos.is_empty()
        && write_pytorch(&mut out, &infos, |index, out| out.write_all(&content[index].1)).is_ok()
    {
        let file = PytorchFile::open(Arc::new(out.into_inner()), PytorchOptions::default());
        same(content, &file.expect("our own PyTorch file"));
    }
}

fn same(content: &[(TensorInfo, Vec<u8>)], file: &dyn TensorFile) {
    assert_eq!(content.len(), file.tensors().len(), "tensors after writing");
    let mut bytes = Vec::new();
    for (index, (info, expected)) in content.iter().enumerate() {
        assert_eq!(*info, file.tensors()[index], "a tensor after writing");
        file.read(index, &mut bytes).expect("our own file");
        assert_eq!(*expected, bytes, "bytes of `{}` after writing", info.name);
    }
}

/// Checks a PyTorch file: its tensors and its other contents, with and without its dangerous parts.
///
/// # Panics
/// If any property fails.
pub fn check_pytorch(input: &[u8]) {
    let strict = check_file(input, |source| PytorchFile::open(source, PytorchOptions::default()));
    let opaque = PytorchFile::open(Arc::new(input.to_vec()), PytorchOptions { allow_opaque: true });
    let Ok(opaque) = opaque else {
        assert!(strict.is_none(), "refused only where more is allowed");
        return;
    };
    let is_dangerous = opaque.globals().iter().any(|global| global.kind.name() == "dangerous");
    if let Some(strict) = strict {
        assert!(!is_dangerous, "a dangerous global that was accepted");
        assert_eq!(strict.tensors(), opaque.tensors(), "the same tensors, whatever is allowed");
    }
    for index in 0..opaque.tensors().len() {
        let _ = (opaque.shares_storage(index), opaque.storage_bytes(opaque.storage_of(index)));
    }
    walk(opaque.value(), &mut 1000);
}

/// Visits values, level by level, as far as `left` allows.
fn walk(root: PickleValue<'_>, left: &mut usize) {
    let mut level = vec![root];
    while let Some(value) = level.pop() {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        if let PickleKind::Str(text) = value.kind() {
            assert_eq!(value.as_str(), Some(text));
        }
        level.extend(value.entries().take(100).flat_map(|(key, value)| [key, value]));
    }
}
