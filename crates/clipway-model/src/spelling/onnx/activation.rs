//! Elementwise functions.

use super::emit::Value;
use super::lowering::Lowering;
use crate::graph::Activation;

impl Lowering<'_> {
    /// Applies an elementwise function, in the form that runtimes fuse into one operator.
    pub fn activation(&mut self, x: &Value, activation: Activation) -> Value {
        let float = self.float;
        let emit = &mut self.emit;
        match activation {
            Activation::Gelu => {
                let root = emit.scalar(std::f64::consts::SQRT_2, float);
                let (one, half) = (emit.scalar(1.0, float), emit.scalar(0.5, float));
                let inner = emit.node("Div", &[x, &root], vec![]);
                let erf = emit.node("Erf", &[&inner], vec![]);
                let sum = emit.node("Add", &[&erf, &one], vec![]);
                let product = emit.node("Mul", &[x, &sum], vec![]);
                emit.node("Mul", &[&product, &half], vec![])
            }
            Activation::GeluTanh => {
                let root = emit.scalar((2.0 / std::f64::consts::PI).sqrt(), float);
                let cubic = emit.scalar(0.044715, float);
                let (one, half) = (emit.scalar(1.0, float), emit.scalar(0.5, float));
                let square = emit.node("Mul", &[x, &cubic], vec![]);
                let square = emit.node("Mul", &[&square, x], vec![]);
                let square = emit.node("Add", &[&square, &one], vec![]);
                let linear = emit.node("Mul", &[x, &root], vec![]);
                let inner = emit.node("Mul", &[&linear, &square], vec![]);
                let tanh = emit.node("Tanh", &[&inner], vec![]);
                let sum = emit.node("Add", &[&tanh, &one], vec![]);
                let halved = emit.node("Mul", &[x, &half], vec![]);
                emit.node("Mul", &[&halved, &sum], vec![])
            }
            Activation::QuickGelu => {
                let factor = emit.scalar(1.702, float);
                let inner = emit.node("Mul", &[x, &factor], vec![]);
                let gate = emit.node("Sigmoid", &[&inner], vec![]);
                emit.node("Mul", &[x, &gate], vec![])
            }
            Activation::Silu => {
                let gate = emit.node("Sigmoid", &[x], vec![]);
                emit.node("Mul", &[x, &gate], vec![])
            }
            Activation::Relu => emit.node("Relu", &[x], vec![]),
            Activation::Tanh => emit.node("Tanh", &[x], vec![]),
            Activation::Sigmoid => emit.node("Sigmoid", &[x], vec![]),
        }
    }
}
