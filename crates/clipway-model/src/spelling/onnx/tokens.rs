//! Tokens before and after a sequence, and positions.

use clipway_formats::{Dtype, OnnxAttribute};

use super::emit::Value;
use super::lowering::Lowering;
use super::options::TextPadding;
use super::recipe::Recipe;
use crate::graph::{Dim, GridChange, Node, ParameterId, TextPositions, ValueId, sinusoid_frequencies};

impl Lowering<'_> {
    /// Learned tokens for each sample of `x`, `[batch, tokens, width]`.
    pub fn learned_tokens(&mut self, x: &Value, token: ParameterId, width: usize) -> Value {
        let count = self.parameters.get(token).elements() / width;
        if let (Some(samples), false) = (self.options.batch, x.constant) {
            let name = self.name(token, &format!(".times{samples}"));
            return self.weight(&name, &[samples, count, width], Recipe::Repeated(token, samples));
        }
        let tokens = self.parameter(token, &[1, count, width]);
        if x.constant {
            return tokens;
        }
        let shape = self.shared(format!("batch of {count} of {width}"), |this| {
            let shape = this.root_shape();
            let samples = this.shared("samples".to_owned(), |this| this.emit.slice(&shape, 0, 0, 1));
            let rest = this.emit.integers(&[count as i64, width as i64]);
            this.emit.concatenate(&[&samples, &rest], 0)
        });
        self.emit.node("Expand", &[&tokens, &shape], vec![])
    }

    /// Adds a table of positions.
    pub fn add_positions(
        &mut self,
        x: &Value,
        node: &Node,
        table: ParameterId,
        change: Option<GridChange>,
    ) -> Value {
        let [rows, width] = self.parameters.get(table).matrix_shape()[..] else {
            unreachable!("positions are a matrix");
        };
        let tokens = node.shape[1];
        let positions = match (change, self.count(tokens)) {
            (Some(change), Some(tokens)) => {
                let name = self.name(table, ".resampled");
                self.weight(&name, &[tokens, width], Recipe::Grid(table, change))
            }
            (_, Some(tokens)) if tokens != rows => {
                let name = self.name(table, &format!("[0..{tokens}]"));
                self.weight(&name, &[tokens, width], Recipe::Rows(table, 0..tokens))
            }
            (_, Some(_)) => self.parameter(table, &[rows, width]),
            (_, None) => {
                let whole = self.parameter(table, &[rows, width]);
                self.first(&whole, &[0], tokens)
            }
        };
        self.emit.node("Add", &[x, &positions], vec![])
    }

    /// Adds positions that skip padding.
    pub fn add_text_positions(
        &mut self,
        x: &Value,
        ids: &Value,
        width: usize,
        positions: TextPositions,
        padding: i64,
    ) -> Value {
        let first = usize::try_from(padding).unwrap_or(0) + 1;
        let table = match positions {
            TextPositions::Table(table) => {
                let shape = self.parameters.get(table).shape.clone();
                self.parameter(table, &shape)
            }
            TextPositions::Sinusoids => {
                let frequencies = sinusoid_frequencies(width);
                let mut values = vec![0.0; first * width];
                for position in first..first + self.most {
                    let angle = |frequency: &f32| f64::from(position as f32 * frequency);
                    values.extend(frequencies.iter().map(|frequency| angle(frequency).sin()));
                    values.extend(frequencies.iter().map(|frequency| angle(frequency).cos()));
                    values.resize((position + 1) * width, 0.0);
                }
                let shape = [first + self.most, width];
                self.emit.tensor("sinusoids", self.float, &shape, Recipe::Numbers(values))
            }
        };
        let counted = self.unpadded(ids, padding, Dtype::I32);
        let axis = self.emit.tensor("axis[1]", Dtype::I32, &[], Recipe::Integers(vec![1]));
        let counts = self.emit.node("CumSum", &[&counted, &axis], vec![]);
        let counts = self.emit.node("Mul", &[&counts, &counted], vec![]);
        let offset = Recipe::Integers(vec![first as i64 - 1]);
        let offset = self.emit.tensor(&format!("offset[{}]", first - 1), Dtype::I32, &[], offset);
        let places = self.emit.node("Add", &[&counts, &offset], vec![]);
        let rows = self.emit.gather(&table, &places, 0);
        self.emit.node("Add", &[x, &rows], vec![])
    }

    /// The ids with the model's own padding after the end of each text.
    pub fn padded(&mut self, ids: &Value, padding: TextPadding) -> Value {
        let is_end = self.equal(ids, padding.end);
        let is_end = self.emit.cast(&is_end, Dtype::I32);
        let axis = self.emit.tensor("axis[1]", Dtype::I32, &[], Recipe::Integers(vec![1]));
        let ends = self.emit.node("CumSum", &[&is_end, &axis], vec![]);
        let before = self.emit.node("Sub", &[&ends, &is_end], vec![]);
        let is_text = self.equal(&before, 0);
        let name = format!("padding[{}]", padding.id);
        let id = self.emit.tensor(&name, ids.dtype, &[], Recipe::Integers(vec![padding.id]));
        self.emit.typed("Where", &[&is_text, ids, &id], vec![], ids.dtype)
    }

    /// Where the ids equal these, as booleans.
    pub fn equal(&mut self, ids: &Value, id: i64) -> Value {
        self.shared(format!("{} is {id}", ids.name), |this| {
            let id = this.emit.tensor(&format!("id[{id}]"), ids.dtype, &[], Recipe::Integers(vec![id]));
            this.emit.typed("Equal", &[ids, &id], vec![], Dtype::Bool)
        })
    }

    /// 1 where the ids are not padding, else 0, `[batch, length]`.
    pub fn unpadded(&mut self, ids: &Value, padding: i64, dtype: Dtype) -> Value {
        let is_padding = self.equal(ids, padding);
        let seen = self.shared(format!("not {}", is_padding.name), |this| {
            this.emit.typed("Not", &[&is_padding], vec![], Dtype::Bool)
        });
        self.emit.cast(&seen, dtype)
    }

    /// The tokens of a sequence, reordered.
    pub fn arrange(&mut self, x: &Value, order: &[usize]) -> Value {
        let order: Vec<i64> = order.iter().map(|place| *place as i64).collect();
        let order = self.shared(format!("order {order:?}"), |this| {
            let recipe = Recipe::Integers(order.clone());
            this.emit.tensor(&format!("order[{}]", order.len()), Dtype::I64, &[order.len()], recipe)
        });
        self.emit.node("Gather", &[x, &order], vec![("axis", OnnxAttribute::Int(1))])
    }

    /// The token dimension of a value.
    pub fn tokens_of(&self, value: ValueId) -> Dim {
        self.tower.node(value).shape[1]
    }
}
