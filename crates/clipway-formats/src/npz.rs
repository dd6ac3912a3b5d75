//! npz: numpy arrays in a zip archive.

use std::io::Read;
use std::sync::Arc;

use flate2::read::DeflateDecoder;

use crate::error::{Code, FormatError, Place};
use crate::json::first_duplicate;
use crate::npy::ArrayHeader;
use crate::source::{ReadAt, read_range};
use crate::tensor::{FileFormat, TensorFile, TensorInfo};
use crate::zip::{Method, ZipArchive, ZipEntry};

/// An open npz file. As in numpy, a tensor is named after its entry without `.npy`.
pub struct NpzFile {
    archive: ZipArchive,
    tensors: Vec<TensorInfo>,
    headers: Vec<ArrayHeader>,
}

impl NpzFile {
    /// Opens a file: checks the whole directory of the archive, and the header of every array. Reading the arrays
    /// checks their CRC.
    ///
    /// # Errors
    /// Whatever makes the archive ambiguous or damaged, and the errors of [`NpyFile::open`](crate::NpyFile::open) for
    /// its entries; `Code::TooLarge` for an archive that inflates far beyond its size, `Code::Duplicate` for two arrays
    /// with one name, `Code::Missing` if there is none.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<NpzFile, FormatError> {
        let archive = ZipArchive::open(source.clone())?;
        archive.check_inflation()?;
        let mut file = NpzFile { archive, tensors: Vec::new(), headers: Vec::new() };
        for entry in file.archive.entries() {
            let header = read_header(&source, entry)
                .and_then(|header| header.check_end(entry.size()).map(|()| header))
                .map_err(|error| in_entry(entry, error))?;
            let name = entry.name().strip_suffix(".npy").unwrap_or(entry.name());
            file.tensors.push(header.info(name.to_owned()));
            file.headers.push(header);
        }
        if file.tensors.is_empty() {
            return Err(FormatError::new(Code::Missing, Place::File, "the archive contains no arrays"));
        }
        let names = file.tensors.iter().map(|info| (info.name.as_str(), 0));
        if let Some((name, _)) = first_duplicate(names) {
            let cause = "two entries of the archive have this array name";
            return Err(FormatError::new(Code::Duplicate, Place::Tensor(name.to_owned()), cause));
        }
        Ok(file)
    }
}

/// Reads an array's header from the front of its entry, without the rest and so without its checksum.
fn read_header(source: &Arc<dyn ReadAt>, entry: &ZipEntry) -> Result<ArrayHeader, FormatError> {
    let left = source.size() - entry.data_offset();
    let wanted = ArrayHeader::LONGEST.min(entry.size());
    let front = match entry.method() {
        Method::Stored => read_range(source, entry.data_offset(), wanted.min(left))?,
        Method::Deflated => {
            // Deflate may slightly enlarge what it cannot compress.
            let packed = read_range(source, entry.data_offset(), (2 * ArrayHeader::LONGEST).min(left))?;
            let mut front = Vec::new();
            DeflateDecoder::new(&packed[..]).take(wanted).read_to_end(&mut front).map_err(|error| {
                FormatError::new(Code::Malformed, Place::Byte(0), format!("not a deflate stream: {error}"))
            })?;
            front
        }
    };
    ArrayHeader::read(&front)
}

/// Adds the entry to the place of an error that counts bytes from its start.
fn in_entry(entry: &ZipEntry, error: FormatError) -> FormatError {
    let place = match error.place {
        Place::Byte(offset) => Place::EntryByte(entry.name().to_owned(), offset),
        _ => Place::Entry(entry.name().to_owned()),
    };
    FormatError { place, ..error }
}

impl TensorFile for NpzFile {
    fn format(&self) -> FileFormat {
        FileFormat::Npz
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let header = &self.headers[index];
        let mut stored = std::mem::take(out);
        self.archive.read_range(index, header.data_offset, header.data_bytes(), &mut stored)?;
        *out = header.arrange(stored)?;
        Ok(())
    }
}
