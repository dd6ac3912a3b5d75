//! Inputs, linear layers, convolutions and norms.

use clipway_formats::{Dtype, OnnxAttribute, OnnxDim};

use super::emit::Value;
use super::lengths::reads_padding;
use super::lowering::{Lowering, fixed};
use super::options::PixelInput;
use super::recipe::{After, Colors, Factor, Recipe};
use crate::graph::{Dim, Node, Operation, ParameterId, Pool, Rows, WeightLayout};

/// How a convolution's window moves.
#[derive(Clone, Copy)]
pub(super) struct ConvWindow {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub groups: usize,
}

impl Lowering<'_> {
    /// The pixels as the tower expects them.
    pub fn pixels(&mut self, index: usize, node: &Node) -> Value {
        let [_, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] = node.shape[..] else {
            unreachable!("pixels are a map");
        };
        let dims = |lengths: [usize; 3]| {
            std::iter::once(self.options.samples()).chain(lengths.map(OnnxDim::Fixed)).collect::<Vec<_>>()
        };
        let PixelInput::Bytes { mean, std } = self.options.pixels else {
            let shape = dims([channels, height, width]);
            let pixels = self.emit.input(&self.options.input, Dtype::F32, shape);
            self.root = Some(pixels.clone());
            return self.emit.cast(&pixels, self.float);
        };
        let shape = dims([height, width, channels]);
        let bytes = self.emit.input(&self.options.input, Dtype::U8, shape);
        self.root = Some(bytes.clone());
        let numbers = self.emit.cast(&bytes, self.float);
        let map = self.emit.transpose(&numbers, &[0, 3, 1, 2]);
        if self.colors_of(index).is_some() {
            return map;
        }
        let colors = Colors { mean, std };
        let color = |numbers: [f64; 3]| Recipe::Numbers(numbers.to_vec());
        let factors = self.emit.tensor("colors.factors", self.float, &[3, 1, 1], color(colors.factors()));
        let shifts = self.emit.tensor("colors.shifts", self.float, &[3, 1, 1], color(colors.shifts()));
        let scaled = self.emit.node("Mul", &[&map, &factors], vec![]);
        self.emit.node("Add", &[&scaled, &shifts], vec![])
    }

    /// The pixel normalization of node `index`, if the only convolution that reads them can do it: one without zero
    /// padding, since zeros are not black pixels.
    fn colors_of(&self, index: usize) -> Option<Colors> {
        let PixelInput::Bytes { mean, std } = self.options.pixels else { return None };
        let mut readers =
            self.tower.nodes.iter().filter(|node| node.inputs.iter().any(|input| input.index() == index));
        let reader = readers.next().filter(|_| readers.next().is_none())?;
        let folds = matches!(reader.operation, Operation::Conv2d { padding: [0, 0], groups: 1, .. });
        (folds && matches!(self.tower.nodes[index].operation, Operation::Pixels))
            .then_some(Colors { mean, std })
    }

    /// The whole patches of pixels, `[batch, patches, height · width · channels]`.
    pub fn patches(&mut self, x: &Value, node: &Node, [height, width]: [usize; 2]) -> Value {
        let [_, Dim::Fixed(channels), Dim::Fixed(rows), Dim::Fixed(columns)] =
            self.tower.node(node.inputs[0]).shape[..]
        else {
            unreachable!("patches are cut from a map");
        };
        let sizes = [channels, rows / height, height, columns / width, width].map(|length| length as i64);
        let [channels, down, height, across, width] = sizes;
        let cut = self.emit.reshape(x, &[0, channels, down, height, across, width]);
        let turned = self.emit.transpose(&cut, &[0, 2, 4, 3, 5, 1]);
        self.emit.reshape(&turned, &[0, down * across, height * width * channels])
    }

    pub fn token_ids(&mut self, node: &Node) -> Value {
        let shape = node.shape.iter().map(|dim| self.dim(*dim)).collect();
        let ids = self.emit.input(&self.options.input, self.options.ids, shape);
        self.root = Some(ids.clone());
        match self.options.padding {
            Some(padding) if reads_padding(self.tower) => self.padded(&ids, padding),
            _ => ids,
        }
    }

    /// The keys and values of a linear layer; its queries, of the selected token alone, are remembered for the attention.
    pub fn linear_apart(&mut self, x: &Value, index: usize, pool: Pool) -> Value {
        let width = fixed(&self.tower.nodes[index]) / 3;
        let part = |first: usize, count: usize| Some(Rows { weight: first, bias: first, count });
        let token = self.selected(x, pool);
        let after = self.fused[index].after.clone();
        let queries = self.linear(&token, index, part(0, width), after);
        self.queries.insert(index, queries);
        self.linear(x, index, part(width, 2 * width), After::default())
    }

    /// The outputs `rows` of a linear layer, or all, with what follows merged into its weights.
    pub fn linear(&mut self, x: &Value, index: usize, rows: Option<Rows>, after: After) -> Value {
        let Operation::Linear { weight, bias, layout, .. } = self.tower.nodes[index].operation else {
            unreachable!("it is a linear layer");
        };
        let shape = &self.parameters.get(weight).shape;
        let (inputs, stored) = match layout {
            WeightLayout::OutIn => (shape[1], shape[0]),
            WeightLayout::InOut => (shape[0], shape[1]),
        };
        let Rows { weight: first, bias: bias_first, count } =
            rows.unwrap_or(Rows { weight: 0, bias: 0, count: stored });
        let part = if count == stored { String::new() } else { format!("[{first}..{}]", first + count) };
        let scaled = if after.factors.is_empty() { "" } else { ".scaled" };
        let (turned, recipe) = match layout {
            WeightLayout::InOut if count == stored && after.factors.is_empty() => {
                ("", Recipe::Parameter(weight))
            }
            WeightLayout::InOut => {
                ("", Recipe::Matrix { weight, layout, outputs: first..first + count, after: after.clone() })
            }
            WeightLayout::OutIn => {
                (".T", Recipe::Matrix { weight, layout, outputs: first..first + count, after: after.clone() })
            }
        };
        let name = self.name(weight, &format!("{part}{turned}{scaled}"));
        let x = &self.rounded(x, self.tower.nodes[index].inputs[0], weight, None);
        let matrix = self.product_weight(weight, &name, &[inputs, count], recipe, 1);
        let product = self.emit.node("MatMul", &[x, &matrix], vec![]);
        let Some(bias) = bias else { return product };
        let is_whole = self.parameters.get(bias).elements() == count;
        let recipe = if is_whole && after.factors.is_empty() {
            Recipe::Parameter(bias)
        } else {
            Recipe::Bias { bias: Some((bias, bias_first)), outputs: count, after, colors: None }
        };
        let part = if is_whole { String::new() } else { format!("[{bias_first}..{}]", bias_first + count) };
        let name = self.name(bias, &format!("{part}{scaled}"));
        let bias = self.weight(&name, &[count], recipe);
        self.emit.node("Add", &[&product, &bias], vec![])
    }

    pub fn conv(
        &mut self,
        x: &Value,
        index: usize,
        weight: ParameterId,
        bias: Option<ParameterId>,
        window: ConvWindow,
    ) -> Value {
        let after = self.fused[index].after.clone();
        let shape = self.parameters.get(weight).shape.clone();
        let outputs = shape[0];
        let colors = self.colors_of(self.tower.nodes[index].inputs[0].index());
        let change = match (after.factors.is_empty(), colors.is_some()) {
            (true, false) => "",
            (_, false) => ".scaled",
            (_, true) => ".of_bytes",
        };
        let recipe = if change.is_empty() {
            Recipe::Parameter(weight)
        } else {
            Recipe::Filters { weight, after: after.clone(), colors }
        };
        let filters = self.product_weight(weight, &self.name(weight, change), &shape, recipe, 0);
        let shifts = colors.is_some() || after.factors.iter().any(|f| matches!(f, Factor::Norm(_)));
        let bias = match bias {
            Some(bias) if change.is_empty() => Some(self.parameter(bias, &[outputs])),
            None if !shifts => None,
            bias => {
                let name = match bias {
                    Some(bias) => self.name(bias, change),
                    None => self.name(weight, &format!("{change}.bias")),
                };
                let colors = colors.map(|colors| (colors, weight));
                let recipe = Recipe::Bias { bias: bias.map(|bias| (bias, 0)), outputs, after, colors };
                Some(self.weight(&name, &[outputs], recipe))
            }
        };
        let ConvWindow { stride, padding: [down, across], groups } = window;
        let attributes = vec![
            ("group", OnnxAttribute::Int(groups as i64)),
            ("kernel_shape", OnnxAttribute::Ints(vec![shape[2] as i64, shape[3] as i64])),
            ("pads", OnnxAttribute::Ints([down, across, down, across].map(|side| side as i64).to_vec())),
            ("strides", OnnxAttribute::Ints(stride.map(|side| side as i64).to_vec())),
        ];
        let input = self.tower.nodes[index].inputs[0];
        let x = match self.tower.node(input).operation {
            // Of bytes, the range is known.
            Operation::Pixels => self.rounded(x, input, weight, colors.map(|_| 255.0)),
            _ => x.clone(),
        };
        let inputs: Vec<&Value> = [&x, &filters].into_iter().chain(bias.as_ref()).collect();
        self.emit.node("Conv", &inputs, attributes)
    }

    pub fn layer_norm(
        &mut self,
        x: &Value,
        weight: ParameterId,
        bias: Option<ParameterId>,
        epsilon: f64,
    ) -> Value {
        let width = self.parameters.get(weight).elements();
        let weight = self.parameter(weight, &[width]);
        let bias = match bias {
            Some(bias) => self.parameter(bias, &[width]),
            // Runtimes that fuse operators look at the third input.
            None => {
                let zeros = Recipe::Numbers(vec![0.0; width]);
                self.shared(format!("zeros {width}"), |this| {
                    this.emit.tensor(&format!("zeros[{width}]"), this.float, &[width], zeros)
                })
            }
        };
        let attributes =
            vec![("axis", OnnxAttribute::Int(-1)), ("epsilon", OnnxAttribute::Float(epsilon as f32))];
        self.emit.node("LayerNormalization", &[x, &weight, &bias], attributes)
    }

    /// In f32 for every precision: squares overflow in f16.
    pub fn response_norm(
        &mut self,
        x: &Value,
        node: &Node,
        [weight, bias]: [ParameterId; 2],
        epsilon: f64,
    ) -> Value {
        let x = self.emit.cast(x, Dtype::F32);
        let places: usize =
            node.shape[2..].iter().map(|dim| if let Dim::Fixed(side) = dim { *side } else { 1 }).product();
        let squares = self.emit.node("Mul", &[&x, &x], vec![]);
        let mean = self.emit.node("GlobalAveragePool", &[&squares], vec![]);
        let places = self.emit.scalar(places as f64, Dtype::F32);
        let sums = self.emit.node("Mul", &[&mean, &places], vec![]);
        let lengths = self.emit.node("Sqrt", &[&sums], vec![]);
        let mean = self.emit.reduce("ReduceMean", &lengths, 1, true);
        let epsilon = self.emit.scalar(epsilon, Dtype::F32);
        let mean = self.emit.node("Add", &[&mean, &epsilon], vec![]);
        let shares = self.emit.node("Div", &[&lengths, &mean], vec![]);
        let channels = self.parameters.get(weight).elements();
        let [weight, bias] = [weight, bias].map(|id| {
            let values = self.parameter(id, &[channels, 1, 1]);
            self.emit.cast(&values, Dtype::F32)
        });
        let factors = self.emit.node("Mul", &[&shares, &weight], vec![]);
        let one = self.emit.scalar(1.0, Dtype::F32);
        let factors = self.emit.node("Add", &[&factors, &one], vec![]);
        let scaled = self.emit.node("Mul", &[&x, &factors], vec![]);
        let shifted = self.emit.node("Add", &[&scaled, &bias], vec![]);
        self.emit.cast(&shifted, self.float)
    }

    /// In f32 whatever the precision: squares of f16 overflow.
    pub fn rms_norm(&mut self, x: &Value, weight: ParameterId, epsilon: f64) -> Value {
        let x = self.emit.cast(x, Dtype::F32);
        let two = self.emit.scalar(2.0, Dtype::F32);
        let epsilon = self.emit.scalar(epsilon, Dtype::F32);
        let squares = self.emit.node("Pow", &[&x, &two], vec![]);
        let mean = self.emit.reduce("ReduceMean", &squares, -1, true);
        let mean = self.emit.node("Add", &[&mean, &epsilon], vec![]);
        let root = self.emit.node("Sqrt", &[&mean], vec![]);
        let unit = self.emit.node("Div", &[&x, &root], vec![]);
        let width = self.parameters.get(weight).elements();
        let weight = self.parameter(weight, &[width]);
        let weight = self.emit.cast(&weight, Dtype::F32);
        let scaled = self.emit.node("Mul", &[&unit, &weight], vec![]);
        self.emit.cast(&scaled, self.float)
    }
}
