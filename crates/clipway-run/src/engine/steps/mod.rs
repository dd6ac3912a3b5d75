//! The engine's operations: a closed list that passes match on, each with the object that runs it.
//!
//! An operation is a struct in the file of its family. [`step::Operation`] tells the compiler what it needs to know and
//! prepares the operation: it reads the weights and returns a [`step::Step`], which holds everything needed to run.

mod input;
pub(super) mod step;
mod linear;
mod conv;
mod norm;
mod elementwise;
mod attention;
mod windows;
mod tables;
mod tokens;
mod pool;

pub(super) use attention::{Attention, Rotary};
pub(super) use conv::{AveragePool, Conv};
pub(super) use elementwise::{Activate, Affine, Pairwise};
pub(super) use input::{Patches, Pixels, ToRows, TokenIds};
pub(super) use linear::Linear;
pub(super) use norm::{LayerNorm, ResponseNorm, RmsNorm, UnitHeads};
pub(super) use pool::{PoolUnpadded, Reduce, Reduction, Unpadded};
pub(super) use tables::{AddRow, AddTable, AddTextPositions, Embedding};
pub(super) use tokens::{Append, DropRows, Prepend, PrependMean, Queries};
pub(super) use windows::{Arrange, WindowAttention};

use super::shape::Select;
use step::Operation;

/// Lists the operations: each is a variant of [`Op`] with the same name.
macro_rules! operations {
    ($($operation:ident),* $(,)?) => {
        /// What a node computes.
        #[derive(Clone, Debug, PartialEq)]
        pub(super) enum Op {
            $(#[doc = concat!("See [`", stringify!($operation), "`].")] $operation($operation),)*
        }

        impl Op {
            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Op::$operation(_) => stringify!($operation),)*
                }
            }

            /// The operation without its name.
            pub fn operation(&self) -> &dyn Operation {
                match self {
                    $(Op::$operation(operation) => operation,)*
                }
            }
        }

        $(impl From<$operation> for Op {
            fn from(operation: $operation) -> Op {
                Op::$operation(operation)
            }
        })*
    };
}

operations! {
    Pixels, TokenIds, ToRows, Patches,
    Linear,
    Conv, AveragePool,
    LayerNorm, ResponseNorm, RmsNorm, UnitHeads,
    Affine, Activate, Pairwise,
    Attention, Rotary,
    WindowAttention, Arrange,
    AddTable, AddRow, AddTextPositions, Embedding,
    Prepend, Append, PrependMean, DropRows, Queries,
    Select, Reduce, PoolUnpadded,
}
