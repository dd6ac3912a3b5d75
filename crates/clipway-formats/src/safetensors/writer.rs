//! Writing safetensors: the header first, then bytes at offsets known beforehand.

use std::io::{self, Write};

use crate::error::{Code, FormatError, Place};
use crate::json::{first_duplicate, push_json_string};
use crate::name::Names;
use crate::safetensors::{LONGEST_HEADER, METADATA_KEY, MOST_TENSORS};
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes, shown_shape};
use crate::tensor::TensorInfo;

/// Alignment of the header, including its length, in bytes.
const ALIGNMENT: usize = 8;

/// Maximum size of all tensors; with the header, they still fit into a file.
const LARGEST_DATA: u64 = i64::MAX as u64 - 2 * LONGEST_HEADER;

/// The position of everything in a safetensors file. The same tensors and metadata give the same layout.
///
/// The header names the tensors in the given order. Their data has that order too if every tensor is then aligned to
/// its element size, which the reference's PyTorch reader needs; otherwise, larger elements come first.
///
/// Tensors may be written in any order and by several threads, each at its [`offset_of`](Self::offset_of).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsLayout {
    header: Vec<u8>,
    /// Indices of the tensors in the order of their data.
    order: Vec<usize>,
    /// Offset in the file of each tensor.
    offsets: Vec<u64>,
    size: u64,
}

impl SafetensorsLayout {
    /// Lays out a file of `tensors`, with `metadata` if it is not empty.
    ///
    /// # Errors
    /// `Code::Duplicate` for a duplicate name or metadata key, `Code::BadValue` for a name that the format does not
    /// allow, `Code::TooLarge` over the reader's limits.
    pub fn new(tensors: &[TensorInfo], metadata: &[(String, String)]) -> Result<Self, FormatError> {
        check_names(tensors, metadata)?;
        let lengths = tensors.iter().map(length_of).collect::<Result<Vec<u64>, FormatError>>()?;
        let order = data_order(tensors, &lengths);
        let mut begins = vec![0; tensors.len()];
        let mut end = 0u64;
        for &index in &order {
            begins[index] = end;
            end = end.checked_add(lengths[index]).filter(|&end| end <= LARGEST_DATA).ok_or_else(|| {
                FormatError::new(Code::TooLarge, Place::File, "the tensors are too large for one file")
            })?;
        }
        let header = header_bytes(tensors, metadata, &begins, &lengths)?;
        let data = header.len() as u64;
        let offsets = begins.iter().map(|begin| data + begin).collect();
        Ok(SafetensorsLayout { header, order, offsets, size: data + end })
    }

    /// First bytes of the file: the header's length and the header, a multiple of 8 bytes.
    pub fn header_bytes(&self) -> &[u8] {
        &self.header
    }

    /// Offset in the file of the first byte of tensor `index`.
    pub fn offset_of(&self, index: usize) -> u64 {
        self.offsets[index]
    }

    /// Indices of the tensors in the order of their data in the file, without holes.
    pub fn data_order(&self) -> &[usize] {
        &self.order
    }

    /// Size of the file in bytes.
    pub fn file_size(&self) -> u64 {
        self.size
    }
}

/// Writes a whole file from front to back; `bytes_of` returns the little-endian bytes of a tensor.
///
/// # Errors
/// Errors from writing or from `bytes_of`; `InvalidInput` if the layout is refused or the number of bytes does not
/// match dtype and shape.
pub fn write_safetensors<B: AsRef<[u8]>>(
    out: &mut dyn Write,
    tensors: &[TensorInfo],
    metadata: &[(String, String)],
    mut bytes_of: impl FnMut(usize) -> io::Result<B>,
) -> io::Result<()> {
    let invalid = |error: FormatError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let layout = SafetensorsLayout::new(tensors, metadata).map_err(invalid)?;
    out.write_all(layout.header_bytes())?;
    for &index in layout.data_order() {
        let (bytes, expected) = (bytes_of(index)?, tensors[index].bytes());
        let found = bytes.as_ref().len();
        if found != expected {
            let place = Place::Tensor(tensors[index].name.clone());
            let cause = format!("expected {expected} bytes, found {found}");
            return Err(invalid(FormatError::new(Code::BadValue, place, cause)));
        }
        out.write_all(bytes.as_ref())?;
    }
    Ok(())
}

