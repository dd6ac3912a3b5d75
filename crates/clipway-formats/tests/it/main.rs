//! Tests of every reader and writer against files.

mod corpus;
mod json;
mod mutation;
mod npy;
mod npz;
mod safetensors;
mod sharded;
