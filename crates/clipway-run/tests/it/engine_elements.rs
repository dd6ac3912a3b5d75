//! Weights as stored and as used in computation: f32, bf16 and int8.

use std::collections::HashSet;

use clipway_formats::Dtype;
use clipway_kernels::quantize_weights;
use clipway_model::architecture::Model;
use clipway_model::graph;
use clipway_run::engine::{
    Bf16Products, Compute, Elements, Engine, EngineOptions, Passes, Processor, WeightError, Weights,
};
use clipway_run::tower::TowerInput;
use clipway_testing::architecture_runner::FormulaWeights;
use clipway_testing::formula;
use half::bf16;

use crate::engine::{Broken, CONFIGS, IDS, SENSITIVE, compile, model, pixels, processor};

/// Returns the smallest cosine between a row of `found` and the same row of `expected`.
fn least_cosine(found: &[f32], expected: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let pairs = found.chunks_exact(24).zip(expected.chunks_exact(24));
    pairs.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(1.0, f64::min)
}

#[test]
fn narrower_layers_stay_near_f32_and_a_sample_does_not_depend_on_its_batch() {
    // A processor that multiplies bf16 rounds inputs too.
    let in_bf16 = match processor().bf16() {
        Bf16Products::Widen => 0.9999,
        Bf16Products::Multiply => 0.999,
    };
    for (name, vision, text) in CONFIGS {
        let model = model(vision, text);
        let ids = IDS.as_flattened();
        let run = |image: bool, options: EngineOptions, part: usize| {
            let engine = compile(&model, image, options);
            let values = pixels(&model, 3);
            let found = if image {
                engine.run_pixels(&values[..part * values.len() / 3])
            } else {
                engine.run_tokens(&ids[..12 * part], 12)
            };
            found.expect("it runs")
        };
        for image in [true, false] {
            let exact = run(image, EngineOptions::default(), 3);
            for (compute, least) in [(Compute::Bf16, in_bf16), (Compute::Int8, 0.995)] {
                // Its random weights amplify each rounding, as `widened_bf16_is_f32_with_weights_rounded_beforehand` shows for
                // the f32 engine.
                let is_sensitive = image && name == SENSITIVE;
                let least = if is_sensitive { least - 0.15 } else { least };
                let options = EngineOptions { compute, ..EngineOptions::default() };
                let found = run(image, options, 3);
                let cosine = least_cosine(&found, &exact);
                // Close to the f32 engine, but not identical.
                assert!(cosine > least && found != exact, "{name} {compute:?} {image}: {cosine}");
                assert_eq!(run(image, options, 1), found[..24], "{name} {compute:?} {image}: alone");
            }
        }
    }
}

#[test]
fn multiplying_bf16_agrees_with_widening_it() {
    let options = EngineOptions { compute: Compute::Bf16, ..EngineOptions::default() };
    let [multiplying, widening] = Bf16Products::ALL.map(|products| processor().with_bf16(products));
    let widening = widening.expect("every processor widens");
    let Ok(multiplying) = multiplying else { return };
    assert_eq!([multiplying.bf16(), widening.bf16()], Bf16Products::ALL);
    for (name, vision, text) in CONFIGS {
        let model = model(vision, text);
        for image in [true, false] {
            let graph = if image { &model.image } else { &model.text };
            let run = |processor: &Processor| {
                let engine = Engine::compile(graph, &model.parameters, &FormulaWeights, processor, options)
                    .expect("right");
                let found = if image {
                    engine.run_pixels(&pixels(&model, 3))
                } else {
                    engine.run_tokens(IDS.as_flattened(), 12)
                };
                found.expect("it runs")
            };
            let (found, widened) = (run(&multiplying), run(&widening));
            let cosine = least_cosine(&found, &widened);
            let least = if image && name == SENSITIVE { 0.8 } else { 0.999 };
            assert!(cosine > least, "{name} {image}: {cosine}");
            // Rounded inputs show somewhere.
            assert!(found != widened, "{name} {image}");
        }
    }
}

