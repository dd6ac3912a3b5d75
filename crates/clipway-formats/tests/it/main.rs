//! Tests of every reader and writer against files.

// Tests and chores read and write files of their own.
#![allow(clippy::disallowed_methods)]

mod corpus;
mod json;
mod mutation;
mod npy;
mod npz;
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
