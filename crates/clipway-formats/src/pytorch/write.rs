//! Writing state dicts as PyTorch zip archives.

use std::collections::HashSet;
use std::io::{self, Seek, Write};

use super::emit;
use crate::error::shown;
use crate::shape::contiguous_bytes;
use crate::tensor::TensorInfo;
use crate::zip::ZipWriter;

/// The folder in the archive; PyTorch uses this name if it knows no file name.
const FOLDER: &str = "archive";
/// Alignment of entries in bytes, as in PyTorch.
const ALIGNMENT: u64 = 64;

/// Writes a state dict, an ordered dictionary of contiguous tensors, in the zip layout of PyTorch 1.6 and later: with
/// stored, aligned and checksummed entries, which `torch.load` accepts with `weights_only=True` and `mmap=True`. The
/// same tensors give the same bytes.
///
/// `provide` writes the bytes of a tensor, row-major and little-endian; it is called once per tensor, in order. The
/// output starts at `out`'s position, and `out` is left at its end.
///
/// # Errors
/// Errors from writing or from `provide`; `InvalidInput` if a name is a duplicate or has a control character, or if
/// `provide` writes more or fewer bytes than dtype and shape require.
pub fn write_pytorch<W: Write + Seek>(
    out: &mut W,
    tensors: &[TensorInfo],
    mut provide: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    check(tensors)?;
    let mut archive = ZipWriter::new(out, ALIGNMENT)?;
    let mut names_hash = Fnv::new();
    let mut record = |archive: &mut ZipWriter<'_, W>, name: &str, bytes: &[u8]| {
        names_hash.update(name.as_bytes());
        archive.add(format!("{FOLDER}/{name}"), bytes.len() as u64, |out| out.write_all(bytes))
    };
    record(&mut archive, "data.pkl", &emit::state_dict(tensors))?;
    record(&mut archive, "byteorder", b"little")?;
    for (index, info) in tensors.iter().enumerate() {
        let name = format!("{FOLDER}/data/{index}");
        archive.add(name, info.bytes() as u64, |out| provide(index, out)).map_err(|error| {
            match error.kind() {
                io::ErrorKind::InvalidInput => {
                    io::Error::new(error.kind(), format!("tensor `{}`: {error}", shown(&info.name)))
                }
                _ => error,
            }
        })?;
    }
    record(&mut archive, "version", b"3\n")?;
    let mut contents_hash = Fnv::new();
    archive.checksums().for_each(|crc| contents_hash.update(&crc.to_le_bytes()));
    let id = format!("{:020}{:020}", names_hash.0, contents_hash.0);
    archive.add(format!("{FOLDER}/.data/serialization_id"), id.len() as u64, |out| {
        out.write_all(id.as_bytes())
    })?;
    archive.finish()
}

fn check(tensors: &[TensorInfo]) -> io::Result<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    for info in tensors {
        let cause = if !names.insert(info.name.as_str()) {
            "the name occurs twice"
        } else if info.name.chars().any(char::is_control) {
            "the name has a control character"
        } else if contiguous_bytes(info.dtype, &info.shape).is_none() {
            "the size overflows"
        } else {
            continue;
        };
        let cause = format!("tensor `{}`: {cause}", shown(&info.name));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
    }
    Ok(())
}

/// FNV-1a, used to identify the content in the `serialization_id` record.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
