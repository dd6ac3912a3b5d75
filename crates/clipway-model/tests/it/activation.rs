//! Notes about an activation that was chosen without a config that states it.

use clipway_model::architecture::build;
use clipway_model::registry;
use clipway_model::source::{ModelChoice, Source, SourceOptions};

use super::layouts::Named;
use super::layouts_unfit::checkpoint;

#[test]
fn what_was_taken_is_said_with_the_reason() {
    let check = |weights: &str, model: Option<&str>, parts: &[&str]| {
        let parameters = build(&registry::model(weights).unwrap()).unwrap().parameters;
        let mut tensors: Vec<Named> =
            parameters.iter().map(|(_, one)| (one.name.clone(), one.shape.clone())).collect();
        // Sorted names match no code's order.
        tensors.sort();
        let checkpoint = checkpoint(&tensors);
        let model = model.map(|name| ModelChoice::Name(name.to_owned()));
        let prepared = Source::of(checkpoint, &SourceOptions { model, ..SourceOptions::default() }).unwrap();
        let note = prepared.notes().iter().find(|note| parts.iter().all(|part| note.contains(part)));
        assert!(note.is_some(), "{weights}: {:?}", prepared.notes());
    };
    let given =
        ["have the same shapes but different activations: GELU was used, because `ViT-B-32` was given"];
    check("ViT-B-32", Some("ViT-B-32"), &given);
    let given = ["`RN50-quickgelu` and `RN50`", "QuickGELU was used, because `RN50-quickgelu` was given"];
    check("RN50", Some("RN50-quickgelu"), &given);
    check(
        "ViT-S-32",
        None,
        &["`ViT-S-32` is the only registered model with these shapes; its activation, GELU"],
    );
}
