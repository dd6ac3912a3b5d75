//! The operations: few enough to list on a page, each with an exact meaning.

use super::parameters::ParameterId;
use super::rotation::Rotation;
use super::settings::{
    Activation, AttentionBias, GridChange, Mask, MeanWindow, Pool, Rows, TextPositions, WeightLayout,
};
use super::windows::{WindowTable, Windows};

/// One operation of a tower.
///
/// Values are `[batch, tokens, width]` (sequences), `[batch, channels, height, width]` (maps), `[batch, width]`
/// (vectors) or `[batch, length]` (token ids).
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Normalized pixels, `[batch, 3, height, width]`.
    Pixels,
    /// Token ids, `[batch, length]`.
    TokenIds {
        /// Maximum text length.
        most: usize,
    },
    /// `x · Wᵀ + b` over the last dimension.
    Linear {
        /// The matrix.
        weight: ParameterId,
        /// Bias, added to each row.
        bias: Option<ParameterId>,
        /// How the matrix is stored.
        layout: WeightLayout,
        /// Which outputs to compute; `None` for all. Requires `WeightLayout::OutIn`.
        rows: Option<Rows>,
    },
    /// Convolution of a map with a weight `[out, in / groups, kernel, kernel]`.
    Conv2d {
        /// The filters.
        weight: ParameterId,
        /// Bias, added to each channel.
        bias: Option<ParameterId>,
        /// Stride, vertical and horizontal.
        stride: [usize; 2],
        /// Zero padding, vertical and horizontal.
        padding: [usize; 2],
        /// Number of independent channel groups.
        groups: usize,
    },
    /// Non-overlapping patches of a map, row by row, each pixel by pixel with its channels together:
    /// `[batch, patches, height · width · channels]`.
    Patches {
        /// Height and width of a patch.
        size: [usize; 2],
    },
    /// Batch normalization of a map with stored statistics.
    BatchNorm {
        /// Scale of each channel.
        weight: ParameterId,
        /// Shift of each channel.
        bias: ParameterId,
        /// Stored mean.
        mean: ParameterId,
        /// Stored variance.
        variance: ParameterId,
        /// Epsilon, added to the variance.
        epsilon: f64,
    },
    /// Normalizes the channels (the last dimension; of a map, the second) to mean 0 and variance 1, then scales and
    /// shifts.
    LayerNorm {
        /// Scale.
        weight: ParameterId,
        /// Shift.
        bias: Option<ParameterId>,
        /// Epsilon, added to the variance.
        epsilon: f64,
    },
    /// Normalizes each head separately: the last dimension is split into runs as long as the weight, and each run gets
    /// a layer norm with the same scale and shift.
    HeadNorm {
        /// Scale, as long as a head is wide.
        weight: ParameterId,
        /// Shift.
        bias: Option<ParameterId>,
        /// Epsilon, added to the variance.
        epsilon: f64,
    },
    /// Divides each run of the last dimension that is as long as the weight, possibly all of it, by its root mean square, then
    /// scales.
    RmsNorm {
        /// Scale, as long as a run.
        weight: ParameterId,
        /// Epsilon, added to the mean square.
        epsilon: f64,
    },
    /// Global response normalization of a map (<https://arxiv.org/abs/2301.00808>): `x · (1 + weight · g) + bias`, where
    /// `g` is a channel's Euclidean length over all places, divided by the mean of these lengths over the channels.
    ResponseNorm {
        /// Factor of each channel's share.
        weight: ParameterId,
        /// Added to each channel.
        bias: ParameterId,
        /// Added to the mean length.
        epsilon: f64,
    },
    /// Divides each of `heads` equal runs of the last dimension by its Euclidean length, or by 1e-12 if that is larger.
    UnitHeads {
        /// Number of heads.
        heads: usize,
    },
    /// Multiplies run `h` of the last dimension, split into as many equal runs as there are factors, by `f[h]`, or by
    /// `exp(min(f[h], limit))` if there is a limit.
    ScaleHeads {
        /// One factor per head, of shape `[heads, 1, 1]`.
        factors: ParameterId,
        /// Maximum exponent, if the factors are stored as logarithms.
        limit: Option<f32>,
    },
    /// Multi-head attention. Inputs: one value that holds queries, keys and values side by side in its last
    /// dimension, or three values; then the ids, if the mask looks at them.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Scale of the scores.
        scale: f32,
        /// Which keys are visible.
        mask: Mask,
        /// Bias added to the scaled scores.
        bias: Option<AttentionBias>,
    },
    /// Rotates each of `heads` equal runs of the last dimension by the token's position on a grid.
    Rotary {
        /// Number of heads.
        heads: usize,
        /// The angles.
        rotation: Rotation,
    },
    /// An elementwise function.
    Activation(Activation),
    /// Sum of two values of the same shape.
    Add,
    /// Elementwise product of two values of the same shape.
    Multiply,
    /// The first of two values of the same shape minus the second.
    Subtract,
    /// Adds a parameter `[tokens, width]`, with or without a leading 1, to each sample; a shorter text uses its first
    /// rows.
    AddPositions {
        /// The table.
        table: ParameterId,
        /// How the table is resampled first, if it was made for another grid.
        change: Option<GridChange>,
    },
    /// Adds one row of a parameter `[rows, width]` to each token.
    AddRow {
        /// The parameter.
        table: ParameterId,
        /// Which row.
        row: usize,
    },
    /// Adds the encoding of its position to each token of a text. Positions count the ids that are not padding,
    /// starting at `padding + 1`; padding has the position `padding`. Second input: the ids.
    AddTextPositions {
        /// How positions are encoded.
        positions: TextPositions,
        /// Padding id.
        padding: i64,
    },
    /// Multiplies by a constant.
    Times {
        /// The number.
        factor: f64,
    },
    /// Multiplies each channel (the last dimension; of a map, the second) by its element of a parameter: layer scale.
    Scale {
        /// The factors.
        factors: ParameterId,
    },
    /// Multiplies each channel of a map, `[batch, channels, height, width]`, by the sample's own factor in the second
    /// input, `[batch, channels, 1, 1]`.
    Gate,
    /// Rows of a table `[ids, width]`, selected by token ids.
    Embedding {
        /// The table.
        table: ParameterId,
    },
    /// Prepends a parameter of `width` elements to the tokens; a multiple of `width` prepends several tokens.
    PrependToken {
        /// The token, or the tokens.
        token: ParameterId,
    },
    /// Prepends the mean of all tokens.
    PrependMean,
    /// Appends a parameter of `width` elements to the tokens.
    AppendToken {
        /// The token.
        token: ParameterId,
    },
    /// Drops the first `count` tokens of a sequence.
    DropTokens {
        /// Number of tokens to drop.
        count: usize,
    },
    /// A parameter `[tokens, width]`, with or without a leading 1, as a sequence for each sample. Input: any value,
    /// which determines the batch size.
    Queries {
        /// The tokens.
        tokens: ParameterId,
    },
    /// A map as a sequence: `[batch, height · width, channels]`, row by row.
    Flatten,
    /// A sequence as a map: `[batch, channels, height, width]`, row by row.
    Unflatten {
        /// Height and width of the map.
        size: [usize; 2],
    },
    /// Mean of each channel of a map over all places: `[batch, channels, 1, 1]`.
    MeanMap,
    /// Mean over square windows of a map.
    AveragePool(MeanWindow),
    /// The tokens of a map, reordered window by window.
    Windows(Windows),
    /// Tokens in window order, reordered back to map order.
    Unwindows(Windows),
    /// Multi-head attention within windows, on tokens in window order (Swin, <https://arxiv.org/abs/2103.14030>).
    /// Input: queries, keys and values side by side in the last dimension; the scores are scaled by one over the square
    /// root of the head width. Each score gets a row of the table, chosen by the offset from key to query; scores
    /// between tokens that were not neighbors before the shift are 100 lower.
    WindowAttention {
        /// Number of heads.
        heads: usize,
        /// The windows.
        windows: Windows,
        /// The table.
        table: WindowTable,
    },
    /// Merges each 2x2 patch of a map of tokens into one token: top left, bottom left, top right, bottom right.
    MergePatches {
        /// Height and width of the map.
        size: [usize; 2],
    },
    /// Pools each sample's tokens to one vector: `[batch, width]`.
    Pool(Pool),
}

