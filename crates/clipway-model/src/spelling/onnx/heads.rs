//! What follows the features: normalization, a classifier, logits of both towers.

use clipway_formats::{Dtype, OnnxDim};

use super::emit::{Emitter, Value};
use super::lowering::Lowering;
use super::options::OnnxOptions;
use super::recipe::Recipe;
use super::tower::OnnxTower;
use crate::architecture::Model;
use crate::graph::Graph;

/// A zero-shot classifier: label features, and how cosines become logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// The prompts whose features are averaged, with `{}` for the label.
    pub templates: Vec<String>,
    /// Their features with length 1, `[labels, width]`.
    pub features: Vec<f32>,
    /// Factor applied to the cosines.
    pub scale: f32,
    /// Bias added afterwards.
    pub bias: f32,
}

/// Lowers a tower to ONNX operators; with a classifier, from image features to logits.
pub fn lower(
    model: &Model,
    tower: &Graph,
    options: &OnnxOptions,
    classifier: Option<&Classifier>,
) -> OnnxTower {
    let mut lowering = Lowering::new(&model.parameters, tower, options, model.context_length);
    let features = lowering.run();
    lowering.emit.scope.clone_from(&tower.name);
    finish(&mut lowering.emit, features, model.embed_dim, options, classifier);
    lowering.block_outputs();
    OnnxTower::of(lowering.emit, &tower.name)
}

/// Emits what follows the features of one tower, and the output.
fn finish(
    emit: &mut Emitter,
    features: Value,
    width: usize,
    options: &OnnxOptions,
    classifier: Option<&Classifier>,
) {
    let Some(Classifier { labels, features: weights, scale, bias, .. }) = classifier else {
        let features =
            if options.normalize { emit.unit(&features) } else { emit.cast(&features, Dtype::F32) };
        emit.output(&features, &options.output, vec![options.samples(), OnnxDim::Fixed(width)]);
        return;
    };
    let features = emit.unit(&features);
    let count = labels.len();
    let turned = (0..width).flat_map(|place| (0..count).map(move |label| label * width + place));
    let turned = turned.map(|at| f64::from(weights[at]) * f64::from(*scale)).collect();
    let matrix = emit.tensor("classifier.T", Dtype::F32, &[width, count], Recipe::Numbers(turned));
    let logits = emit.node("MatMul", &[&features, &matrix], vec![]);
    let logits = match *bias {
        0.0 => logits,
        bias => {
            let bias = emit.scalar(f64::from(bias), Dtype::F32);
            emit.node("Add", &[&logits, &bias], vec![])
        }
    };
    emit.output(&logits, "logits", vec![options.samples(), OnnxDim::Fixed(count)]);
}

/// Lowers both towers into one graph that outputs the logits of all images and texts, like transformers' `CLIPModel`
/// and `SiglipModel`: `logits_per_image`, `logits_per_text`, `text_embeds` and `image_embeds`. `options` are those for
/// images and for texts.
pub fn lower_pair(model: &Model, [image, text]: [&OnnxOptions; 2]) -> OnnxTower {
    let mut emit = Emitter::default();
    let mut features = Vec::new();
    for (tower, options) in [(&model.text, text), (&model.image, image)] {
        let mut lowering = Lowering::new(&model.parameters, tower, options, model.context_length);
        lowering.emit = emit;
        let value = lowering.run();
        emit = lowering.emit;
        emit.scope.clone_from(&tower.name);
        features.push(emit.unit(&value));
    }
    let [texts, images] = [&features[0], &features[1]];
    emit.scope = "logits".to_owned();
    let name = |id| model.parameters.get(id).name.clone();
    let scale = Recipe::Exponential(model.logit_scale);
    let scale = emit.tensor(&format!("{}.exp", name(model.logit_scale)), Dtype::F32, &[], scale);
    let turned = emit.transpose(images, &[1, 0]);
    let cosines = emit.node("MatMul", &[texts, &turned], vec![]);
    let mut per_text = emit.node("Mul", &[&cosines, &scale], vec![]);
    if let Some(bias) = model.logit_bias {
        let bias = emit.tensor(&name(bias), Dtype::F32, &[], Recipe::Parameter(bias));
        per_text = emit.node("Add", &[&per_text, &bias], vec![]);
    }
    let per_image = emit.transpose(&per_text, &[1, 0]);
    let [image, text] = [image, text].map(OnnxOptions::samples);
    let width = OnnxDim::Fixed(model.embed_dim);
    emit.output(&per_image, "logits_per_image", vec![image.clone(), text.clone()]);
    emit.output(&per_text, "logits_per_text", vec![text.clone(), image.clone()]);
    emit.output(texts, "text_embeds", vec![text, width.clone()]);
    emit.output(images, "image_embeds", vec![image, width]);
    OnnxTower::of(emit, "clip")
}
