//! Tests of every reader and writer on real files.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod corpus;
mod distributed;
mod json;
mod mutation;
mod npy;
mod npz;
mod parquet;
mod onnx;
mod onnx_write;
mod pytorch;
mod pytorch_corpus;
mod pytorch_layouts;
mod pytorch_tensors;
mod pytorch_writer;
mod pytorch_zip;
mod safetensors;
mod sharded;
mod siblings;
