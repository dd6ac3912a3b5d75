//! Tensors that do not match a model: all differences are reported, in few lines.

use clipway_model::architecture::build;
use clipway_model::registry;
use clipway_model::source::{ModelChoice, Source, SourceOptions};

use super::layouts::Named;
use super::layouts_unfit::checkpoint;

/// Returns the names and shapes of a registered model.
pub fn registered(name: &str) -> Vec<Named> {
    let parameters = build(&registry::model(name).unwrap()).unwrap().parameters;
    parameters.iter().map(|(_, one)| (one.name.clone(), one.shape.clone())).collect()
}

/// Returns the lines reported for tensors checked against a registered model; none if they match.
fn told(tensors: &[Named], model: &str) -> Vec<String> {
    let model = Some(ModelChoice::Name(model.to_owned()));
    let options = SourceOptions { model, ..SourceOptions::default() };
    let found = Source::of(checkpoint(tensors), &options).err().map(|error| error.to_string());
    found.unwrap_or_default().lines().skip(1).map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn nothing_is_left_out_of_what_registered_models_differ_in() {
    let names: Vec<&str> = registry::names().collect();
    let mut longest = 0;
    for (index, name) in names.iter().enumerate() {
        let other = names[(31 * index + 50) % names.len()];
        let lines = told(&registered(name), other);
        assert!(!lines.iter().any(|line| line.starts_with("and ")), "{name} as {other}: {lines:#?}");
        longest = longest.max(lines.len());
    }
    assert!((300..800).contains(&longest), "{longest}");
}

#[test]
fn what_differs_is_told_in_few_lines() {
    // Half of the blocks are missing.
    let whole = registered("ViT-B-32");
    let is_late = |name: &str| {
        let number =
            name.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split('.').next()?.parse().ok());
        number.is_some_and(|number: usize| number >= 6)
    };
    let half: Vec<Named> = whole.iter().filter(|(name, _)| !is_late(name)).cloned().collect();
    assert_eq!(
        told(&half, "ViT-B-32"),
        [
            "`transformer.resblocks.{6..11}.ln_{1,2}.weight`: missing, [512] (12 tensors)",
            "`transformer.resblocks.{6..11}.ln_{1,2}.bias`: missing, [512] (12 tensors)",
            "`transformer.resblocks.{6..11}.attn.in_proj_weight`: missing, [1536, 512] (6 tensors)",
            "`transformer.resblocks.{6..11}.attn.in_proj_bias`: missing, [1536] (6 tensors)",
            "`transformer.resblocks.{6..11}.attn.out_proj.weight`: missing, [512, 512] (6 tensors)",
            "`transformer.resblocks.{6..11}.attn.out_proj.bias`: missing, [512] (6 tensors)",
            "`transformer.resblocks.{6..11}.mlp.c_fc.weight`: missing, [2048, 512] (6 tensors)",
            "`transformer.resblocks.{6..11}.mlp.c_fc.bias`: missing, [2048] (6 tensors)",
            "`transformer.resblocks.{6..11}.mlp.c_proj.weight`: missing, [512, 2048] (6 tensors)",
            "`transformer.resblocks.{6..11}.mlp.c_proj.bias`: missing, [512] (6 tensors)",
        ]
    );
    // Names as another project might spell them: the right ones are suggested, block numbers included.
    let renamed: Vec<Named> = whole
        .iter()
        .map(|(name, shape)| {
            (name.replace("transformer.resblocks.", "transformer.res_blocks."), shape.clone())
        })
        .collect();
    let lines = told(&renamed, "ViT-B-32");
    assert_eq!(lines.len(), 40, "{lines:#?}");
    let line = "`transformer.resblocks.{0..11}.attn.in_proj_bias`: missing, [1536] (12 tensors); are they \
                `transformer.res_blocks.{0..11}.attn.in_proj_bias`?";
    assert!(lines.iter().any(|found| found == line), "{lines:#?}");
    // Wrong depth, width and tower.
    for (model, lines) in [("ViT-B-16", 2), ("ViT-L-14", 43), ("RN50", 111)] {
        let found = told(&whole, model);
        assert_eq!(found.len(), lines, "{model}: {found:#?}");
    }
}
