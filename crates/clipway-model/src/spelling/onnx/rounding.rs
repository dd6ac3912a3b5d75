//! Products with weights in int8, and rounded inputs.

use clipway_formats::{Dtype, OnnxAttribute};

use super::emit::Value;
use super::int8::{MOST, Part, TablePart};
use super::lowering::Lowering;
use super::recipe::Recipe;
use crate::graph::{ParameterId, ValueId};

impl Lowering<'_> {
    /// Whether a parameter is stored in int8.
    pub fn is_int8(&self, id: ParameterId) -> bool {
        self.options.int8.as_ref().is_some_and(|int8| int8.names.contains(&self.parameters.get(id).name))
    }

    /// A weight of a product, with a scale for each index of `axis` where it is stored in int8.
    pub fn product_weight(
        &mut self,
        id: ParameterId,
        name: &str,
        shape: &[usize],
        recipe: Recipe,
        axis: usize,
    ) -> Value {
        if !self.is_int8(id) {
            return self.weight(name, shape, recipe);
        }
        let part =
            |part| Recipe::Quantized { of: Box::new(recipe.clone()), shape: shape.to_vec(), axis, part };
        let values = self.emit.tensor(name, Dtype::I8, shape, part(Part::Values));
        let scales =
            self.emit.tensor(&format!("{name}.scale"), Dtype::F32, &[shape[axis]], part(Part::Scales));
        self.shared(format!("wide {}", values.name), |this| {
            let zeros = this.zeros(shape[axis]);
            let attributes = vec![("axis", OnnxAttribute::Int(axis as i64))];
            this.emit.typed("DequantizeLinear", &[&values, &scales, &zeros], attributes, Dtype::F32)
        })
    }

    /// The rows of a table that is stored in int8.
    pub fn int8_rows(&mut self, table: ParameterId, ids: &Value) -> Value {
        let shape = self.parameters.get(table).shape.clone();
        let name = self.name(table, "");
        let part = |part| Recipe::Table { table, part };
        let values = self.emit.tensor(&name, Dtype::I8, &shape, part(TablePart::Values));
        let roots =
            self.emit.tensor(&format!("{name}.roots"), Dtype::U8, &[shape[0], 1], part(TablePart::Roots));
        let step = self.emit.tensor(&format!("{name}.step"), Dtype::F32, &[], part(TablePart::Step));
        let [rows, roots] = [values, roots].map(|part| {
            let part = self.emit.gather(&part, ids, 0);
            self.emit.cast(&part, Dtype::F32)
        });
        let roots = self.emit.node("Mul", &[&roots, &step], vec![]);
        let scales = self.emit.node("Mul", &[&roots, &roots], vec![]);
        self.emit.node("Mul", &[&rows, &scales], vec![])
    }

    /// A value rounded to int8, if it has a range and is the input of a product whose weight is in int8.
    pub fn rounded(&mut self, x: &Value, value: ValueId, weight: ParameterId, range: Option<f64>) -> Value {
        let Some(ranges) = self.options.int8.as_ref().and_then(|int8| int8.ranges.clone()) else {
            return x.clone();
        };
        let own = if self.reads_pixels() { &ranges.image } else { &ranges.text };
        let range = range.or_else(|| own.get(&value).copied().map(f64::from)).filter(|range| *range > 0.0);
        let Some(range) = range.filter(|_| self.is_int8(weight)) else { return x.clone() };
        self.shared(format!("rounded {} {range}", x.name), |this| {
            let name = format!("{}.scale", x.name);
            let scale = this.emit.tensor(&name, Dtype::F32, &[], Recipe::Numbers(vec![range / MOST]));
            let zero = this.emit.tensor("zero", Dtype::I8, &[], Recipe::Integers(vec![0]));
            let narrow = this.emit.typed("QuantizeLinear", &[x, &scale, &zero], vec![], Dtype::I8);
            this.emit.typed("DequantizeLinear", &[&narrow, &scale, &zero], vec![], Dtype::F32)
        })
    }

    fn zeros(&mut self, count: usize) -> Value {
        self.shared(format!("zeros of int8 {count}"), |this| {
            let zeros = Recipe::Integers(vec![0; count]);
            this.emit.tensor(&format!("zeros[{count}].int8"), Dtype::I8, &[count], zeros)
        })
    }
}
