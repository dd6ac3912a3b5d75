//! Pools each sample's tokens to one vector.

use clipway_formats::{Dtype, OnnxAttribute};

use super::emit::Value;
use super::lowering::Lowering;
use super::recipe::Recipe;
use crate::graph::{Dim, Pool};

/// Less than any value that a tower computes.
const LEAST_F32: f64 = -3.4e38;

/// The same in f16.
const LEAST_F16: f64 = -6e4;

impl Lowering<'_> {
    /// Pools a sequence; `width` is the result's.
    pub fn pool(&mut self, x: &Value, pool: Pool, ids: Option<&Value>, width: usize) -> Value {
        let ids = || ids.expect("the pool looks at the ids").clone();
        match pool {
            Pool::First => self.token(x, 0, 1, width),
            Pool::Last => self.token(x, -1, i64::MAX, width),
            Pool::Argmax | Pool::Eos(_) | Pool::EosOrLast { .. } => {
                let place = self.place(pool, &ids());
                self.emit.node("GatherND", &[x, &place], vec![("batch_dims", OnnxAttribute::Int(1))])
            }
            Pool::MeanUnpadded(padding) => {
                let seen = self.unpadded(&ids(), padding, Dtype::F32);
                let last = self.emit.integers(&[2]);
                let seen = self.emit.node("Unsqueeze", &[&seen, &last], vec![]);
                let x = self.emit.cast(x, Dtype::F32);
                let seen_x = self.emit.node("Mul", &[&x, &seen], vec![]);
                let [sum, count] = [seen_x, seen].map(|value| {
                    let axes = self.emit.integers(&[1]);
                    self.emit.node("ReduceSum", &[&value, &axes], vec![("keepdims", OnnxAttribute::Int(0))])
                });
                let mean = self.emit.node("Div", &[&sum, &count], vec![]);
                self.emit.cast(&mean, self.float)
            }
            Pool::MaxUnpadded(padding) => {
                let is_padding = self.equal(&ids(), padding);
                let last = self.emit.integers(&[2]);
                let is_padding = self.emit.node("Unsqueeze", &[&is_padding, &last], vec![]);
                let least = if self.float == Dtype::F16 { LEAST_F16 } else { LEAST_F32 };
                let least = self.emit.scalar(least, self.float);
                let seen = self.emit.typed("Where", &[&is_padding, &least, x], vec![], self.float);
                self.emit.reduce("ReduceMax", &seen, 1, false)
            }
            Pool::Mean { skip } => {
                let x = self.after(x, skip);
                self.emit.reduce("ReduceMean", &x, 1, false)
            }
            Pool::Max { skip } => {
                let x = self.after(x, skip);
                self.emit.reduce("ReduceMax", &x, 1, false)
            }
            Pool::MeanMax { skip } => {
                let [mean, most] = self.mean_and_max(x, skip);
                let sum = self.emit.node("Add", &[&mean, &most], vec![]);
                let half = self.emit.scalar(0.5, self.float);
                self.emit.node("Mul", &[&sum, &half], vec![])
            }
            Pool::MeanAndMax { skip } => {
                let [mean, most] = self.mean_and_max(x, skip);
                self.emit.concatenate(&[&mean, &most], -1)
            }
        }
    }

    fn mean_and_max(&mut self, x: &Value, skip: usize) -> [Value; 2] {
        let x = self.after(x, skip);
        ["ReduceMean", "ReduceMax"].map(|operator| self.emit.reduce(operator, &x, 1, false))
    }

    /// One token by its position.
    fn token(&mut self, x: &Value, start: i64, end: i64, width: usize) -> Value {
        let token = self.emit.slice(x, 1, start, end);
        self.emit.reshape(&token, &[0, width as i64])
    }

    /// The place of the token that a pool chooses by the ids, `[batch, 1]`.
    ///
    /// It is the first of the highest scores. ONNX says that `ArgMax` takes the first of several, and some runtimes take the
    /// last. Texts that are padded with their end token have several, so scores are made distinct: `score · context - place`.
    pub fn place(&mut self, pool: Pool, ids: &Value) -> Value {
        self.shared(format!("place of {pool:?}"), |this| {
            let scores = this.scores_of_tokens(pool, ids);
            let context = this.longest(Dim::Length(0)) as i64;
            let factor = Recipe::Integers(vec![context]);
            let factor = this.emit.tensor(&format!("context[{context}]"), Dtype::I32, &[], factor);
            let places = this.places();
            let scores = this.emit.node("Mul", &[&scores, &factor], vec![]);
            let scores = this.emit.node("Sub", &[&scores, &places], vec![]);
            let attributes = vec![("axis", OnnxAttribute::Int(1)), ("keepdims", OnnxAttribute::Int(1))];
            this.emit.typed("ArgMax", &[&scores], attributes, Dtype::I64)
        })
    }

    /// A score for each token, `[batch, length]`; the pool chooses the first of the highest.
    fn scores_of_tokens(&mut self, pool: Pool, ids: &Value) -> Value {
        match pool {
            Pool::Eos(end) => {
                let is_end = self.equal(ids, end);
                self.emit.cast(&is_end, Dtype::I32)
            }
            Pool::EosOrLast { end, padding } => {
                let is_end = self.equal(ids, end);
                let is_end = self.emit.cast(&is_end, Dtype::I32);
                let seen = self.unpadded(ids, padding, Dtype::I32);
                let axes = self.emit.integers(&[1]);
                let count = self.emit.node("ReduceSum", &[&seen, &axes], vec![]);
                let one = self.emit.tensor("count[1]", Dtype::I32, &[], Recipe::Integers(vec![1]));
                let last = self.emit.node("Sub", &[&count, &one], vec![]);
                let places = self.places();
                let is_last = self.emit.typed("Equal", &[&places, &last], vec![], Dtype::Bool);
                let is_last = self.emit.cast(&is_last, Dtype::I32);
                let ends = self.emit.node("Add", &[&is_end, &is_end], vec![]);
                self.emit.node("Add", &[&ends, &is_last], vec![])
            }
            _ => self.emit.cast(ids, Dtype::I32),
        }
    }

    /// The places of a text's tokens, `[1, length]`.
    fn places(&mut self) -> Value {
        self.shared("places".to_owned(), |this| {
            let context = this.longest(Dim::Length(0));
            let places = Recipe::Integers((0..context as i64).collect());
            let places = this.emit.tensor("places", Dtype::I32, &[1, context], places);
            match this.count(Dim::Length(0)) {
                Some(_) => places,
                None => this.first(&places, &[1], Dim::Length(0)),
            }
        })
    }

    fn after(&mut self, x: &Value, skip: usize) -> Value {
        if skip == 0 { x.clone() } else { self.emit.slice(x, 1, skip as i64, i64::MAX) }
    }
}
