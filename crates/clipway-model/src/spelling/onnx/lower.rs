//! Lowers a tower one operation at a time.

use clipway_formats::{Dtype, OnnxAttribute};

use super::attention::Attention;
use super::emit::Value;
use super::layers::ConvWindow;
use super::lowering::{Lowering, fixed};
use super::recipe::{Norm, Recipe};
use crate::graph::{MeanWindow, Node, Operation, merged_patches};

impl Lowering<'_> {
    /// Emits every operation; returns the features.
    pub fn run(&mut self) -> Value {
        let tower = self.tower;
        for (index, node) in tower.nodes.iter().enumerate() {
            let scope = if node.scope.is_empty() { &tower.name } else { &node.scope };
            self.emit.scope.clone_from(scope);
            let value = self.node(index, node);
            self.values.push(value);
        }
        self.values[tower.output.index()].clone()
    }

    /// Makes each block's result an output.
    pub fn block_outputs(&mut self) {
        for (name, id) in std::mem::take(&mut self.blocks) {
            self.emit.scope.clone_from(&name);
            let value = self.emit.cast(&self.values[id.index()].clone(), Dtype::F32);
            let shape = self.tower.node(id).shape.iter().map(|dim| self.dim(*dim)).collect();
            self.emit.output(&value, &format!("block:{name}"), shape);
        }
    }

    fn node(&mut self, index: usize, node: &Node) -> Value {
        let inputs: Vec<Value> = (0..node.inputs.len()).map(|slot| self.input(index, slot)).collect();
        let first = inputs.first();
        if let (Operation::BatchNorm { .. } | Operation::Scale { .. }, true) =
            (&node.operation, self.fused[index].taken)
        {
            return inputs[0].clone();
        }
        let taken = self.fused[index].taken;
        match (&node.operation, first) {
            (Operation::Pixels, _) => self.pixels(index, node),
            (&Operation::Patches { size }, Some(x)) => self.patches(x, node, size),
            (Operation::TokenIds { .. }, _) => self.token_ids(node),
            (Operation::Linear { rows, .. }, Some(x)) => match self.narrow.split.get(&index) {
                Some(&pool) => self.linear_apart(x, index, pool),
                None => {
                    let after = self.fused[index].after.clone();
                    self.linear(x, index, *rows, after)
                }
            },
            (Operation::Conv2d { weight, bias, stride, padding, groups }, Some(x)) => {
                let window = ConvWindow { stride: *stride, padding: *padding, groups: *groups };
                self.conv(x, index, *weight, *bias, window)
            }
            (&Operation::BatchNorm { weight, bias, mean, variance, epsilon }, Some(x)) => {
                let norm = Norm { weight, bias, mean, variance, epsilon };
                let channels = [self.parameters.get(weight).elements(), 1, 1];
                let scale = self.weight(&self.name(weight, ".scale"), &channels, Recipe::NormScale(norm));
                let shift = self.weight(&self.name(bias, ".shift"), &channels, Recipe::NormShift(norm));
                let scaled = self.emit.node("Mul", &[x, &scale], vec![]);
                self.emit.node("Add", &[&scaled, &shift], vec![])
            }
            (&Operation::LayerNorm { weight, bias, epsilon }, Some(x)) => {
                let is_map = node.shape.len() == 4;
                let x = if is_map { self.emit.transpose(x, &[0, 2, 3, 1]) } else { x.clone() };
                let normed = self.layer_norm(&x, weight, bias, epsilon);
                if is_map { self.emit.transpose(&normed, &[0, 3, 1, 2]) } else { normed }
            }
            (&Operation::HeadNorm { weight, bias, epsilon }, Some(x)) => {
                let (width, head) = (fixed(node), self.parameters.get(weight).elements());
                let heads = self.emit.reshape(x, &[0, 0, (width / head) as i64, head as i64]);
                let normed = self.layer_norm(&heads, weight, bias, epsilon);
                self.emit.reshape(&normed, &[0, 0, width as i64])
            }
            (&Operation::RmsNorm { weight, epsilon }, Some(x)) => {
                let (width, run) = (fixed(node), self.parameters.get(weight).elements());
                if run == width {
                    return self.rms_norm(x, weight, epsilon);
                }
                let heads = self.emit.reshape(x, &[0, 0, (width / run) as i64, run as i64]);
                let normed = self.rms_norm(&heads, weight, epsilon);
                self.emit.reshape(&normed, &[0, 0, width as i64])
            }
            (&Operation::ResponseNorm { weight, bias, epsilon }, Some(x)) => {
                self.response_norm(x, node, [weight, bias], epsilon)
            }
            (&Operation::UnitHeads { heads }, Some(x)) => {
                let width = fixed(node);
                // For a vector, or for the tokens of a sequence.
                let kept = vec![0; node.shape.len() - 1];
                let cut = [&kept[..], &[heads as i64, (width / heads) as i64]].concat();
                let cut = self.emit.reshape(x, &cut);
                let unit = self.emit.unit(&cut);
                let joined = self.emit.reshape(&unit, &[&kept[..], &[width as i64]].concat());
                self.emit.cast(&joined, self.float)
            }
            (&Operation::ScaleHeads { factors, limit }, Some(x)) => {
                let width = fixed(node);
                let times = width / self.parameters.get(factors).elements();
                let recipe = Recipe::HeadFactors { factors, times, limit };
                let factors = self.weight(&self.name(factors, ".heads"), &[width], recipe);
                self.emit.node("Mul", &[x, &factors], vec![])
            }
            (&Operation::Attention { heads, scale, mask, bias }, Some(_)) => {
                let factor = (!taken).then_some(f64::from(scale));
                self.attention(index, &inputs, Attention { heads, factor, mask, bias })
            }
            (&Operation::Rotary { heads, rotation }, Some(x)) => self.rotary(x, node, heads, &rotation),
            (Operation::Activation(activation), Some(x)) => self.activation(x, *activation),
            (Operation::Add, Some(x)) => self.emit.node("Add", &[x, &inputs[1]], vec![]),
            (Operation::Multiply | Operation::Gate, Some(x)) => {
                self.emit.node("Mul", &[x, &inputs[1]], vec![])
            }
            (Operation::Subtract, Some(x)) => self.emit.node("Sub", &[x, &inputs[1]], vec![]),
            (&Operation::AddPositions { table, change }, Some(x)) => {
                self.add_positions(x, node, table, change)
            }
            (&Operation::AddRow { table, row }, Some(x)) => {
                let width = fixed(node);
                let name = self.name(table, &format!("[{row}]"));
                let row = self.weight(&name, &[width], Recipe::Rows(table, row..row + 1));
                self.emit.node("Add", &[x, &row], vec![])
            }
            (&Operation::AddTextPositions { positions, padding }, Some(x)) => {
                self.add_text_positions(x, &inputs[1], fixed(node), positions, padding)
            }
            (Operation::Times { factor }, Some(x)) => {
                let factor = self.emit.scalar(*factor, self.float);
                self.emit.node("Mul", &[x, &factor], vec![])
            }
            (&Operation::Scale { factors }, Some(x)) => {
                let count = self.parameters.get(factors).elements();
                let shape = if node.shape.len() == 4 { vec![count, 1, 1] } else { vec![count] };
                let factors = self.parameter(factors, &shape);
                self.emit.node("Mul", &[x, &factors], vec![])
            }
            (&Operation::Embedding { table }, Some(ids)) if self.is_int8(table) => self.int8_rows(table, ids),
            (&Operation::Embedding { table }, Some(ids)) => {
                let shape = self.parameters.get(table).shape.clone();
                let table = self.parameter(table, &shape);
                self.emit.gather(&table, ids, 0)
            }
            (&Operation::PrependToken { token }, Some(x)) => {
                let tokens = self.learned_tokens(x, token, fixed(node));
                self.emit.concatenate(&[&tokens, x], 1)
            }
            (&Operation::AppendToken { token }, Some(x)) => {
                let tokens = self.learned_tokens(x, token, fixed(node));
                self.emit.concatenate(&[x, &tokens], 1)
            }
            (Operation::PrependMean, Some(x)) => {
                let mean = self.emit.reduce("ReduceMean", x, 1, true);
                self.emit.concatenate(&[&mean, x], 1)
            }
            (&Operation::DropTokens { count }, Some(x)) => self.emit.slice(x, 1, count as i64, i64::MAX),
            (&Operation::Queries { tokens }, Some(_)) => {
                let [count, width] = self.parameters.get(tokens).matrix_shape()[..] else {
                    unreachable!("queries are a matrix");
                };
                self.parameter(tokens, &[1, count, width])
            }
            (Operation::Flatten, Some(x)) => {
                let cells = self.emit.reshape(x, &[0, 0, -1]);
                self.emit.transpose(&cells, &[0, 2, 1])
            }
            (&Operation::Unflatten { size }, Some(x)) => {
                let channels = self.emit.transpose(x, &[0, 2, 1]);
                self.emit.reshape(&channels, &[0, 0, size[0] as i64, size[1] as i64])
            }
            (Operation::MeanMap, Some(x)) => self.emit.node("GlobalAveragePool", &[x], vec![]),
            (&Operation::AveragePool(MeanWindow { kernel, stride, padding }), Some(x)) => {
                let [kernel, stride, padding] = [kernel, stride, padding].map(|side| side as i64);
                let attributes = vec![
                    ("kernel_shape", OnnxAttribute::Ints(vec![kernel; 2])),
                    ("strides", OnnxAttribute::Ints(vec![stride; 2])),
                    ("pads", OnnxAttribute::Ints(vec![padding; 4])),
                    ("count_include_pad", OnnxAttribute::Int(0)),
                ];
                self.emit.node("AveragePool", &[x], attributes)
            }
            (Operation::Windows(windows), Some(x)) => self.arrange(x, &windows.order()),
            (Operation::Unwindows(windows), Some(x)) => self.arrange(x, &windows.inverse()),
            (&Operation::MergePatches { size }, Some(x)) => {
                let patches = self.arrange(x, &merged_patches(size));
                let tokens = size[0] * size[1] / 4;
                self.emit.reshape(&patches, &[0, tokens as i64, fixed(node) as i64])
            }
            (&Operation::WindowAttention { heads, windows, table }, Some(x)) => {
                self.window_attention(x, fixed(node), heads, !taken, &windows, table)
            }
            (Operation::Pool(_), Some(x)) if self.narrow.pools[node.inputs[0].index()].is_some() => {
                self.emit.reshape(x, &[0, fixed(node) as i64])
            }
            (Operation::Pool(pool), Some(x)) => self.pool(x, *pool, inputs.get(1), fixed(node)),
            (operation, None) => unreachable!("{} has an input", operation.label()),
        }
    }
}
