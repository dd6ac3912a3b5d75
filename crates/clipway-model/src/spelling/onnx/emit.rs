//! A graph under construction: names are unique, and equal constants are stored once.

use std::collections::{HashMap, HashSet};

use clipway_formats::{Dtype, OnnxAttribute, OnnxDim, OnnxGraph, OnnxNode, OnnxValue, TensorInfo};

use super::recipe::Recipe;

/// A value of the ONNX graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub name: String,
    pub dtype: Dtype,
    /// Whether it is the same for every sample: its first dimension is 1.
    pub constant: bool,
}

/// The nodes emitted so far.
#[derive(Default)]
pub(super) struct Emitter {
    pub graph: OnnxGraph,
    /// How each initializer is made.
    pub recipes: Vec<Recipe>,
    /// Module of the next nodes.
    pub scope: String,
    names: HashSet<String>,
    counts: HashMap<String, usize>,
    /// Small constants and casts by content, so that each is stored once.
    known: HashMap<String, Value>,
    /// New names of values that became outputs.
    renamed: HashMap<String, String>,
}

/// Recipes up to this many elements are deduplicated; larger ones never repeat.
const MOST_COMPARED: usize = 1 << 12;

impl Emitter {
    /// An unused name.
    fn unique(&mut self, wanted: &str) -> String {
        if self.names.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        loop {
            let count = self.counts.entry(wanted.to_owned()).or_insert(1);
            *count += 1;
            let name = format!("{wanted}_{count}");
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }

    /// An input of the graph.
    pub fn input(&mut self, name: &str, dtype: Dtype, shape: Vec<OnnxDim>) -> Value {
        let name = self.unique(name);
        self.graph.inputs.push(OnnxValue { name: name.clone(), dtype, shape });
        Value { name, dtype, constant: false }
    }

    /// Makes a value an output of the graph, with this name.
    pub fn output(&mut self, value: &Value, name: &str, shape: Vec<OnnxDim>) {
        let output = self.unique(name);
        let mut value = value.clone();
        value.name = self.current(&value.name);
        let is_output = self.graph.outputs.iter().any(|output| output.name == value.name);
        let is_made = self.graph.nodes.iter().any(|node| node.outputs.contains(&value.name));
        if is_output || !is_made {
            value = self.node("Identity", &[&value], vec![]);
        }
        for node in &mut self.graph.nodes {
            for named in node.inputs.iter_mut().chain(&mut node.outputs) {
                if *named == value.name {
                    named.clone_from(&output);
                }
            }
        }
        self.renamed.insert(value.name, output.clone());
        self.graph.outputs.push(OnnxValue { name: output, dtype: value.dtype, shape });
    }

    /// The current name of a value, by the name it was created with.
    fn current(&self, name: &str) -> String {
        self.renamed.get(name).map_or(name, String::as_str).to_owned()
    }

    /// A node with one output, with the dtype of its first input.
    pub fn node(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: Vec<(&'static str, OnnxAttribute)>,
    ) -> Value {
        let dtype = inputs[0].dtype;
        self.typed(operator, inputs, attributes, dtype)
    }

    /// A node with one output of a given dtype.
    pub fn typed(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: Vec<(&'static str, OnnxAttribute)>,
        dtype: Dtype,
    ) -> Value {
        let [value] = self.several(operator, inputs, attributes, dtype);
        value
    }

    /// A node with several outputs.
    pub fn several<const COUNT: usize>(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: Vec<(&'static str, OnnxAttribute)>,
        dtype: Dtype,
    ) -> [Value; COUNT] {
        let name = self.unique(&format!("{}/{operator}", self.scope));
        let constant = inputs.iter().all(|input| input.constant);
        // Runtimes use one namespace for operations and values.
        let outputs: [Value; COUNT] = std::array::from_fn(|index| Value {
            name: self.unique(&format!("{name}:{index}")),
            dtype,
            constant,
        });
        self.graph.nodes.push(OnnxNode {
            name,
            operator,
            inputs: inputs.iter().map(|input| self.current(&input.name)).collect(),
            outputs: outputs.iter().map(|output| output.name.clone()).collect(),
            attributes,
        });
        outputs
    }

    /// A constant tensor.
    pub fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], recipe: Recipe) -> Value {
        let elements: usize = shape.iter().product();
        let comparable = recipe.is_of_parameters() || elements <= MOST_COMPARED;
        let key = comparable.then(|| format!("{dtype} {shape:?} {recipe:?}"));
        if let Some(value) = key.as_ref().and_then(|key| self.known.get(key)) {
            return value.clone();
        }
        let name = self.unique(name);
        self.graph.initializers.push(TensorInfo { name: name.clone(), dtype, shape: shape.to_vec() });
        self.recipes.push(recipe);
        let value = Value { name, dtype, constant: true };
        key.map(|key| self.known.insert(key, value.clone()));
        value
    }

    /// A list of integers, as operators expect shapes, axes and indices.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let shown: Vec<String> = values.iter().take(8).map(i64::to_string).collect();
        let more = if values.len() > shown.len() { ",…" } else { "" };
        let name = format!("integers[{}{more}]", shown.join(","));
        self.tensor(&name, Dtype::I64, &[values.len()], Recipe::Integers(values.to_vec()))
    }

    /// A scalar to combine with every element.
    pub fn scalar(&mut self, value: f64, dtype: Dtype) -> Value {
        self.tensor(&format!("number[{value}]"), dtype, &[], Recipe::Numbers(vec![value]))
    }

    /// A value cast to another dtype; each value is cast once.
    pub fn cast(&mut self, value: &Value, dtype: Dtype) -> Value {
        if value.dtype == dtype {
            return value.clone();
        }
        let key = format!("cast {} to {dtype}", value.name);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let to = match dtype {
            Dtype::F32 => 1,
            Dtype::I32 => 6,
            Dtype::I64 => 7,
            Dtype::F16 => 10,
            other => unreachable!("nothing is cast to {other}"),
        };
        let cast = self.typed("Cast", &[value], vec![("to", OnnxAttribute::Int(to))], dtype);
        self.known.insert(key, cast.clone());
        cast
    }

    /// A value with this shape; 0 keeps a dimension.
    pub fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        let constant = value.constant;
        Value { constant, ..self.node("Reshape", &[value, &shape], vec![]) }
    }

