//! Builds a graph operation by operation, checking every shape.

mod attention;
mod tokens;
mod windows;

pub use attention::AttentionOptions;

use super::layers::{BatchNorm, Conv2d, LayerNorm, Linear, ResponseNorm, RmsNorm};
use super::operation::Operation;
use super::parameters::{ParameterId, Parameters};
use super::settings::{Activation, MeanWindow, Pool, Rows, WeightLayout};
use super::{Dim, Graph, Node, ValueId};

/// An operation does not match the shapes of its inputs or parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{scope}`: {operation}: expected {expected}, found {found}")]
pub struct GraphError {
    /// Module of the operation.
    pub scope: String,
    /// The operation.
    pub operation: String,
    /// What it needs.
    pub expected: String,
    /// What it received.
    pub found: String,
}

/// A graph under construction.
pub struct GraphBuilder<'p> {
    parameters: &'p Parameters,
    name: String,
    nodes: Vec<Node>,
    scope: String,
}

type Built = Result<ValueId, GraphError>;

impl<'p> GraphBuilder<'p> {
    /// An empty tower over declared parameters.
    pub fn new(name: &str, parameters: &'p Parameters) -> GraphBuilder<'p> {
        GraphBuilder { parameters, name: name.to_owned(), nodes: Vec::new(), scope: String::new() }
    }

    /// Sets the module of the next operations.
    pub fn scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// The finished tower.
    pub fn finish(self, output: ValueId) -> Graph {
        Graph { name: self.name, nodes: self.nodes, output }
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> &[Dim] {
        &self.nodes[value.index()].shape
    }

    /// Length of a value's last dimension, if fixed.
    pub fn width(&self, value: ValueId) -> Option<usize> {
        match self.shape(value).last() {
            Some(Dim::Fixed(width)) => Some(*width),
            _ => None,
        }
    }

    /// Height and width of a map.
    pub fn map_size(&self, value: ValueId) -> Option<[usize; 2]> {
        match *self.shape(value) {
            [_, _, Dim::Fixed(height), Dim::Fixed(width)] => Some([height, width]),
            _ => None,
        }
    }

    /// Number of channels: a map's second dimension, any other value's last.
    pub fn channels(&self, value: ValueId) -> Option<usize> {
        match *self.shape(value) {
            [_, Dim::Fixed(channels), _, _] => Some(channels),
            _ => self.width(value),
        }
    }

    /// The input of an image tower.
    pub fn pixels(&mut self, height: usize, width: usize) -> ValueId {
        let shape = vec![Dim::Batch, Dim::Fixed(3), Dim::Fixed(height), Dim::Fixed(width)];
        self.push(Operation::Pixels, vec![], shape)
    }

    /// The input of a text tower with this maximum length.
    pub fn token_ids(&mut self, most: usize) -> ValueId {
        self.push(Operation::TokenIds { most }, vec![], vec![Dim::Batch, Dim::Length(0)])
    }

    /// The input of a text tower whose texts are always padded to this length.
    pub fn padded_token_ids(&mut self, length: usize) -> ValueId {
        self.push(Operation::TokenIds { most: length }, vec![], vec![Dim::Batch, Dim::Fixed(length)])
    }

    /// Applies a linear layer to the last dimension.
    pub fn linear(&mut self, x: ValueId, layer: &Linear) -> Built {
        let Linear { weight, bias, layout, rows } = *layer;
        let operation = Operation::Linear { weight, bias, layout, rows };
        let shape = &self.parameters.get(weight).shape;
        let (inputs, stored) = match (layout, shape.as_slice()) {
            (WeightLayout::OutIn, &[outputs, inputs]) => (inputs, outputs),
            (WeightLayout::InOut, &[inputs, outputs]) if rows.is_none() => (inputs, outputs),
            _ => return Err(self.wrong(&operation, "a matrix", shape)),
        };
        self.expect_width(&operation, x, inputs)?;
        let rows = rows.unwrap_or(Rows { weight: 0, bias: 0, count: stored });
        let biases = bias.map_or(usize::MAX, |bias| self.parameters.get(bias).elements());
        if rows.weight + rows.count > stored || rows.bias.saturating_add(rows.count) > biases {
            return Err(self.wrong(&operation, format!("at most {stored} outputs"), rows));
        }
        let mut shape = self.shape(x).to_vec();
        *shape.last_mut().expect("a value has dimensions") = Dim::Fixed(rows.count);
        Ok(self.push(operation, vec![x], shape))
    }

    /// Normalizes the channels of each token or place.
    pub fn layer_norm(&mut self, x: ValueId, layer: &LayerNorm) -> Built {
        let operation =
            Operation::LayerNorm { weight: layer.weight, bias: layer.bias, epsilon: layer.epsilon };
        self.expect_channels(&operation, x, self.parameters.get(layer.weight).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Normalizes the last dimension by its root mean square.
    pub fn rms_norm(&mut self, x: ValueId, layer: &RmsNorm) -> Built {
        let operation = Operation::RmsNorm { weight: layer.weight, epsilon: layer.epsilon };
        self.expect_width(&operation, x, self.parameters.get(layer.weight).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Scales each channel of a map by its share of the whole response.
    pub fn response_norm(&mut self, x: ValueId, layer: &ResponseNorm) -> Built {
        let ResponseNorm { weight, bias, epsilon } = *layer;
        let operation = Operation::ResponseNorm { weight, bias, epsilon };
        let [channels, _, _] = self.map(&operation, x)?;
        if [weight, bias].iter().any(|id| self.parameters.get(*id).shape != [channels]) {
            return Err(self.wrong(&operation, channels, &self.parameters.get(weight).shape));
        }
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Normalizes a map with stored statistics.
    pub fn batch_norm(&mut self, x: ValueId, layer: &BatchNorm) -> Built {
        let operation = Operation::BatchNorm {
            weight: layer.weight,
            bias: layer.bias,
            mean: layer.mean,
            variance: layer.variance,
            epsilon: layer.epsilon,
        };
        let [channels, _, _] = self.map(&operation, x)?;
        if self.parameters.get(layer.weight).shape != [channels] {
            return Err(self.wrong(&operation, channels, &self.parameters.get(layer.weight).shape));
        }
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Convolves a map.
    pub fn conv2d(&mut self, x: ValueId, layer: &Conv2d) -> Built {
        let operation = Operation::Conv2d {
            weight: layer.weight,
            bias: layer.bias,
            stride: layer.stride,
            padding: layer.padding,
            groups: layer.groups,
        };
        let [channels, height, width] = self.map(&operation, x)?;
        let weight = &self.parameters.get(layer.weight).shape;
        let &[outputs, inputs, kernel_height, kernel_width] = weight.as_slice() else {
            return Err(self.wrong(&operation, "a weight of rank 4", weight));
        };
        if layer.groups == 0 || inputs * layer.groups != channels || outputs % layer.groups != 0 {
            return Err(self.wrong(&operation, format!("{} channels", inputs * layer.groups), channels));
        }
        let side = |length: usize, kernel: usize, axis: usize| {
            let room = (length + 2 * layer.padding[axis]).checked_sub(kernel)?;
            Some(room.checked_div(layer.stride[axis])? + 1)
        };
        let (Some(out_height), Some(out_width)) =
            (side(height, kernel_height, 0), side(width, kernel_width, 1))
        else {
            let found = format!("a map of {height}x{width}");
            return Err(self.wrong(&operation, format!("room for {kernel_height}x{kernel_width}"), found));
        };
        Ok(self.push_map(operation, x, [outputs, out_height, out_width]))
    }

    /// Cuts a map into whole patches of this height and width.
    pub fn patches(&mut self, x: ValueId, size: [usize; 2]) -> Built {
        let operation = Operation::Patches { size };
        let [channels, height, width] = self.map(&operation, x)?;
        let whole = size.iter().all(|&side| side > 0) && height % size[0] == 0 && width % size[1] == 0;
        if !whole {
            return Err(self.wrong(&operation, "whole patches", format!("a map of {height}x{width}")));
        }
        let tokens = (height / size[0]) * (width / size[1]);
        let shape = vec![Dim::Batch, Dim::Fixed(tokens), Dim::Fixed(channels * size[0] * size[1])];
        Ok(self.push(operation, vec![x], shape))
    }

    /// Applies an elementwise function.
    pub fn activation(&mut self, x: ValueId, activation: Activation) -> ValueId {
        self.push_like(Operation::Activation(activation), vec![x], x)
    }

    /// Adds two values of the same shape.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> Built {
        self.combine(Operation::Add, a, b)
    }

    /// Multiplies two values of the same shape elementwise.
    pub fn multiply(&mut self, a: ValueId, b: ValueId) -> Built {
        self.combine(Operation::Multiply, a, b)
    }

    /// Subtracts the second of two values of the same shape from the first.
    pub fn subtract(&mut self, a: ValueId, b: ValueId) -> Built {
        self.combine(Operation::Subtract, a, b)
    }

    /// Multiplies the channels of a map by those of a 1x1 map.
    pub fn gate(&mut self, x: ValueId, gate: ValueId) -> Built {
        let [channels, _, _] = self.map(&Operation::Gate, x)?;
        let found = self.map(&Operation::Gate, gate)?;
        if found != [channels, 1, 1] {
            return Err(self.wrong(&Operation::Gate, [channels, 1, 1], found));
        }
        Ok(self.push_like(Operation::Gate, vec![x, gate], x))
    }

    /// Averages a map over all places.
    pub fn mean_map(&mut self, x: ValueId) -> Built {
        let [channels, _, _] = self.map(&Operation::MeanMap, x)?;
        Ok(self.push_map(Operation::MeanMap, x, [channels, 1, 1]))
    }

    /// Multiplies by a number.
    pub fn times(&mut self, x: ValueId, factor: f64) -> ValueId {
        self.push_like(Operation::Times { factor }, vec![x], x)
    }

    /// Multiplies each channel.
    pub fn scale(&mut self, x: ValueId, factors: ParameterId) -> Built {
        let operation = Operation::Scale { factors };
        self.expect_channels(&operation, x, self.parameters.get(factors).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Turns a map into a sequence.
    pub fn flatten(&mut self, x: ValueId) -> Built {
        let [channels, height, width] = self.map(&Operation::Flatten, x)?;
        let shape = vec![Dim::Batch, Dim::Fixed(height * width), Dim::Fixed(channels)];
        Ok(self.push(Operation::Flatten, vec![x], shape))
    }

    /// Turns a sequence of `height · width` tokens into a map.
    pub fn unflatten(&mut self, x: ValueId, [height, width]: [usize; 2]) -> Built {
        let operation = Operation::Unflatten { size: [height, width] };
        match *self.shape(x) {
            [_, Dim::Fixed(tokens), Dim::Fixed(channels)] if tokens == height * width => {
                Ok(self.push_map(operation, x, [channels, height, width]))
            }
            ref other => Err(self.wrong(&operation, format!("{} tokens", height * width), other)),
        }
    }

    /// Averages non-overlapping square windows of a map.
    pub fn average_pool(&mut self, x: ValueId, kernel: usize) -> Built {
        self.average_windows(x, MeanWindow { kernel, stride: kernel, padding: 0 })
    }

    /// Averages square windows of a map.
    pub fn average_windows(&mut self, x: ValueId, window: MeanWindow) -> Built {
        let operation = Operation::AveragePool(window);
        let MeanWindow { kernel, stride, padding } = window;
        let [channels, height, width] = self.map(&operation, x)?;
        let side = |length: usize| (length + 2 * padding).checked_sub(kernel)?.checked_div(stride);
        // A window entirely outside of the map would have no mean.
        match (side(height), side(width)) {
            (Some(height), Some(width)) if kernel > 0 && 2 * padding <= kernel => {
                Ok(self.push_map(operation, x, [channels, height + 1, width + 1]))
            }
            _ => Err(self.wrong(&operation, format!("room for {kernel}x{kernel}"), [height, width])),
        }
    }

    /// Pools a sequence to one vector; some pools need `ids`.
    pub fn pool(&mut self, x: ValueId, pool: Pool, ids: Option<ValueId>) -> Built {
        let operation = Operation::Pool(pool);
        let (&[batch, _, Dim::Fixed(width)], true) = (self.shape(x), ids.is_some() || !pool.looks_at_ids())
        else {
            return Err(self.wrong(&operation, "a sequence", self.shape(x)));
        };
        let width = Dim::Fixed(width * pool.tokens_wide());
        Ok(self.push(operation, std::iter::once(x).chain(ids).collect(), vec![batch, width]))
    }

    fn push(&mut self, operation: Operation, inputs: Vec<ValueId>, shape: Vec<Dim>) -> ValueId {
        self.nodes.push(Node { operation, inputs, shape, scope: self.scope.clone() });
        ValueId(self.nodes.len() as u32 - 1)
    }

    fn combine(&mut self, operation: Operation, a: ValueId, b: ValueId) -> Built {
        if self.shape(a) != self.shape(b) {
            return Err(self.wrong(&operation, self.shape(a), self.shape(b)));
        }
        Ok(self.push_like(operation, vec![a, b], a))
    }

    fn push_like(&mut self, operation: Operation, inputs: Vec<ValueId>, like: ValueId) -> ValueId {
        let shape = self.shape(like).to_vec();
        self.push(operation, inputs, shape)
    }

    fn push_map(&mut self, operation: Operation, x: ValueId, [c, h, w]: [usize; 3]) -> ValueId {
        self.push(operation, vec![x], vec![Dim::Batch, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)])
    }

    fn map(&self, operation: &Operation, x: ValueId) -> Result<[usize; 3], GraphError> {
        match *self.shape(x) {
            [_, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] => Ok([channels, height, width]),
            ref other => Err(self.wrong(operation, "a map", other)),
        }
    }

    fn expect_width(&self, operation: &Operation, x: ValueId, width: usize) -> Result<(), GraphError> {
        match self.width(x) {
            Some(found) if found == width => Ok(()),
            found => Err(self.wrong(operation, format!("a last dimension of {width}"), number(found))),
        }
    }

    fn expect_channels(&self, operation: &Operation, x: ValueId, channels: usize) -> Result<(), GraphError> {
        match self.channels(x) {
            Some(found) if found == channels => Ok(()),
            found => Err(self.wrong(operation, format!("{channels} channels"), number(found))),
        }
    }

    fn expect_runs(&self, operation: &Operation, x: ValueId, divisor: usize) -> Result<(), GraphError> {
        match self.width(x) {
            Some(width) if divisor > 0 && width % divisor == 0 => Ok(()),
            found => {
                let expected = format!("a last dimension divisible by {divisor}");
                Err(self.wrong(operation, expected, number(found)))
            }
        }
    }

    fn wrong(
        &self,
        operation: &Operation,
        expected: impl std::fmt::Debug,
        found: impl std::fmt::Debug,
    ) -> GraphError {
        GraphError {
            scope: self.scope.clone(),
            operation: operation.label(),
            expected: format!("{expected:?}").replace('"', ""),
            found: format!("{found:?}").replace('"', ""),
        }
    }
}

/// A dimension for people.
fn number(dimension: Option<usize>) -> String {
    dimension.map_or_else(|| "a dimension that is not fixed".to_owned(), |number| number.to_string())
}
