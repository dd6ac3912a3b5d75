//! Shapes of values, and small types that operations and passes share.

use clipway_model::graph::{Activation, Pool};

/// Number of rows of each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rows {
    /// The same for each.
    Fixed(usize),
    /// Tokens of the text, plus this many.
    Text(usize),
}

/// Shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub rows: Rows,
    pub width: usize,
    /// Height and width of a map, whose rows are its places.
    pub map: Option<[usize; 2]>,
}

/// Window of a convolution or of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// Epilogue of a product: `after(before(product + bias) + second input)`, or times it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Finish {
    pub before: Option<Activation>,
    /// How the second input is combined, if there is one.
    pub second: Option<Combine>,
    pub after: Option<Activation>,
}

/// How two values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Multiply,
}

/// Which row of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    First,
    Last,
    /// The row that the token ids choose.
    Ids(Pool),
}

/// Where a text ends: what follows cannot change its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// After the token that this pool selects.
    Pooled(Pool),
    /// After the last token that is not this padding id; the first token always stays.
    Padding(i64),
}