impl Operation {
    /// The parameters it reads.
    pub fn parameters(&self) -> Vec<ParameterId> {
        self.facts().1
    }

    /// Short name with its settings, for people.
    pub fn label(&self) -> String {
        self.facts().0
    }

    /// Its label and the parameters it reads.
    fn facts(&self) -> (String, Vec<ParameterId>) {
        let only = |name: &str| (name.to_owned(), Vec::new());
        let of = |name: &str, parameter: ParameterId| (name.to_owned(), vec![parameter]);
        let with = |weight: ParameterId, bias: Option<ParameterId>| -> Vec<ParameterId> {
            std::iter::once(weight).chain(bias).collect()
        };
        match *self {
            Operation::Pixels => only("pixels"),
            Operation::TokenIds { most } => (format!("token_ids[max {most}]"), Vec::new()),
            Operation::Linear { weight, bias, rows: None, .. } => ("linear".into(), with(weight, bias)),
            Operation::Linear { weight, bias, rows: Some(rows), .. } => {
                let label = format!("linear[outputs {}..{}]", rows.weight, rows.weight + rows.count);
                (label, with(weight, bias))
            }
            Operation::Conv2d { weight, bias, stride, padding, groups } => {
                let label = format!("conv2d[stride {stride:?} padding {padding:?} groups {groups}]");
                (label, with(weight, bias))
            }
            Operation::Patches { size: [height, width] } => {
                (format!("patches[{height}x{width}]"), Vec::new())
            }
            Operation::BatchNorm { weight, bias, mean, variance, .. } => {
                ("batch_norm".into(), vec![weight, bias, mean, variance])
            }
            Operation::LayerNorm { weight, bias, epsilon } => {
                (format!("layer_norm[epsilon {epsilon}]"), with(weight, bias))
            }
            Operation::HeadNorm { weight, bias, epsilon } => {
                (format!("head_norm[epsilon {epsilon}]"), with(weight, bias))
            }
            Operation::RmsNorm { weight, epsilon } => (format!("rms_norm[epsilon {epsilon}]"), vec![weight]),
            Operation::ResponseNorm { weight, bias, epsilon } => {
                (format!("response_norm[epsilon {epsilon}]"), vec![weight, bias])
            }
            Operation::UnitHeads { heads } => (format!("unit_heads[{heads}]"), Vec::new()),
            Operation::ScaleHeads { factors, limit: None } => of("scale_heads", factors),
            Operation::ScaleHeads { factors, limit: Some(limit) } => {
                (format!("scale_heads[exp, limit {limit}]"), vec![factors])
            }
            Operation::Attention { heads, scale, mask, bias } => {
                let added = bias.map_or(String::new(), |bias| format!(" bias {}", bias.label()));
                let label = format!("attention[heads {heads} scale {scale} mask {mask:?}{added}]");
                (label, bias.map_or(Vec::new(), |bias| bias.parameters()))
            }
            Operation::Rotary { heads, rotation } => {
                let label = format!("rotary[heads {heads} grid {:?} after {}]", rotation.grid, rotation.skip);
                (label, Vec::new())
            }
            Operation::Activation(activation) => (format!("{activation:?}"), Vec::new()),
            Operation::Add => only("add"),
            Operation::Multiply => only("multiply"),
            Operation::Subtract => only("subtract"),
            Operation::Gate => only("gate"),
            Operation::MeanMap => only("mean_map"),
            Operation::AddPositions { table, change: None } => of("add_positions", table),
            Operation::AddPositions { table, change: Some(change) } => {
                (format!("add_positions[{change}]"), vec![table])
            }
            Operation::AddRow { table, row } => (format!("add_row[{row}]"), vec![table]),
            Operation::AddTextPositions { positions: TextPositions::Table(table), padding } => {
                (format!("add_text_positions[padding {padding}]"), vec![table])
            }
            Operation::AddTextPositions { positions: TextPositions::Sinusoids, padding } => {
                (format!("add_text_positions[sinusoids padding {padding}]"), Vec::new())
            }
            Operation::Times { factor } => (format!("times[{factor}]"), Vec::new()),
            Operation::Scale { factors } => of("scale", factors),
            Operation::Embedding { table } => of("embedding", table),
            Operation::PrependToken { token } => of("prepend_token", token),
            Operation::PrependMean => only("prepend_mean"),
            Operation::AppendToken { token } => of("append_token", token),
            Operation::DropTokens { count } => (format!("drop_tokens[{count}]"), Vec::new()),
            Operation::Queries { tokens } => of("queries", tokens),
            Operation::Flatten => only("flatten"),
            Operation::Unflatten { size: [height, width] } => {
                (format!("unflatten[{height}x{width}]"), Vec::new())
            }
            Operation::AveragePool(MeanWindow { kernel, stride, padding }) => {
                (format!("average_pool[{kernel} stride {stride} padding {padding}]"), Vec::new())
            }
            Operation::WindowAttention { heads, windows: Windows { window, shift, .. }, table } => {
                let resampled = match table.window {
                    stored if stored == window => String::new(),
                    stored => format!(" table of {stored:?} resampled"),
                };
                let label = format!("window_attention[heads {heads} {window:?} shift {shift:?}{resampled}]");
                (label, vec![table.table])
            }
            Operation::Windows(Windows { window, shift, .. }) => {
                (format!("windows[{window:?} shift {shift:?}]"), Vec::new())
            }
            Operation::Unwindows(Windows { window, shift, .. }) => {
                (format!("unwindows[{window:?} shift {shift:?}]"), Vec::new())
            }
            Operation::MergePatches { .. } => only("merge_patches"),
            Operation::Pool(pool) => (format!("pool[{pool:?}]"), Vec::new()),
        }
    }
}
