//! Distributed checkpoints of PyTorch (FSDP, `torch.distributed.checkpoint`): a folder whose `.metadata` says which part
//! of which tensor is in which bytes of which `.distcp` file. Each part is a PyTorch archive of one tensor.
//!
//! The `.metadata` is a pickle. It is read by the machine that reads every pickle here, which calls nothing, and its
//! objects are recognized by their class and attributes.

mod file;
mod index;
mod parts;

pub use file::DistributedFile;
pub use index::DistributedIndex;

use crate::tensor::TensorInfo;

/// A tensor, and the parts that it was saved in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) info: TensorInfo,
    /// Parts that cover the tensor exactly once, by their offsets.
    pub(super) parts: Vec<Part>,
}

/// A box of a tensor, and the bytes of the archive that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// First element in each dimension.
    pub(super) offsets: Vec<usize>,
    /// Number of elements in each dimension.
    pub(super) sizes: Vec<usize>,
    /// Index of the file.
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) length: u64,
}
