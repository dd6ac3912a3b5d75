//! Attention, and operations on each head.

use super::super::layers::{LayerNorm, RmsNorm};
use super::super::operation::Operation;
use super::super::parameters::ParameterId;
use super::super::rotation::{Coordinates, Rotation};
use super::super::settings::{AttentionBias, Mask};
use super::super::{Dim, ValueId};
use super::{Built, GraphBuilder, GraphError};

/// Options of an attention; see [`GraphBuilder::attention_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Number of heads.
    pub heads: usize,
    /// Which keys are visible.
    pub mask: Mask,
    /// Scale of the scores; `None` for one over the square root of the head width.
    pub scale: Option<f32>,
    /// The token ids, for a mask that depends on them.
    pub ids: Option<ValueId>,
    /// Bias added to the scaled scores.
    pub bias: Option<AttentionBias>,
}

impl AttentionOptions {
    /// This many heads, all keys visible, the usual scale, no bias.
    pub fn new(heads: usize) -> AttentionOptions {
        AttentionOptions { heads, mask: Mask::None, scale: None, ids: None, bias: None }
    }
}

impl GraphBuilder<'_> {
    /// Attends: one input with queries, keys and values side by side, or three inputs.
    pub fn attention(&mut self, inputs: &[ValueId], heads: usize, mask: Mask) -> Built {
        self.attention_with(inputs, AttentionOptions { mask, ..AttentionOptions::new(heads) })
    }

    /// Attends with another scale, a bias, or a mask that depends on token ids.
    pub fn attention_with(&mut self, inputs: &[ValueId], options: AttentionOptions) -> Built {
        let AttentionOptions { heads, mask, scale, ids, bias } = options;
        let width = match inputs {
            [packed] => self.width(*packed).filter(|w| w % 3 == 0).map(|w| w / 3),
            [query, _, _] => self.width(*query),
            _ => None,
        };
        let placeholder = Operation::Attention { heads, scale: scale.unwrap_or(0.0), mask, bias };
        let Some(width) = width.filter(|w| heads > 0 && w % heads == 0 && *w > 0) else {
            return Err(self.wrong(&placeholder, format!("a width divisible by {heads} heads"), inputs));
        };
        if let [query, key, value] = inputs {
            let same = self.width(*key) == Some(width) && self.shape(*key) == self.shape(*value);
            if !same || self.shape(*query).len() != 3 {
                return Err(self.wrong(&placeholder, self.shape(*query), self.shape(*key)));
            }
        }
        if ids.is_some() != matches!(mask, Mask::Padding { .. }) {
            return Err(self.wrong(&placeholder, "token ids for a mask that depends on them", ids));
        }
        if let Some(bias) = &bias {
            if matches!(mask, Mask::Causal | Mask::Padding { causal: true, .. }) {
                return Err(self.wrong(&placeholder, "no bias with a causal mask", bias.label()));
            }
            self.check_bias(&placeholder, bias, heads, inputs)?;
        }
        let scale = scale.unwrap_or((1.0 / ((width / heads) as f64).sqrt()) as f32);
        let mut shape = self.shape(inputs[0]).to_vec();
        *shape.last_mut().expect("a value has dimensions") = Dim::Fixed(width);
        let inputs = inputs.iter().copied().chain(ids).collect();
        Ok(self.push(Operation::Attention { heads, scale, mask, bias }, inputs, shape))
    }

    /// Normalizes each head separately.
    pub fn head_norm(&mut self, x: ValueId, layer: &LayerNorm) -> Built {
        let operation =
            Operation::HeadNorm { weight: layer.weight, bias: layer.bias, epsilon: layer.epsilon };
        self.expect_runs(&operation, x, self.parameters.get(layer.weight).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Normalizes each head by its own root mean square.
    pub fn head_rms_norm(&mut self, x: ValueId, layer: &RmsNorm) -> Built {
        let operation = Operation::RmsNorm { weight: layer.weight, epsilon: layer.epsilon };
        self.expect_runs(&operation, x, self.parameters.get(layer.weight).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Scales each head to length 1.
    pub fn unit_heads(&mut self, x: ValueId, heads: usize) -> Built {
        let operation = Operation::UnitHeads { heads };
        self.expect_runs(&operation, x, heads)?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Multiplies each head by its own factor; with a limit, the factors are logarithms.
    pub fn scale_heads(&mut self, x: ValueId, factors: ParameterId, limit: Option<f32>) -> Built {
        let operation = Operation::ScaleHeads { factors, limit };
        self.expect_runs(&operation, x, self.parameters.get(factors).elements())?;
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Rotates each head by the token's position on a grid.
    pub fn rotary(&mut self, x: ValueId, heads: usize, rotation: Rotation) -> Built {
        let operation = Operation::Rotary { heads, rotation };
        let runs = rotation.smallest_head() * heads;
        let fits = |tokens: Dim| match tokens {
            Dim::Fixed(tokens) => tokens == rotation.tokens(),
            // A text has at most as many.
            Dim::Length(_) => rotation.coordinates == Coordinates::Line,
            Dim::Batch => false,
        };
        match *self.shape(x) {
            [_, tokens, Dim::Fixed(width)] if fits(tokens) && heads > 0 && width % runs == 0 => {
                Ok(self.push_like(operation, vec![x], x))
            }
            ref other => {
                let expected = format!("{} tokens with a width divisible by {runs}", rotation.tokens());
                Err(self.wrong(&operation, expected, other))
            }
        }
    }

    fn check_bias(
        &self,
        operation: &Operation,
        bias: &AttentionBias,
        heads: usize,
        inputs: &[ValueId],
    ) -> Result<(), GraphError> {
        match *bias {
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, grid, skip } => {
                let shape = |id: ParameterId| self.parameters.get(id).shape.as_slice();
                let hidden = shape(hidden_bias);
                let fits = matches!(hidden, [hidden] if shape(hidden_weight) == [*hidden, 2]
                    && shape(weight) == [heads, *hidden]);
                if !fits || shape(bias) != [heads] {
                    let found = [hidden_weight, hidden_bias, weight, bias].map(shape);
                    return Err(self.wrong(operation, format!("an MLP from 2 to {heads}"), found));
                }
                let tokens = Dim::Fixed(skip + grid[0] * grid[1]);
                if inputs.iter().any(|input| self.shape(*input)[1] != tokens) {
                    return Err(self.wrong(operation, tokens, self.shape(inputs[0])));
                }
            }
            AttentionBias::Window { .. } => {
                if inputs.iter().any(|input| self.shape(*input)[1] != self.shape(inputs[0])[1]) {
                    return Err(self.wrong(operation, "queries and keys of one sequence", inputs));
                }
            }
            AttentionBias::Buckets { table, reach } => {
                let shape = &self.parameters.get(table).shape;
                let &[buckets, columns] = shape.as_slice() else {
                    return Err(self.wrong(operation, "a table of buckets", shape));
                };
                // Each direction has buckets for one distance and for many; `reach` is among the latter.
                if columns != heads || buckets < 4 || reach <= buckets / 2 / 2 {
                    let expected = format!("[buckets, {heads}] and a reach above {}", buckets / 2 / 2);
                    return Err(self.wrong(operation, expected, format!("{shape:?} and {reach}")));
                }
            }
        }
        Ok(())
    }
}
