//! Settings of operations: layouts of weights, activations, masks and biases of attention, pools.

use std::fmt;

use serde::Serialize;

use super::parameters::ParameterId;

/// How a linear weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, as `torch.nn.Linear`.
    OutIn,
    /// `[in, out]`, as the projections that CLIP multiplies from the right.
    InOut,
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * Φ(x)`, with the exact error function.
    Gelu,
    /// GELU by its tanh approximation.
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

/// Part of a linear layer: some of its outputs, as of matrices that are stored side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// First output in the weight that is computed.
    pub weight: usize,
    /// First element of the bias that is added; 0 where there is no bias.
    pub bias: usize,
    /// How many outputs are computed.
    pub count: usize,
}

/// Which keys a query may attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of its sample.
    None,
    /// Those at its own and earlier positions.
    Causal,
    /// Those that are not padding (last input of the attention: the ids, `[batch, length]`): key `j` is hidden
    /// where the id at `j - skip` is `id`; keys before `skip` are always seen.
    Padding {
        /// The id of padding.
        id: i64,
        /// Keys before the one that belongs to the first id.
        skip: usize,
        /// Whether keys at later positions are hidden too.
        causal: bool,
    },
}

/// What is added to the scaled scores of an attention: the entry of head, query and key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttentionBias {
    /// T5's: a row of a table `[buckets, heads]`, chosen by how far the key lies from the query. Half of the buckets
    /// are for keys after the query; of each half, the first half holds one distance each, and the rest grow with
    /// the logarithm of the distance up to `reach`, which the last bucket holds with all that lies beyond.
    Buckets {
        /// The table.
        table: ParameterId,
        /// Distance from which on all keys share a bucket.
        reach: usize,
    },
    /// What an MLP makes of the steps from key to query on a grid of patches, down and across:
    /// `W₂ relu(W₁ c + b₁) + b₂` has a number for each head, where `c` is `sign(d) ln(1 + |d|)` of both steps `d`.
    /// Nothing is added where the query or the key is a token before those of patches. (Swin V2,
    /// <https://arxiv.org/abs/2111.09883>, with timm's coordinates.)
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
        /// Tokens before those of patches.
        skip: usize,
    },
}

impl AttentionBias {
    /// The parameters it reads.
    pub fn parameters(&self) -> Vec<ParameterId> {
        match *self {
            AttentionBias::Buckets { table, .. } => vec![table],
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, .. } => {
                vec![hidden_weight, hidden_bias, weight, bias]
            }
        }
    }

    /// Short name, for people.
    pub(super) fn label(&self) -> String {
        match self {
            AttentionBias::Buckets { reach, .. } => format!("buckets to {reach}"),
            AttentionBias::GridMlp { grid, skip, .. } => format!("of steps on {grid:?} after {skip}"),
        }
    }
}

/// What stands for the positions of the tokens of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPositions {
    /// Rows of a parameter `[positions, width]`.
    Table(ParameterId),
    /// For position `p`, `sin(p · f)` in the first half of the width and `cos(p · f)` in the second, with
    /// frequencies `f` that fall from 1 to 1/10000 as powers; zeros for the position of padding, and in the last
    /// place of an odd width. Computed in f32.
    Sinusoids,
}

/// A square window that means are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanWindow {
    /// Side of the window.
    pub kernel: usize,
    /// Steps of the window, down and across.
    pub stride: usize,
    /// How far the window reaches beyond the map; what lies there counts for nothing.
    pub padding: usize,
}

/// A table of positions on a grid, made for one grid and resampled to another: bicubic with antialiasing, as PyTorch
/// does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GridChange {
    /// Rows of the table before the grid, which stay.
    pub prefix: usize,
    /// Rows and columns of the grid.
    pub from: [usize; 2],
    /// New rows and columns.
    pub to: [usize; 2],
}

impl GridChange {
    /// Rows of the table before and after; `None` where they cannot be counted or there are none.
    pub fn rows(&self) -> Option<[usize; 2]> {
        let rows = |[height, width]: [usize; 2]| {
            height.checked_mul(width).filter(|&cells| cells > 0)?.checked_add(self.prefix)
        };
        Some([rows(self.from)?, rows(self.to)?])
    }
}

impl fmt::Display for GridChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GridChange { prefix, from, to } = self;
        write!(f, "{}x{} to {}x{}, {prefix} before", from[0], from[1], to[0], to[1])
    }
}

/// How one vector is made of the tokens of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The first token.
    First,
    /// The last token.
    Last,
    /// The token at the first highest id of the text (second input: the ids).
    Argmax,
    /// The token at the first id that equals this one, or the first token where none does (second input: the
    /// ids).
    Eos(i64),
    /// The mean of the tokens whose id is not this one, the id of padding (second input: the ids).
    MeanUnpadded(i64),
    /// The greatest of each channel over the tokens whose id is not this one (second input: the ids).
    MaxUnpadded(i64),
    /// The mean of all tokens after the first `n`.
    Mean {
        /// Tokens left out at the start.
        skip: usize,
    },
    /// The largest of each channel, over all tokens after the first `n`.
    Max {
        /// Tokens left out at the start.
        skip: usize,
    },
    /// Half the sum of mean and largest, over all tokens after the first `n`.
    MeanMax {
        /// Tokens left out at the start.
        skip: usize,
    },
    /// The mean and the largest, one after the other: twice as wide as a token. Over all tokens after the first so
    /// many.
    MeanAndMax {
        /// Tokens left out at the start.
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
        matches!(self, Pool::Argmax | Pool::Eos(_) | Pool::MeanUnpadded(_) | Pool::MaxUnpadded(_))
    }
}
