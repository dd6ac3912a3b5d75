//! The tensors of a distributed checkpoint, joined from their parts.

use std::io;
use std::sync::Arc;

use super::super::{PytorchFile, PytorchOptions};
use super::{DistributedIndex, Part, Saved};
use crate::error::{Code, FormatError, Place};
use crate::memory::zeros;
use crate::shape::shown_shape;
use crate::source::ReadAt;
use crate::tensor::{FileFormat, TensorFile, TensorInfo, read_at_once};

/// The tensors of a distributed checkpoint, in the order of its `.metadata`.
pub struct DistributedFile {
    files: Vec<(String, Arc<dyn ReadAt>)>,
    tensors: Vec<TensorInfo>,
    saved: Vec<Saved>,
    options: PytorchOptions,
}

impl DistributedFile {
    /// Joins a description with its open files, in the order of [`DistributedIndex::files`]. Each part is checked to be
    /// an archive of one tensor with the stated dtype and shape.
    ///
    /// # Errors
    /// `Code::Truncated` for a part beyond the end of its file, `Code::Malformed` for bytes that belong to two parts
    /// and for a part that holds something else, and the errors of [`PytorchFile::open`].
    pub fn new(
        index: &DistributedIndex,
        files: Vec<Arc<dyn ReadAt>>,
        options: PytorchOptions,
    ) -> Result<DistributedFile, FormatError> {
        let files = index.files().iter().cloned().zip(files).collect();
        let tensors = index.saved.iter().map(|saved| saved.info.clone()).collect();
        let file = DistributedFile { files, tensors, saved: index.saved.clone(), options };
        file.check_places()?;
        for saved in &file.saved {
            for part in &saved.parts {
                file.open_part(&saved.info, part)?;
            }
        }
        Ok(file)
    }

    /// Checks that every part is inside its file, and that no two parts share bytes.
    fn check_places(&self) -> Result<(), FormatError> {
        let mut places = Vec::new();
        for saved in &self.saved {
            for part in &saved.parts {
                let name = &saved.info.name;
                let Some((file, source)) = self.files.get(part.file) else {
                    return Err(in_part(Code::Missing, name, "a part's file is not given"));
                };
                match part.start.checked_add(part.length) {
                    Some(end) if end <= source.size() => places.push((part.file, part.start, end, name)),
                    _ => {
                        let cause = format!("a part ends beyond the {} bytes of its file", source.size());
                        return Err(in_part(Code::Truncated, name, cause).in_shard(file));
                    }
                }
            }
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            let [(file, _, end, _), (next_file, start, _, name)] = pair else { continue };
            if file == next_file && start < end {
                let cause = "its bytes are also those of another part";
                return Err(in_part(Code::Malformed, name, cause).in_shard(&self.files[*file].0));
            }
        }
        Ok(())
    }

    /// Opens the archive of a part, and checks that it holds one tensor of the right dtype and shape.
    fn open_part(&self, info: &TensorInfo, part: &Part) -> Result<PytorchFile, FormatError> {
        let (name, source) = &self.files[part.file];
        let window = Window { source: Arc::clone(source), start: part.start, length: part.length };
        let opened = PytorchFile::open_tensor(Arc::new(window), self.options);
        let opened = opened.map_err(|error| error.in_shard(name))?;
        let found = &opened.tensors()[0];
        if (found.dtype, &found.shape) != (info.dtype, &part.sizes) {
            let cause = format!(
                "expected a part of dtype {} and shape {}, found {} and {}",
                info.dtype.name(),
                shown_shape(&part.sizes),
                found.dtype.name(),
                shown_shape(&found.shape)
            );
            return Err(in_part(Code::Malformed, &info.name, cause).in_shard(name));
        }
        Ok(opened)
    }

    fn read_part(&self, saved: &Saved, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let opened = self.open_part(&saved.info, part)?;
        opened.read(0, out).map_err(|error| error.in_shard(&self.files[part.file].0))
    }
}

impl TensorFile for DistributedFile {
    fn format(&self) -> FileFormat {
        FileFormat::PytorchDistributed
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let saved = &self.saved[index];
        if let [part] = &saved.parts[..] {
            return self.read_part(saved, part, out);
        }
        let place = || Place::Tensor(saved.info.name.clone());
        *out = zeros(saved.info.bytes(), place)?;
        let mut bytes = Vec::new();
        for part in &saved.parts {
            self.read_part(saved, part, &mut bytes)?;
            place_part(&saved.info, part, &bytes, out);
        }
        Ok(())
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let saved = &self.saved[index];
        // Parts that are cut along the first dimension only follow one another.
        if saved.parts.iter().all(|part| part.sizes.iter().skip(1).eq(saved.info.shape.iter().skip(1))) {
            for part in &saved.parts {
                let opened = self.open_part(&saved.info, part)?;
                let read = opened.read_chunks(0, sink);
                read.map_err(|error| error.in_shard(&self.files[part.file].0))?;
            }
            return Ok(());
        }
        read_at_once(self, index, sink)
    }
}

/// Copies a part's rows to where they belong in the whole tensor.
fn place_part(info: &TensorInfo, part: &Part, bytes: &[u8], out: &mut [u8]) {
    let size = info.dtype.size();
    let Some((&width, outer)) = part.sizes.split_last() else {
        out.copy_from_slice(bytes);
        return;
    };
    if width == 0 {
        return;
    }
    for (row, content) in bytes.chunks_exact(width * size).enumerate() {
        // The row's index in each outer dimension, from the innermost outwards, and so its place in the whole.
        let (mut left, mut at, mut stride) = (row, part.offsets[outer.len()], info.shape[outer.len()]);
        for dimension in (0..outer.len()).rev() {
            at += (part.offsets[dimension] + left % outer[dimension]) * stride;
            left /= outer[dimension];
            stride *= info.shape[dimension];
        }
        out[at * size..][..content.len()].copy_from_slice(content);
    }
}

fn in_part(code: Code, tensor: &str, cause: impl Into<String>) -> FormatError {
    FormatError::new(code, Place::Tensor(tensor.to_owned()), cause)
}

/// Part of a file, read as a file.
struct Window {
    source: Arc<dyn ReadAt>,
    start: u64,
    length: u64,
}

impl ReadAt for Window {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.length => self.source.read_exact_at(self.start + offset, buffer),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
