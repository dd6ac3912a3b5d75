//! Ledgers that do not balance, and plans as text and as JSON.

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::plan::{DroppedTensor, Ledger, Plan, PlannedTensor, Precision, Step, Towers};
use clipway_model::source::{Source, SourceOptions};
use serde_json::json;

use crate::bench::Bench;

fn info(name: &str, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec() }
}

/// Whatever a plan does wrong with a source tensor, the ledger names it.
#[test]
fn a_tensor_that_is_lost_or_used_twice_is_named() {
    let bench = Bench::new();
    let prepared = Source::resolve(bench.write_source("tiny.safetensors"), &bench.options()).unwrap();
    let checkpoint = prepared.checkpoint();
    let check = |change: &dyn Fn(&mut Plan), expected: &str| {
        let mut plan = prepared.plan().clone();
        change(&mut plan);
        let error = Ledger::balance(checkpoint.tensors().tensors(), prepared.weights(), &plan).unwrap_err();
        assert_eq!(error.to_string(), format!("the ledger does not balance: {expected}"));
    };
    let place = |plan: &Plan, name: &str| plan.tensors.iter().position(|p| p.target.name == name).unwrap();
    let lose = |plan: &mut Plan| drop(plan.tensors.remove(place(plan, "visual.proj")));
    check(&lose, "unaccounted `visual.proj`; accounted twice none");
    let lose_all = |plan: &mut Plan| plan.tensors.clear();
    let named = "`positional_embedding`, `text_projection`, `logit_scale`, `visual.class_embedding`, \
                 `visual.positional_embedding`";
    let others = bench.tensors.len() - 5;
    check(&lose_all, &format!("unaccounted {named} and {others} more; accounted twice none"));
    let drop_too = |plan: &mut Plan| {
        let tensor = plan.tensors[place(plan, "ln_final.bias")].target.clone();
        plan.dropped.push(DroppedTensor { tensor, rule: "a rule" });
    };
    check(&drop_too, "unaccounted none; accounted twice `ln_final.bias`");
    let invent = |plan: &mut Plan| {
        plan.tensors.push(PlannedTensor::same(&info("invented", &[2])));
        plan.dropped.push(DroppedTensor { tensor: info("neither", &[2]), rule: "a rule" });
    };
    check(&invent, "unaccounted `invented`, `neither`; accounted twice none");
}

#[test]
fn a_plan_is_shown_and_recorded_whole() {
    let mut fused = PlannedTensor {
        target: info("qkv", &[0]),
        sources: ["q", "k", "v"].map(|name| info(name, &[2, 3])).to_vec(),
        steps: Vec::new(),
    };
    fused.then(Step::Concatenate { axis: 0 }).unwrap();
    let plan = Plan {
        layout: "mine".to_owned(),
        tensors: vec![PlannedTensor::same(&info("a", &[])), fused],
        dropped: vec![DroppedTensor { tensor: info("b", &[4]), rule: "not needed" }],
    };
    assert_eq!(
        plan.to_string(),
        "a  F32 []\nqkv  F32 [6, 3]  <- q + k + v  concatenate(axis 0)\nb  F32 [4]  dropped: not needed\n"
    );
    let record = |name: &str, shape: &[usize]| json!({ "name": name, "dtype": "F32", "shape": shape });
    let planned = |target: serde_json::Value, sources: &[serde_json::Value], steps: serde_json::Value| {
        let mut planned = target;
        planned["sources"] = json!(sources);
        planned["steps"] = steps;
        planned
    };
    let mut dropped = record("b", &[4]);
    dropped["rule"] = json!("not needed");
    let sources = ["q", "k", "v"].map(|name| record(name, &[2, 3]));
    assert_eq!(
        serde_json::to_value(&plan).unwrap(),
        json!({
            "layout": "mine",
            "tensors": [
                planned(record("a", &[]), &[record("a", &[])], json!([])),
                planned(record("qkv", &[6, 3]), &sources, json!([{ "step": "concatenate", "axis": 0 }])),
            ],
            "dropped": [dropped],
        })
    );
    assert_eq!(plan.bytes(), 4 + 72);
}

#[test]
fn a_plan_whose_steps_end_elsewhere_does_not_pass() {
    let mut planned = PlannedTensor::same(&info("w", &[2, 3]));
    planned.then(Step::Transpose { axes: vec![1, 0] }).unwrap();
    let mut plan = Plan { layout: "mine".to_owned(), tensors: vec![planned], dropped: Vec::new() };
    plan.check().unwrap();
    plan.tensors[0].target.shape = vec![2, 3];
    assert_eq!(plan.check().unwrap_err().to_string(), "`w`: the steps end at F32 [3, 2], not at F32 [2, 3]");
    plan.tensors[0].target.shape = vec![3, 2];
    plan.tensors[0].sources[0].shape = vec![2, 3, 1];
    assert_eq!(
        plan.check().unwrap_err().to_string(),
        "`w`: transpose([1, 0]) does not apply to F32 [2, 3, 1]"
    );
}

#[test]
fn what_is_undone_leaves_no_step() {
    let source = info("w", &[2, 3, 4]);
    let mut planned = PlannedTensor::same(&source);
    planned.then(Step::Transpose { axes: vec![2, 0, 1] }).unwrap();
    assert_eq!(planned.target.shape, [4, 2, 3]);
    planned.then(Step::Transpose { axes: vec![1, 2, 0] }).unwrap();
    assert_eq!(planned, PlannedTensor::same(&source));
    // The same transpose twice is not undone.
    planned.then(Step::Transpose { axes: vec![2, 0, 1] }).unwrap();
    planned.then(Step::Transpose { axes: vec![2, 0, 1] }).unwrap();
    assert_eq!((planned.steps.len(), &planned.target.shape[..]), (2, &[3, 4, 2][..]));

    let names = ["x", "y"].map(str::to_owned);
    let sources = ["q", "k"].map(|name| info(name, &[2, 3]));
    let mut joined = PlannedTensor { target: info("qk", &[0]), sources: sources.to_vec(), steps: Vec::new() };
    joined.then(Step::Concatenate { axis: 0 }).unwrap();
    for ((part, source), name) in joined.split(&names).unwrap().iter().zip(&sources).zip(["x", "y"]) {
        assert_eq!((&part.target, &part.sources[..]), (&info(name, &[2, 3]), &[source.clone()][..]));
        assert!(part.steps.is_empty() && part.is_renamed());
    }
    let parts = PlannedTensor::same(&info("qk", &[4, 3])).split(&names).unwrap();
    assert_eq!(parts[1].steps, [Step::Slice { axis: 0, start: 2, end: 4 }]);
    assert_eq!((&parts[1].target, parts.len()), (&info("y", &[2, 3]), 2));
}

#[test]
fn names_of_choices_are_those_of_the_command_line() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    for (precision, name) in [(Precision::F32, "fp32"), (Precision::F16, "fp16"), (Precision::BF16, "bf16")] {
        assert_eq!(precision.name(), name);
        let options =
            SourceOptions { precision: Some(precision), tower: Some(Towers::Text), ..bench.options() };
        let prepared = Source::resolve(&path, &options).unwrap();
        let dtypes = prepared.plan().tensors.iter().map(|planned| planned.target.dtype);
        let expected = match precision {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
            Precision::BF16 => Dtype::BF16,
        };
        assert!(dtypes.clone().count() > 0 && dtypes.into_iter().all(|dtype| dtype == expected));
    }
}
