//! Tests of every reader and writer against files.

mod corpus;
mod json;
mod mutation;
mod npy;
mod pytorch;
mod pytorch_corpus;
mod pytorch_writer;
mod npz;
mod safetensors;
mod sharded;