/// Weights of linear layers, embeddings and most convolutions rounded to bf16, everything else unchanged.
struct Rounded<'a>(HashSet<&'a str>);

impl Weights for Rounded<'_> {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let mut values = Vec::new();
        formula::fill(name, shape, &mut values);
        if self.0.contains(name) {
            values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
        }
        sink(Elements::F32(&values));
        Ok(())
    }
}

#[test]
fn widened_bf16_is_f32_with_weights_rounded_beforehand() {
    for (name, vision, text) in CONFIGS {
        let model = model(vision, text);
        for graph in [&model.image, &model.text] {
            let linear = |node: &graph::Node| match node.operation {
                graph::Operation::Linear { weight, .. } | graph::Operation::Embedding { table: weight } => {
                    Some(model.parameters.get(weight).name.as_str())
                }
                // Neither windows of a channel each nor those computed by Winograd's way.
                graph::Operation::Conv2d { weight, stride, .. } => {
                    let parameter = model.parameters.get(weight);
                    let [outputs, inputs, ref kernel @ ..] = parameter.shape[..] else { panic!("a window") };
                    let in_tiles = kernel == [3, 3] && stride == [1, 1] && outputs.min(inputs) >= 16;
                    (inputs > 1 && !in_tiles).then_some(parameter.name.as_str())
                }
                _ => None,
            };
            let rounded = Rounded(graph.nodes.iter().filter_map(linear).collect());
            // Passes fold factors into weights before these are rounded.
            let run = |weights: &dyn Weights, compute| {
                let options = EngineOptions { passes: Passes::NONE, compute, ..EngineOptions::default() };
                let processor = processor().with_bf16(Bf16Products::Widen).expect("every processor widens");
                let engine = Engine::compile(graph, &model.parameters, weights, &processor, options);
                let engine = engine.expect("it compiles");
                let found = match engine.input() {
                    TowerInput::Pixels { .. } | TowerInput::Grids { .. } => {
                        engine.run_pixels(&pixels(&model, 2))
                    }
                    TowerInput::Tokens { .. } => engine.run_tokens(IDS.as_flattened(), 12),
                };
                found.expect("it runs")
            };
            let expected = run(&rounded, Compute::F32);
            assert_eq!(run(&FormulaWeights, Compute::Bf16), expected, "{name}");
            assert!(
                run(&FormulaWeights, Compute::F32) != expected,
                "{name}: the weights are not bf16 already"
            );
        }
    }
}

/// How [`Stored`] delivers its weights.
#[derive(Clone, Copy)]
enum Storage {
    /// As f32 bytes, in pieces of this many elements.
    Pieces(usize),
    /// As bf16 bytes.
    Bf16,
    /// Matrices, filters and tables in int8, some rows at a time; everything else in f32.
    Int8,
    /// The values that [`Storage::Int8`] stands for, in f32.
    Dequantized,
}

/// Formula weights the way a file might store them.
struct Stored(Storage);

impl Weights for Stored {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let mut values = Vec::new();
        formula::fill(name, shape, &mut values);
        let width = values.len() / shape.first().copied().unwrap_or(1).max(1);
        let mut bytes = Vec::new();
        match self.0 {
            Storage::Pieces(len) => {
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                bytes.chunks(4 * len).for_each(|bytes| sink(Elements::Stored { dtype: Dtype::F32, bytes }));
            }
            Storage::Bf16 => {
                bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()));
                sink(Elements::Stored { dtype: Dtype::BF16, bytes: &bytes });
            }
            _ if !self.is_quantized(name, shape.len()) => sink(Elements::F32(&values)),
            storage => {
                let mut quantized = vec![0; values.len()];
                let rows = values.chunks(width).zip(quantized.chunks_mut(width));
                let scales: Vec<f32> =
                    rows.map(|(row, out)| quantize_weights(row, out).expect("finite")).collect();
                if matches!(storage, Storage::Int8) {
                    for (values, scales) in quantized.chunks(5 * width).zip(scales.chunks(5)) {
                        sink(Elements::Int8 { values, scales });
                    }
                } else {
                    let value = |(index, value): (usize, &i8)| f32::from(*value) * scales[index / width];
                    sink(Elements::F32(&quantized.iter().enumerate().map(value).collect::<Vec<_>>()));
                }
            }
        }
        Ok(())
    }

    fn is_int8(&self, name: &str) -> bool {
        matches!(self.0, Storage::Int8) && self.is_quantized(name, 2)
    }
}

