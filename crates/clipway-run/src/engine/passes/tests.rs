//! Tests what each pass does to the program; whole-model tests check that features stay the same.

use clipway_model::architecture::{self, Model};
use clipway_model::config::ModelConfig;
use clipway_model::graph::{Graph, Mask, Pool};

use super::super::lower::lower;
use super::super::program::Program;
use super::super::shape::{Combine, Cut, Finish, Rows, Select};
use super::super::steps::{Attention, Embedding, Linear, Op, Pairwise, Patches};
use super::{Passes, run};

fn model(vision: &str, text: &str) -> Model {
    let config = format!(
        r#"{{"embed_dim": 24, "vision_cfg": {{"image_size": 64, {vision}}},
        "text_cfg": {{"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2{text}}}}}"#
    );
    let config = ModelConfig::parse(config.as_bytes()).expect("the config is right");
    architecture::build(&config).expect("the model is supported")
}

const VIT: &str = r#""layers": 2, "width": 48, "head_width": 16, "patch_size": 16"#;
const RESNET: &str = r#""layers": [1, 1, 1, 1], "width": 16, "patch_size": null"#;

fn passed(model: &Model, tower: &Graph, passes: Passes) -> Program {
    let mut program = lower(tower, &model.parameters, Vec::new()).expect("the tower is supported");
    run(&mut program, passes);
    program
}

fn count(program: &Program, fits: impl Fn(&Op) -> bool) -> usize {
    program.nodes.iter().filter(|node| fits(&node.op)).count()
}

fn rows(program: &Program, fits: impl Fn(&Op) -> bool) -> Vec<Rows> {
    program.nodes.iter().filter(|node| fits(&node.op)).map(|node| node.shape.rows).collect()
}

fn is_attention(op: &Op) -> bool {
    matches!(op, Op::Attention(_))
}

#[test]
fn hoist_leaves_one_query_to_the_last_attention() {
    let model = model(VIT, "");
    let program = passed(&model, &model.image, Passes { hoist: true, ..Passes::NONE });
    assert_eq!(rows(&program, is_attention), [Rows::Fixed(17), Rows::Fixed(1)]);
    // The last block's products: queries, output and both MLP layers, then the projection; keys and values in full.
    let linears = rows(&program, |op| matches!(op, Op::Linear(_)));
    assert_eq!(linears.iter().filter(|rows| **rows == Rows::Fixed(1)).count(), 5);
    assert_eq!(linears.len(), 4 + 5 + 1);
}

#[test]
fn hoist_needs_texts_that_end_at_the_pooled_token() {
    let model = model(VIT, "");
    let alone = passed(&model, &model.text, Passes { hoist: true, ..Passes::NONE });
    assert_eq!(rows(&alone, is_attention), [Rows::Text(0); 2]);
    let both = passed(&model, &model.text, Passes { hoist: true, ragged: true, ..Passes::NONE });
    assert_eq!(rows(&both, is_attention), [Rows::Text(0), Rows::Fixed(1)]);
}

#[test]
fn ragged_cuts_only_where_nothing_later_can_matter() {
    let check = |text: &str, expected: Option<Cut>| {
        let model = model(VIT, text);
        assert_eq!(passed(&model, &model.text, Passes::ALL).cut, expected, "{text}");
    };
    check("", Some(Cut::Pooled(Pool::Argmax)));
    check(r#", "pool_type": "eos", "eos_id": 5"#, Some(Cut::Pooled(Pool::Eos(5))));
    check(r#", "pool_type": "last""#, None);
    check(r#", "no_causal_mask": true"#, None);
    let modern = |more: &str| format!(r#", "text_arch": "modern", "pad_id": 9, "reg_tokens": 2{more}"#);
    let end = Cut::Pooled(Pool::EosOrLast { end: 5, padding: 9 });
    check(&modern(r#", "eos_id": 5"#), Some(end));
    check(&modern(r#", "pool_type": "map""#), Some(Cut::Padding(9)));
    let both_ways = r#", "attention_mode": "bidirectional""#;
    check(&modern(&format!(r#"{both_ways}, "pool_type": "map""#)), Some(Cut::Padding(9)));
    check(&modern(&format!(r#"{both_ways}, "pool_type": "mean""#)), Some(Cut::Padding(9)));
    // The end of a text is found by one id, and what its tokens see by another.
    check(&modern(&format!(r#"{both_ways}, "eos_id": 5"#)), None);
}

#[test]
fn patches_and_tables_make_one_product_of_the_stem() {
    let model = model(VIT, "");
    let program = passed(&model, &model.image, Passes::ALL);
    assert_eq!(count(&program, |op| matches!(op, Op::Conv(_) | Op::Prepend(_) | Op::AddTable(_))), 0);
    assert_eq!(count(&program, |op| matches!(op, Op::Patches(Patches { leading: 1, .. }))), 1);
    let texts = passed(&model, &model.text, Passes::ALL);
    assert_eq!(count(&texts, |op| matches!(op, Op::Embedding(Embedding { positions: Some(_), .. }))), 1);
    assert_eq!(count(&texts, |op| matches!(op, Op::AddTable(_))), 0);
}

#[test]
fn affine_and_epilogue_leave_only_products_in_a_residual_network() {
    let model = model(RESNET, "");
    let program = passed(&model, &model.image, Passes::ALL);
    assert_eq!(
        count(&program, |op| matches!(op, Op::Affine(_) | Op::Activate(_) | Op::Pairwise(Pairwise::Add))),
        0
    );
    let unfused = passed(&model, &model.image, Passes::NONE);
    assert!(count(&unfused, |op| matches!(op, Op::Affine(_))) > 10);
    let residual = |op: &Op| {
        matches!(
            op,
            Op::Linear(Linear { finish: Finish { second: Some(Combine::Add), after: Some(_), .. }, .. })
        )
    };
    assert_eq!(count(&program, residual), 4);
}

#[test]
fn branches_leave_one_convolution_of_each_sum() {
    let config = r#"{"embed_dim": 24, "vision_cfg": {"timm_model_name": "fastvit_mci0", "timm_proj": null,
        "image_size": 64}, "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}}"#;
    let mut config = ModelConfig::parse(config.as_bytes()).expect("right");
    let trained = architecture::build(&config).expect("supported");
    config.folded = true;
    let folded = architecture::build(&config).expect("supported");
    let steps = |model: &Model, passes| passed(model, &model.image, passes).nodes.len();
    // The trained tower takes the same steps as the folded one.
    assert_eq!(steps(&trained, Passes::ALL), steps(&folded, Passes::ALL));
    assert!(steps(&trained, Passes { branches: false, ..Passes::ALL }) > steps(&folded, Passes::ALL) + 50);
    let program = passed(&trained, &trained.image, Passes::ALL);
    assert_eq!(count(&program, |op| matches!(op, Op::Pairwise(Pairwise::Subtract))), 0);
}

#[test]
fn join_makes_one_product_of_keys_and_values() {
    let model = model(RESNET, "");
    let attention = |program: &Program| {
        let node = program.nodes.iter().find(|node| is_attention(&node.op)).expect("it pools by attention");
        node.inputs.clone()
    };
    let apart = attention(&passed(&model, &model.image, Passes { join: false, ..Passes::ALL }));
    assert!(apart[1] != apart[2]);
    let joined = attention(&passed(&model, &model.image, Passes::ALL));
    assert_eq!(joined[1], joined[2]);
    assert!(joined[0] != joined[1]);
}

#[test]
fn a_padding_mask_keeps_hiding_when_only_the_class_token_asks() {
    let text = r#", "embed_cls": true, "pad_id": 0"#;
    let config = format!(
        r#"{{"embed_dim": 24, "custom_text": true, "vision_cfg": {{"image_size": 64, {VIT}}},
        "text_cfg": {{"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2{text}}}}}"#
    );
    let model =
        architecture::build(&ModelConfig::parse(config.as_bytes()).expect("right")).expect("supported");
    let program = passed(&model, &model.text, Passes::ALL);
    let masks: Vec<Mask> = program
        .nodes
        .iter()
        .filter_map(
            |node| if let Op::Attention(Attention { mask, .. }) = node.op { Some(mask) } else { None },
        )
        .collect();
    let padding = |causal| Mask::Padding { id: 0, skip: 1, causal };
    assert_eq!(masks, [padding(true), padding(false)]);
    assert_eq!(count(&program, |op| *op == Op::Select(Select::Last)), 2);
}

fn timm(name: &str, size: usize) -> Model {
    let config = format!(
        r#"{{"embed_dim": 24, "vision_cfg": {{"timm_model_name": "{name}", "image_size": {size},
        "timm_pool": "token", "timm_proj": null}},
        "text_cfg": {{"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}}}}"#
    );
    architecture::build(&ModelConfig::parse(config.as_bytes()).expect("right")).expect("supported")
}

#[test]
fn rotations_and_gates_become_part_of_attentions_and_products() {
    let model = timm("eva02_tiny_patch14_224", 224);
    let apart = passed(&model, &model.image, Passes::NONE);
    let is_apart = |op: &Op| matches!(op, Op::Rotary(_) | Op::Pairwise(Pairwise::Multiply));
    assert_eq!(count(&apart, is_apart), 12 * 3);
    let fused = passed(&model, &model.image, Passes::ALL);
    assert_eq!(count(&fused, is_apart), 0);
    let turns = |op: &Op| matches!(op, Op::Attention(Attention { rotation: Some(_), .. }));
    assert_eq!(count(&fused, turns), 12);
    let gated = |op: &Op| {
        matches!(op, Op::Linear(Linear { finish: Finish { second: Some(Combine::Multiply), .. }, .. }))
    };
    assert_eq!(count(&fused, gated), 12);
    // The last attention has only the class token's query.
    assert_eq!(rows(&fused, is_attention), [&[Rows::Fixed(257); 11][..], &[Rows::Fixed(1)]].concat());
}

#[test]
fn tokens_before_patches_with_or_without_positions_are_part_of_the_table() {
    let check = |name: &str, size: usize, leading: usize| {
        let model = timm(name, size);
        let program = passed(&model, &model.image, Passes::ALL);
        assert_eq!(count(&program, |op| matches!(op, Op::Prepend(_) | Op::AddTable(_))), 0, "{name}");
        let patches =
            |op: &Op| matches!(op, Op::Patches(Patches { leading: found, .. }) if *found == leading);
        assert_eq!(count(&program, patches), 1, "{name}");
    };
    check("vit_small_patch14_dinov2", 518, 1);
    check("vit_small_patch14_reg4_dinov2", 518, 5);
}
