//! The JSON header, checked as far as possible without the size of the file.

use std::borrow::Cow;

use crate::dtype::Dtype;
use crate::error::{Code, FormatError, Place, shown};
use crate::json::{Reader, first_duplicate};
use crate::name::Names;
use crate::safetensors::{METADATA_KEY, MOST_TENSORS};
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes, shown_shape};
use crate::tensor::TensorInfo;

/// Maximum nesting of a header: the header, a tensor, its shape.
const DEEPEST: usize = 3;

/// A header as stored in the file.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) tensors: Vec<TensorInfo>,
    /// Byte range of each tensor, counted from the end of the header.
    pub(super) ranges: Vec<(u64, u64)>,
    pub(super) metadata: Vec<(String, String)>,
}

impl Header {
    /// Parses `bytes`, which are at offset `base` of the file.
    pub(super) fn parse(bytes: &[u8], base: u64) -> Result<Header, FormatError> {
        if bytes.first() != Some(&b'{') {
            let cause = "a safetensors header begins with `{`";
            return Err(FormatError::new(Code::Malformed, Place::Byte(base), cause));
        }
        let mut header = Header::default();
        let mut has_metadata = false;
        let mut key_offsets = Vec::new();
        let mut names = Names::new();
        let mut reader = Reader::new(bytes, base, DEEPEST)?;
        reader.object(|reader, key, offset| {
            if key == METADATA_KEY {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(duplicate(&key, offset));
                }
                header.metadata = read_metadata(reader)?;
                return Ok(());
            }
            if header.tensors.len() == MOST_TENSORS {
                let cause = format!("more than {MOST_TENSORS} tensors");
                return Err(reader.error_at(offset, Code::TooLarge, cause));
            }
            names.check(&key)?;
            let (info, range) = read_tensor(reader, key)?;
            header.tensors.push(info);
            header.ranges.push(range);
            key_offsets.push(offset);
            Ok(())
        })?;
        reader.end()?;
        let names = header.tensors.iter().zip(&key_offsets).map(|(info, &at)| (info.name.as_str(), at));
        if let Some((name, offset)) = first_duplicate(names) {
            return Err(duplicate(name, offset));
        }
        Ok(header)
    }
}

fn duplicate(key: &str, offset: u64) -> FormatError {
    let cause = format!("duplicate key `{}`", shown(key));
    FormatError::new(Code::Duplicate, Place::Byte(offset), cause)
}

fn read_metadata(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, FormatError> {
    let mut metadata = Vec::new();
    let mut offsets = Vec::new();
    reader.object(|reader, key, offset| {
        if metadata.len() == MOST_TENSORS {
            let cause = format!("more than {MOST_TENSORS} keys of metadata");
            return Err(reader.error_at(offset, Code::TooLarge, cause));
        }
        metadata.push((key.into_owned(), reader.string()?.into_owned()));
        offsets.push(offset);
        Ok(())
    })?;
    let keys = metadata.iter().zip(&offsets).map(|((key, _), &offset)| (key.as_str(), offset));
    match first_duplicate(keys) {
        Some((key, offset)) => Err(duplicate(key, offset)),
        None => Ok(metadata),
    }
}

/// Reads one tensor's record, and checks its size against its range.
fn read_tensor(reader: &mut Reader<'_>, name: Cow<'_, str>) -> Result<(TensorInfo, (u64, u64)), FormatError> {
    let mut dtype = None;
    let mut shape = None;
    let mut range = None;
    reader.object(|reader, field, offset| {
        let again = match &*field {
            "dtype" => dtype.replace(read_dtype(reader)?).is_some(),
            "shape" => shape.replace(read_shape(reader)?).is_some(),
            "data_offsets" => range.replace(read_range(reader)?).is_some(),
            _ => {
                let cause = format!("tensor `{}` has the unknown field `{}`", shown(&name), shown(&field));
                return Err(reader.error_at(offset, Code::UnknownKey, cause));
            }
        };
        if again { Err(duplicate(&field, offset)) } else { Ok(()) }
    })?;
    let missing = |field: &str| {
        let cause = format!("the field `{field}` is missing in the header");
        FormatError::new(Code::Missing, Place::Tensor(name.to_string()), cause)
    };
    let dtype = dtype.ok_or_else(|| missing("dtype"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let (begin, end) = range.ok_or_else(|| missing("data_offsets"))?;
    let bytes = contiguous_bytes(dtype, &shape).ok_or_else(|| {
        let cause = format!("{dtype} {} is too large for any memory", shown_shape(&shape));
        FormatError::new(Code::TooLarge, Place::Tensor(name.to_string()), cause)
    })?;
    if end.checked_sub(begin) != Some(bytes as u64) {
        let cause =
            format!("{dtype} {} has {bytes} bytes, but its range is {begin} to {end}", shown_shape(&shape));
        return Err(FormatError::new(Code::Malformed, Place::Tensor(name.into_owned()), cause));
    }
    Ok((TensorInfo { name: name.into_owned(), dtype, shape }, (begin, end)))
}

fn read_dtype(reader: &mut Reader<'_>) -> Result<Dtype, FormatError> {
    reader.peek();
    let offset = reader.offset();
    let name = reader.string()?;
    Dtype::from_name(&name).ok_or_else(|| {
        let cause = format!("the dtype `{}` is not supported", shown(&name));
        reader.error_at(offset, Code::Unsupported, cause)
    })
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Vec<usize>, FormatError> {
    let mut shape = Vec::new();
    reader.array(|reader| {
        reader.peek();
        let offset = reader.offset();
        let length = reader.unsigned()?;
        if shape.len() == MOST_DIMENSIONS {
            let cause = format!("a shape of more than {MOST_DIMENSIONS} dimensions");
            return Err(reader.error_at(offset, Code::TooLarge, cause));
        }
        shape.push(usize::try_from(length).map_err(|_| {
            reader.error_at(
                offset,
                Code::TooLarge,
                format!("the length {length} is too large for any memory"),
            )
        })?);
        Ok(())
    })?;
    shape.shrink_to_fit();
    Ok(shape)
}

fn read_range(reader: &mut Reader<'_>) -> Result<(u64, u64), FormatError> {
    reader.peek();
    let offset = reader.offset();
    let mut ends = [0; 2];
    let mut count = 0;
    reader.array(|reader| {
        let value = reader.unsigned()?;
        if let Some(end) = ends.get_mut(count) {
            *end = value;
        }
        count += 1;
        Ok(())
    })?;
    if count != 2 {
        let cause = format!("`data_offsets` has {count} numbers, expected 2");
        return Err(reader.error_at(offset, Code::Malformed, cause));
    }
    Ok((ends[0], ends[1]))
}
