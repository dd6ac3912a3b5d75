//! Recipes: how the numbers of a step are made from a checkpoint's tensors.
//!
//! Passes change recipes and never numbers, so nothing is read before the whole program is known, and folding is
//! computed only once, in f64.

use std::ops::Range;

use clipway_model::graph::{GridChange, ParameterId, WeightLayout};

/// A vector computed from parameters, one number per channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Vector {
    /// A parameter's elements.
    Parameter(ParameterId),
    /// The same number this many times.
    Constant(f64, usize),
    /// A range of another vector.
    Part(Box<Vector>, Range<usize>),
    /// Concatenated vectors.
    Joined(Vec<Vector>),
    /// Elementwise product.
    Product(Box<Vector>, Box<Vector>),
    /// Elementwise sum.
    Sum(Box<Vector>, Box<Vector>),
    /// `weight / sqrt(variance + epsilon)`.
    NormScale { weight: ParameterId, variance: ParameterId, epsilon: f64 },
    /// `bias - mean · weight / sqrt(variance + epsilon)`.
    NormShift { norm: NormParameters, epsilon: f64 },
    /// Each element repeated this many times; `exp(min(element, limit))` if there is a limit.
    Repeated { factors: ParameterId, times: usize, limit: Option<f32> },
}

/// Parameters of a batch normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NormParameters {
    pub weight: ParameterId,
    pub bias: ParameterId,
    pub mean: ParameterId,
    pub variance: ParameterId,
}

impl Vector {
    /// The product of two vectors.
    pub fn times(self, other: Vector) -> Vector {
        Vector::Product(Box::new(self), Box::new(other))
    }

    /// The sum of two vectors.
    pub fn plus(self, other: Vector) -> Vector {
        Vector::Sum(Box::new(self), Box::new(other))
    }

    /// The sum of two optional vectors.
    pub fn sum(first: Option<Vector>, second: Option<Vector>) -> Option<Vector> {
        match (first, second) {
            (Some(first), Some(second)) => Some(first.plus(second)),
            (first, second) => first.or(second),
        }
    }

    /// A range of the vector.
    pub fn part(self, range: Range<usize>) -> Vector {
        Vector::Part(Box::new(self), range)
    }
}

/// A weight matrix `[outputs, inputs]`, in blocks of outputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub inputs: usize,
    pub blocks: Vec<Block>,
}

/// Some outputs of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub parameter: ParameterId,
    pub layout: WeightLayout,
    /// Which of the parameter's outputs.
    pub outputs: Range<usize>,
    /// Factor of each output in `outputs`.
    pub factors: Option<Vector>,
    /// Filters added to the parameter's, which are then filters too.
    pub addends: Vec<Addend>,
}

/// Filters for a block's outputs, centered in its kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Addend {
    pub filters: Filters,
    /// Height and width of the block's kernel.
    pub within: [usize; 2],
    /// Factor of each output of the block.
    pub factors: Vector,
}

/// Filters that others are added to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filters {
    /// A parameter's filters, with a kernel of this height and width.
    Parameter(ParameterId, [usize; 2]),
    /// Filters of the identity.
    Unit,
}

impl Matrix {
    /// A whole parameter.
    pub fn of(parameter: ParameterId, layout: WeightLayout, outputs: usize, inputs: usize) -> Matrix {
        Matrix {
            inputs,
            blocks: vec![Block {
                parameter,
                layout,
                outputs: 0..outputs,
                factors: None,
                addends: Vec::new(),
            }],
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.blocks.iter().map(|b| b.outputs.len()).sum()
    }

    /// The matrix with its outputs multiplied by `factors`.
    pub fn scaled(mut self, factors: &Vector) -> Matrix {
        let mut start = 0;
        for block in &mut self.blocks {
            let own = factors.clone().part(start..start + block.outputs.len());
            start += block.outputs.len();
            block.factors = Some(match block.factors.take() {
                Some(before) => before.times(own.clone()),
                None => own.clone(),
            });
            for addend in &mut block.addends {
                addend.factors = addend.factors.clone().times(own.clone());
            }
        }
        self
    }

    /// The filters, with kernel `within`, with others added at their center.
    pub fn plus(mut self, within: [usize; 2], filters: Filters, factors: &Vector) -> Matrix {
        let mut start = 0;
        for block in &mut self.blocks {
            let own = factors.clone().part(start..start + block.outputs.len());
            start += block.outputs.len();
            block.addends.push(Addend { filters: filters.clone(), within, factors: own });
        }
        self
    }

    /// The matrix for a range of outputs.
    pub fn part(&self, range: Range<usize>) -> Matrix {
        let mut blocks = Vec::new();
        let mut start = 0;
        for block in &self.blocks {
            let here = start..start + block.outputs.len();
            start = here.end;
            let (low, high) = (range.start.max(here.start), range.end.min(here.end));
            if low < high {
                let inside = low - here.start..high - here.start;
                blocks.push(Block {
                    outputs: block.outputs.start + inside.start..block.outputs.start + inside.end,
                    factors: block.factors.clone().map(|f| f.part(inside.clone())),
                    addends: block.addends.iter().map(|addend| addend.part(inside.clone())).collect(),
                    ..*block
                });
            }
        }
        Matrix { inputs: self.inputs, blocks }
    }
}

impl Addend {
    fn part(&self, outputs: Range<usize>) -> Addend {
        Addend { factors: self.factors.clone().part(outputs), ..self.clone() }
    }
}

/// A table added to each sample: rows of leading tokens, then its own `[tokens, width]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub positions: ParameterId,
    /// How the positions are resampled, if they were made for another grid.
    pub change: Option<GridChange>,
    /// Parameters that form the first rows of each sample.
    pub leading: Vec<ParameterId>,
    /// Whether the leading rows have positions too (the first ones).
    pub leading_have_positions: bool,
    /// Added to every row except the leading ones.
    pub bias: Option<Vector>,
    /// Number of position rows, after resampling.
    pub tokens: usize,
}
