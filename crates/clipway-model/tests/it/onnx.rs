//! Towers as ONNX: every architecture, and what the graphs never contain.

use std::collections::{BTreeSet, HashSet};

use clipway_formats::{Dtype, OnnxDim, OnnxExternal};
use clipway_model::architecture::{Model, build};
use clipway_model::graph::Graph;
use clipway_model::plan::Precision;
use clipway_model::registry;
use clipway_model::spelling::onnx::{OnnxOptions, OnnxPrecision, OnnxTower, PixelInput, lower, lower_pair};

fn model(name: &str) -> Model {
    build(&registry::model(name).expect("the name is registered")).expect("it can be built")
}

fn towers(model: &Model) -> [&Graph; 2] {
    [&model.image, &model.text]
}

/// Checks the rules for every graph: nothing that targets cannot run or that runtimes refuse.
fn check(tower: &OnnxTower, name: &str) {
    let graph = &tower.graph;
    let count = |operator: &str| graph.nodes.iter().filter(|node| node.operator == operator).count();
    for operator in ["Resize", "If", "Loop", "Einsum", "NonZero", "Upsample"] {
        assert_eq!(count(operator), 0, "{name}: {operator}");
    }
    assert!(count("Shape") <= graph.inputs.len(), "{name}");
    let names: HashSet<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names.len(), graph.nodes.len(), "{name}: names of nodes are unique");
    // Every value is produced once and before it is used, and every initializer is used.
    let mut known: HashSet<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
    known.extend(graph.initializers.iter().map(|info| info.name.as_str()));
    let mut used = HashSet::new();
    for node in &graph.nodes {
        for input in &node.inputs {
            assert!(known.contains(input.as_str()), "{name}: {} needs {input}", node.name);
            used.insert(input.as_str());
        }
        for output in &node.outputs {
            assert!(known.insert(output), "{name}: {output} is made twice");
        }
    }
    for output in &graph.outputs {
        assert!(known.contains(output.name.as_str()), "{name}: {}", output.name);
        used.insert(output.name.as_str());
    }
    for info in &graph.initializers {
        assert!(used.contains(info.name.as_str()), "{name}: nothing uses {}", info.name);
        assert!(info.shape.len() <= 5, "{name}: {} {:?}", info.name, info.shape);
    }
    for value in graph.inputs.iter().chain(&graph.outputs) {
        assert!(value.dtype != Dtype::F16, "{name}: {}", value.name);
        assert!(value.shape.len() <= 4, "{name}: {}", value.name);
    }
    tower.layout(OnnxExternal::WhereNeeded("model.onnx_data")).expect("it can be laid out");
}

#[test]
fn every_architecture_becomes_onnx() {
    let mut operators = BTreeSet::new();
    let mut count = 0;
    for name in registry::names() {
        let model = model(name);
        let variants = [
            OnnxOptions::default(),
            OnnxOptions { precision: OnnxPrecision::F16, free_length: true, ..OnnxOptions::default() },
            OnnxOptions { batch: Some(2), blocks: true, ids: Dtype::I32, ..OnnxOptions::default() },
        ];
        // Each model with the defaults and with one of the other variants.
        for options in [&variants[0], &variants[1 + count % 2]] {
            for tower in towers(&model) {
                let made = lower(&model, tower, options, None);
                check(&made, &format!("{name} {}", tower.name));
                operators.extend(made.operators());
                let first = &made.graph.outputs[0];
                let expected = options.batch.map_or(OnnxDim::Free("batch".to_owned()), OnnxDim::Fixed);
                assert_eq!(first.shape, [expected, OnnxDim::Fixed(model.embed_dim)], "{name}");
                assert_eq!(first.name, "embedding");
                assert_eq!(made.graph.outputs.len() > 1, options.blocks, "{name} {}", tower.name);
            }
        }
        count += 1;
    }
    assert!(count >= 144, "{count}");
    let expected = [
        "Add",
        "ArgMax",
        "AveragePool",
        "Cast",
        "Concat",
        "Conv",
        "CumSum",
        "Div",
        "Equal",
        "Erf",
        "Expand",
        "Gather",
        "GatherND",
        "GlobalAveragePool",
        "Identity",
        "LayerNormalization",
        "MatMul",
        "Max",
        "Mul",
        "Not",
        "Pad",
        "Pow",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
    ];
    let expected: BTreeSet<&str> = expected.into_iter().collect();
    assert_eq!(operators, expected);
}

#[test]
fn the_last_block_computes_the_pooled_token_alone() {
    let queries = |name: &str, blocks: bool| {
        let model = model(name);
        let options = OnnxOptions { blocks, ..OnnxOptions::default() };
        towers(&model).map(|tower| {
            let lowered = lower(&model, tower, &options, None);
            check(&lowered, name);
            let names = lowered.graph.initializers.iter().map(|info| &info.name);
            names.filter(|name| name.contains("in_proj_weight[0..")).cloned().collect::<Vec<_>>()
        })
    };
    let [image, text] = queries("ViT-B-32", false);
    assert_eq!(image, ["visual.transformer.resblocks.11.attn.in_proj_weight[0..768].T.scaled"]);
    assert_eq!(text, ["transformer.resblocks.11.attn.in_proj_weight[0..512].T.scaled"]);
    // Results of blocks that are outputs are whole.
    assert_eq!(queries("ViT-B-32", true), [Vec::<String>::new(), Vec::new()]);
    // A mean needs every token.
    assert_eq!(queries("ViT-B-16-SigLIP", false)[0], Vec::<String>::new());
}

#[test]
fn both_towers_share_a_graph() {
    let model = model("ViT-B-16-SigLIP");
    let options = |input: &str, batch: &str| OnnxOptions {
        input: input.to_owned(),
        batch_name: batch.to_owned(),
        ..OnnxOptions::default()
    };
    let [image, text] = [options("pixel_values", "images"), options("input_ids", "texts")];
    let made = lower_pair(&model, [&image, &text]);
    check(&made, "ViT-B-16-SigLIP");
    let names: Vec<&str> = made.graph.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]);
    let free = |name: &str| OnnxDim::Free(name.to_owned());
    assert_eq!(made.graph.outputs[0].shape, [free("images"), free("texts")]);
    assert_eq!(made.graph.inputs.len(), 2);
}

#[test]
fn bytes_are_normalized_by_the_first_convolution() {
    let operators = |name: &str| {
        let model = model(name);
        let pixels = PixelInput::Bytes { mean: [0.5; 3], std: [0.25; 3] };
        let made = lower(&model, &model.image, &OnnxOptions { pixels, ..OnnxOptions::default() }, None);
        check(&made, name);
        let input = &made.graph.inputs[0];
        assert_eq!((input.dtype, &input.shape[3]), (Dtype::U8, &OnnxDim::Fixed(3)));
        made.graph.nodes.iter().take(4).map(|node| node.operator).collect::<Vec<_>>()
    };
    assert_eq!(operators("ViT-B-32"), ["Cast", "Transpose", "Conv", "Reshape"]);
    // Zeros around the map are not black pixels, so the bytes are normalized first.
    assert_eq!(operators("RN50"), ["Cast", "Transpose", "Mul", "Add"]);
}

#[test]
fn bf16_is_refused() {
    assert_eq!(OnnxPrecision::try_from(Precision::F16), Ok(OnnxPrecision::F16));
    let error = OnnxPrecision::try_from(Precision::BF16).expect_err("ONNX Runtime cannot run it");
    assert!(error.to_string().contains("bf16"), "{error}");
}