    /// A value with its dimensions reordered.
    pub fn transpose(&mut self, value: &Value, order: &[i64]) -> Value {
        self.node("Transpose", &[value], vec![("perm", OnnxAttribute::Ints(order.to_vec()))])
    }

    /// The elements from `start` to `end` along an axis.
    pub fn slice(&mut self, value: &Value, axis: i64, start: i64, end: i64) -> Value {
        let [start, end, axis] = [start, end, axis].map(|number| self.integers(&[number]));
        self.node("Slice", &[value, &start, &end, &axis], vec![])
    }

    /// Concatenates values along an axis.
    pub fn concatenate(&mut self, values: &[&Value], axis: i64) -> Value {
        self.node("Concat", values, vec![("axis", OnnxAttribute::Int(axis))])
    }

    /// The rows selected by constant indices along an axis.
    pub fn gather(&mut self, value: &Value, indices: &Value, axis: i64) -> Value {
        self.node("Gather", &[value, indices], vec![("axis", OnnxAttribute::Int(axis))])
    }

    /// Sums along an axis, which is kept with length 1.
    pub fn sum(&mut self, value: &Value, axis: i64) -> Value {
        let axes = self.integers(&[axis]);
        self.node("ReduceSum", &[value, &axes], vec![("keepdims", OnnxAttribute::Int(1))])
    }

    /// Means (`ReduceMean`) or maxima (`ReduceMax`) along an axis, which is kept with length 1 or dropped.
    pub fn reduce(&mut self, operator: &'static str, value: &Value, axis: i64, stays: bool) -> Value {
        let attributes = vec![
            ("axes", OnnxAttribute::Ints(vec![axis])),
            ("keepdims", OnnxAttribute::Int(i64::from(stays))),
        ];
        self.node(operator, &[value], attributes)
    }

    /// A value divided by its Euclidean norm along the last dimension, in f32: squares overflow in f16.
    pub fn unit(&mut self, value: &Value) -> Value {
        let wide = self.cast(value, Dtype::F32);
        let squares = self.node("Mul", &[&wide, &wide], vec![]);
        let sum = self.sum(&squares, -1);
        let length = self.node("Sqrt", &[&sum], vec![]);
        let least = self.scalar(1e-12, Dtype::F32);
        let length = self.node("Max", &[&length, &least], vec![]);
        self.node("Div", &[&wide, &length], vec![])
    }
}
