//! Settings of operations: layouts of weights, activations, masks and biases of attention, pools.

use std::fmt;

use serde::Serialize;

use super::parameters::ParameterId;

/// How a linear weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, as `torch.nn.Linear`.
    OutIn,
    /// `[in, out]`, as in CLIP's projections.
    InOut,
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * Φ(x)`, with the exact error function.
    Gelu,
    /// GELU with the tanh approximation.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, OpenAI's approximation.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `tanh(x)`.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// Part of a linear layer: some of its outputs, for matrices stored side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// First output to compute, in the weight.
    pub weight: usize,
    /// First element of the bias; 0 if there is no bias.
    pub bias: usize,
    /// Number of outputs to compute.
    pub count: usize,
}

/// Which keys a query may attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All keys of the same sample.
    None,
    /// Keys at the same and earlier positions.
    Causal,
    /// Keys that are not padding (last input of the attention: the ids, `[batch, length]`): key `j` is hidden if the id
    /// at `j - skip` is `id`; keys before `skip` are always visible.
    Padding {
        /// Padding id.
        id: i64,
        /// Number of keys before the first id's.
        skip: usize,
        /// Whether keys at later positions are hidden as well.
        causal: bool,
    },
}

/// Bias of the scaled attention scores, per head, query and key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttentionBias {
    /// T5's: a row of a table `[buckets, heads]`, chosen by the distance from query to key. Half of the buckets are for
    /// keys after the query. In each half, the first half of the buckets holds one distance each; the rest grow
    /// logarithmically up to `reach`, and the last bucket also holds everything beyond.
    Buckets {
        /// The table.
        table: ParameterId,
        /// Distance beyond which all keys share a bucket.
        reach: usize,
    },
    /// Hides keys more than `reach` tokens away from the query, before or after it: 0 for the others, and for these a number
    /// so low that the softmax has nothing left of them unless no key is near.
    Window {
        /// How many tokens away the farthest visible key is.
        reach: usize,
    },
    /// An MLP of the relative position from key to query on a grid of patches: `W₂ relu(W₁ c + b₁) + b₂` has one number
    /// per head, where `c` is `sign(d) ln(1 + |d|)` of both offsets `d`. Tokens before the patch tokens get no bias.
    /// (Swin V2, <https://arxiv.org/abs/2111.09883>, with timm's coordinates.)
    GridMlp {
        /// `W₁`, `[hidden, 2]`.
        hidden_weight: ParameterId,
        /// `b₁`.
        hidden_bias: ParameterId,
        /// `W₂`, `[heads, hidden]`.
        weight: ParameterId,
        /// `b₂`.
        bias: ParameterId,
        /// Rows and columns of patches.
        grid: [usize; 2],
        /// Number of tokens before the patch tokens.
        skip: usize,
    },
}

impl AttentionBias {
    /// The parameters it reads.
    pub fn parameters(&self) -> Vec<ParameterId> {
        match *self {
            AttentionBias::Buckets { table, .. } => vec![table],
            AttentionBias::Window { .. } => Vec::new(),
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, .. } => {
                vec![hidden_weight, hidden_bias, weight, bias]
            }
        }
    }

    /// Short name, for people.
    pub(super) fn label(&self) -> String {
        match self {
            AttentionBias::Buckets { reach, .. } => format!("buckets to {reach}"),
            AttentionBias::Window { reach } => format!("window of {reach} each way"),
            AttentionBias::GridMlp { grid, skip, .. } => format!("of steps on {grid:?} after {skip}"),
        }
    }
}

/// How the positions of a text's tokens are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPositions {
    /// Rows of a parameter `[positions, width]`.
    Table(ParameterId),
    /// Position `p` is encoded as `sin(p · f)` in the first half of the width and `cos(p · f)` in the second, with
    /// frequencies `f` falling geometrically from 1 to 1/10000; zeros for padding, and in the last element of an odd
    /// width. Computed in f32.
    Sinusoids,
}

/// A square averaging window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanWindow {
    /// Side of the window.
    pub kernel: usize,
    /// Stride of the window, vertical and horizontal.
    pub stride: usize,
    /// How far the window reaches beyond the map; values outside are ignored.
    pub padding: usize,
}

/// The filter of a resampling, as in PyTorch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GridFilter {
    /// Keys' cubic kernel with `a = -0.5`, with antialiasing.
    #[default]
    Bicubic,
    /// A triangle, with antialiasing.
    Bilinear,
    /// A line between two neighbors, without antialiasing.
    Linear,
}

impl GridFilter {
    /// Whether it is the one that a plan does not name.
    fn is_default(&self) -> bool {
        *self == GridFilter::default()
    }
}

/// Resampling of a position table from one grid to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GridChange {
    /// Number of rows before the grid, which are kept.
    pub prefix: usize,
    /// Rows and columns of the grid.
    pub from: [usize; 2],
    /// New rows and columns.
    pub to: [usize; 2],
    /// The filter.
    #[serde(skip_serializing_if = "GridFilter::is_default")]
    pub filter: GridFilter,
    /// Whether the grid becomes a square as long as the longer new side, of which the first rows and columns are taken: both
    /// axes are then stretched alike.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub square: bool,
}

impl GridChange {
    /// Rows and columns that the grid is resampled to, of which the first [`GridChange::to`] are taken.
    pub(crate) fn resampled(&self) -> [usize; 2] {
        let [rows, columns] = self.to;
        if self.square { [rows.max(columns); 2] } else { self.to }
    }

    /// Number of rows before and after; `None` on overflow or if there are none.
    pub fn rows(&self) -> Option<[usize; 2]> {
        let rows = |[height, width]: [usize; 2]| {
            height.checked_mul(width).filter(|&cells| cells > 0)?.checked_add(self.prefix)
        };
        Some([rows(self.from)?, rows(self.to)?])
    }
}

impl fmt::Display for GridChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GridChange { prefix, from, to, filter, square } = self;
        write!(f, "{}x{} to {}x{}, {prefix} before", from[0], from[1], to[0], to[1])?;
        f.write_str(match filter {
            GridFilter::Bicubic => "",
            GridFilter::Bilinear => ", bilinear",
            GridFilter::Linear => ", linear",
        })?;
        f.write_str(if *square { ", part of a square" } else { "" })
    }
}

/// How a sample's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The first token.
    First,
    /// The last token.
    Last,
    /// The token at the first occurrence of the text's highest id (second input: the ids).
    Argmax,
    /// The token at the first id equal to this one, or the first token if there is none (second input: the ids).
    Eos(i64),
    /// The token at the first id equal to `end`; if there is none, the one at the place that is the number of ids other than
    /// `padding`, less one, or the first token (second input: the ids).
    EosOrLast {
        /// End token id.
        end: i64,
        /// Padding id.
        padding: i64,
    },
    /// The mean of the tokens whose id is not this padding id (second input: the ids).
    MeanUnpadded(i64),
    /// The maximum of each channel over the tokens whose id is not this one (second input: the ids).
    MaxUnpadded(i64),
    /// The mean of all tokens after the first `n`.
    Mean {
        /// Number of tokens to skip at the start.
        skip: usize,
    },
    /// The maximum of each channel over all tokens after the first `n`.
    Max {
        /// Number of tokens to skip at the start.
        skip: usize,
    },
    /// Half the sum of mean and maximum over all tokens after the first `n`.
    MeanMax {
        /// Number of tokens to skip at the start.
        skip: usize,
    },
    /// Mean and maximum, concatenated, twice as wide as a token, over all tokens after the first `n`.
    MeanAndMax {
        /// Number of tokens to skip at the start.
        skip: usize,
    },
}

impl Pool {
    /// Length of the vector, in tokens.
    pub fn tokens_wide(self) -> usize {
        match self {
            Pool::MeanAndMax { .. } => 2,
            _ => 1,
        }
    }

    /// Whether it needs the ids.
    pub fn looks_at_ids(self) -> bool {
        self.chooses_by_ids() || matches!(self, Pool::MeanUnpadded(_) | Pool::MaxUnpadded(_))
    }

    /// Whether it is one token, at a place that the ids decide.
    pub fn chooses_by_ids(self) -> bool {
        matches!(self, Pool::Argmax | Pool::Eos(_) | Pool::EosOrLast { .. })
    }
}
