//! Weight files: written tensor by tensor, hashed on the way, read back and compared.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use clipway_formats::{
    FormatError, SafetensorsLayout, TensorFile, TensorInfo, sharded_index_json, write_pytorch,
};
use sha2::{Digest, Sha256};

use super::jobs::{Run, largest_first, run_jobs};
use super::writer::{Writer, WrittenFiles, WrittenTensor};
use super::{ExportError, TokenizerParts};
use crate::artifact::{hex, open_weights};
use crate::input;
use crate::output::{OutputError, StagedFile, Staging};
use crate::plan::{ApplyError, PartSink, PlannedTensor, apply_together, rounded_together};
use crate::spelling::WeightsFormat;
use crate::state_dict::StateDict;

/// What to write, and from what.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) planned: &'a [PlannedTensor],
    pub(super) source: &'a StateDict,
    pub(super) source_path: &'a std::path::Path,
    /// Names of the files in each format.
    pub(super) names: &'static [(WeightsFormat, [&'static str; 2])],
    /// Most bytes of a file.
    pub(super) most_bytes: Option<u64>,
    pub(super) run: Run<'a>,
}

impl Writer for Job<'_> {
    /// Writes all tensors, in files of at most this many bytes of weights unless a single tensor is larger.
    fn write(&self, staging: &Staging, format: WeightsFormat) -> Result<WrittenFiles, ExportError> {
        let shards = shards(self.planned, self.most_bytes);
        let mut written = WrittenFiles::new(format);
        let mut map = Vec::new();
        let named = self.names.iter().find(|(named, _)| *named == format);
        let (_, [stem, extension]) = named.expect("a target has names for the format that it is written in");
        for (number, shard) in shards.iter().enumerate() {
            let name = match shards.len() {
                1 => format!("{stem}.{extension}"),
                count => format!("{stem}-{:05}-of-{count:05}.{extension}", number + 1),
            };
            let file = staging.file(&name)?;
            let part = Job { planned: shard, ..*self };
            written.tensors.extend(match format {
                WeightsFormat::Safetensors => part.write_safetensors(&file)?,
                WeightsFormat::Pytorch => part.write_pytorch(&file)?,
                WeightsFormat::Onnx => unreachable!("graphs have a writer of their own"),
            });
            map.extend(shard.iter().map(|planned| (planned.target.name.clone(), name.clone())));
            written.names.push(name);
        }
        if shards.len() > 1 {
            let bytes = self.planned.iter().map(|planned| planned.target.bytes() as u64).sum();
            let name = format!("{stem}.{extension}.index.json");
            written.index = Some((name, sharded_index_json(&map, bytes)));
        }
        Ok(written)
    }

    /// Reads the files back and compares every name, dtype, shape and hash.
    fn read_back(&self, staging: &Staging, written: &WrittenFiles) -> Result<(), ExportError> {
        let mut first = 0;
        for name in &written.names {
            let path = staging.folder().join(name);
            let refuse = |cause: String| ExportError::ReadBack { path: staging.target().join(name), cause };
            let source = input::open(&path, input::Kind::Written).map_err(|error| refuse(error.why()))?;
            let file = open_weights(source).map_err(|error| refuse(error.to_string()))?;
            let found = file.tensors();
            let expected = &self.planned[first..(first + found.len()).min(self.planned.len())];
            if !found.iter().eq(expected.iter().map(|planned| &planned.target)) {
                return Err(refuse("it contains other tensors than were written".to_owned()));
            }
            let hashes = hash_tensors(file.as_ref(), &|bytes| self.run.advance(bytes), &|cause| {
                refuse(cause.to_string())
            })?;
            for (offset, hash) in hashes.iter().enumerate() {
                if *hash != written.tensors[first + offset].sha256 {
                    return Err(refuse(format!(
                        "tensor `{}` differs from what was written",
                        found[offset].name
                    )));
                }
            }
            first += found.len();
        }
        if first == self.planned.len() {
            return Ok(());
        }
        let path = staging.target().to_owned();
        Err(ExportError::ReadBack { path, cause: "some written tensors are missing".to_owned() })
    }

    fn files(
        &self,
        tokenizer: &TokenizerParts,
        _: &[WrittenFiles],
    ) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        Ok(tokenizer.files.clone())
    }
}

