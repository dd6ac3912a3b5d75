//! From bytes to named tensors and back.
//!
//! A reader takes anything that can be read at an offset ([`ReadAt`]) and returns a [`TensorFile`]: the names, dtypes
//! and shapes of the tensors, known without reading any weights, and a way to read each tensor as contiguous
//! little-endian bytes. Everything in a file is checked before it is used; nothing in a file is ever executed. This
//! crate does not touch the file system: opening files is up to the caller.
//!
//! ```
//! use std::sync::Arc;
//!
//! use clipway_formats::{Dtype, SafetensorsFile, TensorFile, TensorInfo, write_safetensors};
//!
//! let info = TensorInfo { name: "w".to_owned(), dtype: Dtype::F32, shape: vec![2] };
//! let mut bytes = Vec::new();
//! write_safetensors(&mut bytes, &[info.clone()], &[], |_| Ok(vec![0u8; 8]))?;
//! let file = SafetensorsFile::open(Arc::new(bytes))?;
//! assert_eq!(file.tensors(), [info]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod base64;
mod dtype;
mod codes;
mod error;
mod json;
mod memory;
mod name;
mod npy;
mod npz;
mod onnx;
mod parquet;
mod path;
mod pytorch;
mod safetensors;
mod shape;
mod sharded;
mod source;
mod tar;
mod tensor;
mod zip;

pub use base64::base64;
pub use codes::CODES;
pub use dtype::Dtype;
pub use error::{Code, FormatError, Place, is_invisible, shown, shown_first, shown_path, shown_up_to};
pub use json::{Json, JsonCursor, JsonLimits, JsonValue, push_json_string};
pub use memory::{check_room, reserve};
pub use npy::{NpyFile, NpyValues, npy_header};
pub use npz::NpzFile;
pub use onnx::{
    OnnxAttribute, OnnxConstant, OnnxDim, OnnxExternal, OnnxFile, OnnxGraph, OnnxInterface, OnnxLayout,
    OnnxNode, OnnxOperation, OnnxPlace, OnnxPort, OnnxValue, OpenExternal, write_onnx,
};
pub use parquet::{ParquetColumn, ParquetFile, ParquetKind, ParquetRow, ParquetWriter, write_parquet};
pub use pytorch::{
    ByteOrder, DistributedFile, DistributedIndex, Global, GlobalKind, PickleKind, PickleValue, PytorchFile,
    PytorchOptions, WriterFacts, write_pytorch,
};
pub use safetensors::{SafetensorsFile, SafetensorsLayout, is_safetensors, write_safetensors};
pub use sharded::{ShardedFile, ShardedIndex, sharded_index_json};
pub use source::{ReadAt, read_all, read_range};
pub use tar::{TarMember, tar_members};
pub use tensor::{FileFormat, TensorFile, TensorInfo, read_at_once};
pub use zip::{Method, ZipArchive, ZipEntry, raise_inflation_limit};