fn check_names(tensors: &[TensorInfo], metadata: &[(String, String)]) -> Result<(), FormatError> {
    if tensors.len().max(metadata.len()) > MOST_TENSORS {
        let cause = format!("more than {MOST_TENSORS} tensors or metadata keys");
        return Err(FormatError::new(Code::TooLarge, Place::File, cause));
    }
    if let Some((name, _)) = first_duplicate(tensors.iter().map(|info| (info.name.as_str(), 0))) {
        return Err(FormatError::new(Code::Duplicate, Place::Tensor(name.to_owned()), "duplicate name"));
    }
    if let Some((key, _)) = first_duplicate(metadata.iter().map(|(key, _)| (key.as_str(), 0))) {
        let place = Place::Json(format!("$.{METADATA_KEY}.{key}"));
        return Err(FormatError::new(Code::Duplicate, place, "duplicate key"));
    }
    if let Some(info) = tensors.iter().find(|info| info.name == METADATA_KEY) {
        let cause = "safetensors does not allow this name";
        return Err(FormatError::new(Code::BadValue, Place::Tensor(info.name.clone()), cause));
    }
    let mut names = Names::new();
    tensors.iter().try_for_each(|info| names.check(&info.name))
}

fn length_of(info: &TensorInfo) -> Result<u64, FormatError> {
    let length = contiguous_bytes(info.dtype, &info.shape).filter(|_| info.shape.len() <= MOST_DIMENSIONS);
    length.map(|bytes| bytes as u64).ok_or_else(|| {
        let cause = format!("{} {} is too large", info.dtype, shown_shape(&info.shape));
        FormatError::new(Code::TooLarge, Place::Tensor(info.name.clone()), cause)
    })
}

/// The given order if all tensors are aligned in it, otherwise by decreasing element size.
fn data_order(tensors: &[TensorInfo], lengths: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    let mut end = 0u64;
    let aligned = order.iter().all(|&index| {
        let begin = end;
        end = end.wrapping_add(lengths[index]);
        begin.is_multiple_of(tensors[index].dtype.size() as u64)
    });
    if !aligned {
        order.sort_by_key(|&index| std::cmp::Reverse(tensors[index].dtype.size()));
    }
    order
}

fn header_bytes(
    tensors: &[TensorInfo],
    metadata: &[(String, String)],
    begins: &[u64],
    lengths: &[u64],
) -> Result<Vec<u8>, FormatError> {
    let mut members = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<String> = metadata.iter().map(|(key, value)| pair(key, &quoted(value))).collect();
        members.push(pair(METADATA_KEY, &format!("{{{}}}", pairs.join(","))));
    }
    for ((info, begin), length) in tensors.iter().zip(begins).zip(lengths) {
        let shape: Vec<String> = info.shape.iter().map(usize::to_string).collect();
        let (dtype, shape, end) = (info.dtype, shape.join(","), begin + length);
        let record = format!(r#"{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]}}"#);
        members.push(pair(&info.name, &record));
    }
    let mut header = format!("{{{}}}", members.join(","));
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(ALIGNMENT) - header.len()));
    let length = header.len() as u64;
    if length > LONGEST_HEADER {
        let cause = format!("a header of {length} bytes; the limit is {LONGEST_HEADER}");
        return Err(FormatError::new(Code::TooLarge, Place::File, cause));
    }
    Ok([&length.to_le_bytes(), header.as_bytes()].concat())
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_json_string(&mut out, text);
    out
}

fn pair(key: &str, value: &str) -> String {
    format!("{}:{value}", quoted(key))
}