impl Stored {
    /// Decided by name alone, as in a file.
    fn is_quantized(&self, name: &str, dimensions: usize) -> bool {
        let is_norm = ["ln", "norm", "bn"].iter().any(|part| name.contains(part));
        dimensions >= 2 && name.ends_with("weight") && !is_norm
    }
}

fn features_of(model: &Model, image: bool, weights: &dyn Weights, compute: Compute) -> Vec<f32> {
    let graph = if image { &model.image } else { &model.text };
    let options = EngineOptions { compute, ..EngineOptions::default() };
    let processor = processor().with_bf16(Bf16Products::Widen).expect("every processor widens");
    let engine =
        Engine::compile(graph, &model.parameters, weights, &processor, options).expect("it compiles");
    let found =
        if image { engine.run_pixels(&pixels(model, 3)) } else { engine.run_tokens(IDS.as_flattened(), 12) };
    found.expect("it runs")
}

#[test]
fn weights_are_packed_from_whatever_they_are_stored_in() {
    for (name, vision, text) in CONFIGS {
        let model = model(vision, text);
        for image in [true, false] {
            let run = |storage, compute| features_of(&model, image, &Stored(storage), compute);
            let whole = features_of(&model, image, &FormulaWeights, Compute::AsStored);
            // Pieces that end within rows, and one piece for everything.
            for len in [7, 1 << 20] {
                assert_eq!(run(Storage::Pieces(len), Compute::AsStored), whole, "{name} {image} {len}");
            }
            // bf16 in, bf16 panels: already rounded, so both ways agree except for factors folded into weights.
            let [narrow, wide] = [Compute::Bf16, Compute::F32].map(|c| run(Storage::Bf16, c));
            assert!(name == SENSITIVE || least_cosine(&narrow, &wide) > 0.999_99, "{name} {image}");
            // int8 in, f32 panels: the same as those numbers in f32.
            let dequantized = run(Storage::Dequantized, Compute::F32);
            assert_eq!(run(Storage::Int8, Compute::F32), dequantized, "{name} {image}");
            // int8 in, int8 panels, without a request.
            let found = run(Storage::Int8, Compute::AsStored);
            let least = if name == SENSITIVE && image { 0.8 } else { 0.995 };
            let cosine = least_cosine(&found, &dequantized);
            assert!(cosine > least && found != dequantized, "{name} {image}: {cosine}");
            // Quantizing already quantized values changes little.
            let again = run(Storage::Dequantized, Compute::Int8);
            let cosine = least_cosine(&found, &again);
            assert!(cosine > least, "{name} {image}: {cosine} again");
        }
    }
}

#[test]
fn what_is_not_finite_has_no_int8() {
    let model = model("", "");
    let options = EngineOptions { compute: Compute::Int8, ..EngineOptions::default() };
    let result =
        Engine::compile(&model.image, &model.parameters, &Broken("not a number"), &processor(), options);
    let expected = "tensor `visual.transformer.resblocks.1.mlp.c_fc.weight`: it holds NaN or infinity, which int8 does not have";
    assert_eq!(result.expect_err("it is refused").to_string(), expected);
    let engine = compile(&model, true, options);
    let mut values = pixels(&model, 3);
    let expected = engine.run_pixels(&values).expect("pixels");
    values[3072 + 5] = f32::INFINITY;
    let found = engine.run_pixels(&values).expect("pixels");
    assert!(found[24..48].iter().all(|value| value.is_nan()));
    assert_eq!((&found[..24], &found[48..]), (&expected[..24], &expected[48..]));
}