impl Job<'_> {
    fn infos(&self) -> Vec<TensorInfo> {
        self.planned.iter().map(|planned| planned.target.clone()).collect()
    }

    fn refuse_layout(&self) -> impl Fn(FormatError) -> ExportError {
        let path = self.source_path.to_owned();
        move |cause| ExportError::Read { path: path.clone(), cause }
    }

    /// Writes tensors in parallel, each at its own offsets.
    fn write_safetensors(&self, file: &StagedFile) -> Result<Vec<WrittenTensor>, ExportError> {
        let infos = self.infos();
        // PyTorch's and transformers' loaders require this entry.
        let metadata = [("format".to_owned(), "pt".to_owned())];
        let layout = SafetensorsLayout::new(&infos, &metadata).map_err(self.refuse_layout())?;
        file.set_length(layout.file_size())?;
        file.write_all_at(0, layout.header_bytes())?;
        let groups = rounded_together(self.planned);
        let size = |group: &Range<usize>| infos[group.clone()].iter().map(TensorInfo::bytes).sum();
        let sizes: Vec<usize> = groups.iter().map(size).collect();
        let written = run_jobs(&largest_first(&sizes), &|index| {
            let group = groups[index].clone();
            let mut offsets: Vec<u64> = group.clone().map(|index| layout.offset_of(index)).collect();
            self.make(group, &mut |place, bytes| {
                file.write_all_at(offsets[place], bytes)?;
                offsets[place] += bytes.len() as u64;
                Ok(())
            })
        })?;
        Ok(written.concat())
    }

    /// Writes tensors one after the other, as the format's checksums require.
    fn write_pytorch(&self, file: &Arc<StagedFile>) -> Result<Vec<WrittenTensor>, ExportError> {
        let mut written = Vec::with_capacity(self.planned.len());
        let mut failure = None;
        let mut out = SeekingFile { file, position: 0 };
        let result = write_pytorch(&mut out, &self.infos(), |index, out| {
            let mut write =
                |_, bytes: &[u8]| out.write_all(bytes).map_err(|source| write_error(file, source));
            match self.make(index..index + 1, &mut write) {
                Ok(tensors) => {
                    written.extend(tensors);
                    Ok(())
                }
                Err(error) => {
                    failure = Some(error);
                    Err(io::Error::other("see the failure"))
                }
            }
        });
        match (failure, result) {
            (Some(error), _) => Err(error),
            (None, Err(source)) => Err(write_error(file, source)),
            (None, Ok(())) => Ok(written),
        }
    }

    /// Makes tensors that are rounded together, or one, and passes their bytes to `sink`, with the place of the tensor among
    /// them, and to their hashes.
    fn make(
        &self,
        group: Range<usize>,
        sink: PartSink<'_, ExportError>,
    ) -> Result<Vec<WrittenTensor>, ExportError> {
        let mut hashes = vec![Sha256::new(); group.len()];
        let made = apply_together(&self.planned[group], self.source, &mut |place, bytes| {
            hashes[place].update(bytes);
            self.run.advance(bytes.len())?;
            sink(place, bytes)
        });
        match made {
            Ok(applied) => {
                let written = |hash| WrittenTensor { sha256: hex(hash), overflowed: applied.overflowed };
                Ok(hashes.into_iter().map(written).collect())
            }
            Err(ApplyError::Sink(error)) => Err(error),
            Err(ApplyError::Read(cause)) => Err(self.refuse_layout()(cause)),
        }
    }
}

/// SHA-256 of every tensor of a file, in parallel. `each` receives the size of each piece and may stop the work.
///
/// # Errors
/// The result of `refuse` for a tensor that cannot be read, or the error from `each`.
pub(crate) fn hash_tensors<E: Send>(
    file: &dyn TensorFile,
    each: &(dyn Fn(usize) -> Result<(), E> + Sync),
    refuse: &(dyn Fn(FormatError) -> E + Sync),
) -> Result<Vec<String>, E> {
    let sizes: Vec<usize> = file.tensors().iter().map(TensorInfo::bytes).collect();
    run_jobs(&largest_first(&sizes), &|index| {
        let mut hash = Sha256::new();
        let mut stopped = Ok(());
        let read = file.read_chunks(index, &mut |bytes| {
            if stopped.is_ok() {
                hash.update(bytes);
                stopped = each(bytes.len());
            }
        });
        stopped?;
        read.map_err(refuse)?;
        Ok(hex(hash))
    })
}

/// Groups tensors into runs of at most this many bytes; a larger tensor gets its own run.
fn shards(planned: &[PlannedTensor], most_bytes: Option<u64>) -> Vec<&[PlannedTensor]> {
    let Some(most) = most_bytes else { return vec![planned] };
    let (mut shards, mut start, mut bytes) = (Vec::new(), 0, 0u64);
    for (index, tensor) in planned.iter().enumerate() {
        let size = tensor.target.bytes() as u64;
        if index > start && bytes + size > most {
            shards.push(&planned[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    shards.push(&planned[start..]);
    shards
}

fn write_error(file: &StagedFile, source: io::Error) -> ExportError {
    let path = file.path().to_owned();
    ExportError::Output(OutputError::Io { action: "write", path, cause: source })
}

/// A staged file with a position, for writers that seek back.
struct SeekingFile<'a> {
    file: &'a StagedFile,
    position: u64,
}

impl Write for SeekingFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_all_at(self.position, bytes);
        written.map_err(|error| match error {
            OutputError::Io { cause, .. } => cause,
            other => io::Error::other(other),
        })?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SeekingFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(_) => None,
        };
        self.position = position.ok_or(io::ErrorKind::Unsupported)?;
        Ok(self.position)
    }
}
