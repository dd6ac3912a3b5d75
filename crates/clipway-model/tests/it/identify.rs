//! Identification: from names and shapes to registry names, and to configs.

use clipway_model::architecture::build;
use clipway_model::config::{ModelConfig, VisionLayers};
use clipway_model::differences::Differences;
use clipway_model::identify::{Identification, identify};
use clipway_model::registry;

type Tensors = Vec<(String, Vec<usize>)>;

fn tensors(config: &ModelConfig) -> Tensors {
    let parameters = build(config).unwrap().parameters;
    parameters.iter().map(|(_, parameter)| (parameter.name.clone(), parameter.shape.clone())).collect()
}

fn views(tensors: &Tensors) -> impl Iterator<Item = (&str, &[usize])> {
    tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()))
}

fn identified(config: &ModelConfig) -> Identification {
    identify(views(&tensors(config)))
}

#[test]
fn every_registered_architecture_is_found_and_twins_are_listed() {
    assert_eq!(registry::names().len(), 144);
    for name in registry::names() {
        let found = identified(&registry::model(name).unwrap());
        assert!(
            found.exact.iter().any(|fit| fit.name == name && !fit.move_text),
            "{name}: {:?}",
            found.exact
        );
        assert!(found.near.is_empty() && found.reconstruction.is_none(), "{name}");
    }
    let names = |name: &str| -> Vec<&str> {
        identified(&registry::model(name).unwrap()).exact.iter().map(|fit| fit.name).collect()
    };
    assert_eq!(names("ViT-B-32"), ["ViT-B-32", "ViT-B-32-quickgelu"]);
    assert_eq!(names("ViT-L-14-336"), ["ViT-L-14-336", "ViT-L-14-336-quickgelu"]);
    // A convolutional tower's tensors do not reveal its image size.
    assert_eq!(names("convnext_base_w"), ["convnext_base_w", "convnext_base_w_320"]);
}

#[test]
fn another_size_or_layout_of_a_registered_model_is_told() {
    let mut config = registry::model("ViT-B-32").unwrap();
    config.set_image_size([288, 288]).unwrap();
    config.set_context_length(32).unwrap();
    let found = identified(&config);
    assert_eq!(found.exact, []);
    let near = found.near.iter().find(|fit| fit.name == "ViT-B-32").unwrap();
    assert_eq!((near.image_size, near.context_length), (Some([288, 288]), Some(32)));

    let mut config = registry::model("RN50").unwrap();
    config.set_custom_text(true).unwrap();
    let found = identified(&config);
    let names: Vec<(&str, bool)> = found.exact.iter().map(|fit| (fit.name, fit.move_text)).collect();
    assert_eq!(names, [("RN50", true), ("RN50-quickgelu", true)]);
}

/// Regroups the queries, keys and values of every attention under other names: one weight becomes three, or three
/// become one (some models have no bias for keys).
fn regrouped(tensors: &Tensors, from: &[&str], to: &[&str]) -> Tensors {
    let mut found = Vec::new();
    for (name, shape) in tensors {
        match from.iter().find_map(|part| name.split_once(part)) {
            Some((stem, kind)) if kind == "weight" || kind == "bias" && from.len() == 1 => {
                let is_first = name.contains(from[0]);
                let rows = shape[0] * from.len() / to.len();
                let parts = to.iter().filter(|_| is_first);
                found.extend(
                    parts.map(|part| (format!("{stem}{part}{kind}"), [&[rows], &shape[1..]].concat())),
                );
            }
            _ => found.push((name.clone(), shape.clone())),
        }
    }
    found
}

#[test]
fn attentions_and_patches_may_be_stored_otherwise() {
    let check = |name: &str, from: &[&str], to: &[&str]| {
        let mut otherwise = regrouped(&tensors(&registry::model(name).unwrap()), from, to);
        assert!(otherwise.iter().any(|(name, _)| name.contains(to[0])), "{name}");
        for (name, shape) in &mut otherwise {
            if name == "visual.conv1.weight" || name == "visual.trunk.patch_embed.proj.weight" {
                *shape = vec![shape[0], shape[1..].iter().product()];
            }
        }
        let found = identify(views(&otherwise));
        assert!(
            found.exact.iter().any(|fit| fit.name == name && !fit.move_text),
            "{name}: {:?}",
            found.exact
        );
    };
    const SPLIT: [&str; 3] = ["attn.q_proj.", "attn.k_proj.", "attn.v_proj."];
    check("ViT-B-32", &["attn.in_proj_"], &SPLIT);
    check("ViT-B-16-SigLIP", &["attn.qkv."], &SPLIT);
    check("EVA02-L-14", &SPLIT, &["attn.qkv."]);

    let config = r#"{"embed_dim": 32, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8,
        "head_width": 8}, "text_cfg": {"context_length": 9, "vocab_size": 99, "width": 32, "layers": 1, "heads": 1}}"#;
    let config = ModelConfig::parse(config.as_bytes()).unwrap();
    let found = identify(views(&regrouped(&tensors(&config), &["attn.in_proj_"], &SPLIT)));
    let reconstruction = found.reconstruction.unwrap();
    assert!(reconstruction.differences.is_empty(), "{}", reconstruction.differences);
    assert_eq!(reconstruction.config.vision.layers, config.vision.layers);
}

#[test]
fn a_config_is_reconstructed_from_shapes() {
    let check = |text: &str| {
        let config = ModelConfig::parse(text.as_bytes()).unwrap();
        let found = identified(&config);
        assert_eq!((found.exact.len(), found.near.len()), (0, 0), "{text}");
        let reconstruction = found.reconstruction.unwrap();
        assert!(reconstruction.differences.is_empty(), "{text}: {}", reconstruction.differences);
        (config, reconstruction)
    };
    let (config, found) = check(
        r#"{"embed_dim": 128, "vision_cfg": {"image_size": 48, "layers": 6, "width": 128, "head_width": 64,
        "patch_size": 8, "mlp_ratio": 4.5, "ls_init_value": 1e-5, "no_ln_pre": true, "qk_norm": true},
        "text_cfg": {"context_length": 16, "vocab_size": 512, "width": 64, "heads": 1, "layers": 4,
        "proj_bias": true}, "custom_text": true, "init_logit_bias": -10}"#,
    );
    assert_eq!(found.config.vision, config.vision);
    assert_eq!(found.config.text, config.text);
    let fields: Vec<&str> = found.assumed.iter().map(|assumption| assumption.field).collect();
    // Query-key norms reveal the head width, so it is certain here.
    assert!(!fields.contains(&"vision_cfg.head_width") && fields.contains(&"text_cfg.heads"), "{fields:?}");
    assert!(fields.contains(&"quick_gelu"), "{fields:?}");

    let (config, found) = check(
        r#"{"embed_dim": 32, "vision_cfg": {"image_size": 96, "layers": [1, 2, 1, 1], "width": 8},
        "text_cfg": {"context_length": 9, "vocab_size": 99, "width": 32, "layers": 1, "heads": 1,
        "embed_cls": true}, "custom_text": true}"#,
    );
    assert_eq!(
        (found.config.vision.layers, found.config.vision.image_size),
        (config.vision.layers, [96, 96])
    );
    assert_eq!((found.config.text.context_length, found.config.text.embed_cls), (9, true));
}

#[test]
fn what_fits_no_model_names_the_closest() {
    let mut found = tensors(&registry::model("RN50").unwrap());
    found.retain(|(name, _)| name != "visual.layer1.0.conv1.weight");
    found.push(("surplus".to_owned(), vec![2]));
    let found = identify(views(&found));
    assert_eq!((found.exact.len(), found.near.len(), found.reconstruction), (0, 0, None));
    let closest: Vec<(&str, usize)> = found.closest.iter().map(|fit| (fit.name, fit.differences)).collect();
    assert_eq!(closest, [("RN50", 2), ("RN50-quickgelu", 2)]);
    assert_eq!(identify([("unrelated", &[4, 4][..])]).closest, []);
    assert_eq!(identify([]).exact, []);

    // A missing block still counts as one, and the rest still matches the model. A stray high number does not make a
    // block.
    let config = r#"{"embed_dim": 32, "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "patch_size": 8,
        "head_width": 8}, "text_cfg": {"context_length": 9, "vocab_size": 99, "width": 32, "layers": 1, "heads": 1}}"#;
    let mut found = tensors(&ModelConfig::parse(config.as_bytes()).unwrap());
    found.retain(|(name, _)| !name.starts_with("visual.transformer.resblocks.1."));
    let of = |found: &Tensors| identify(views(found)).reconstruction.map(|told| told.config.vision.layers);
    assert_eq!(of(&found), Some(VisionLayers::Blocks(3)));
    found.push(("visual.transformer.resblocks.1000.ln_1.weight".to_owned(), vec![32]));
    assert_eq!(of(&found), Some(VisionLayers::Blocks(3)));
}

#[test]
fn all_differences_are_reported_together() {
    let model = build(&registry::model("ViT-B-32").unwrap()).unwrap();
    let mut found = tensors(&registry::model("ViT-B-32").unwrap());
    let at = |found: &Tensors, name: &str| found.iter().position(|(known, _)| known == name).unwrap();
    let index = at(&found, "visual.proj");
    found[index].1 = vec![1024, 768];
    let index = at(&found, "ln_final.bias");
    found[index].0 = "ln_final.biass".to_owned();
    let index = at(&found, "logit_scale");
    found[index].1 = vec![1];
    found.push(("extra\u{7}".to_owned(), vec![3]));
    let differences = Differences::between(&model.parameters, views(&found)).with_nearest();
    assert_eq!(
        differences.to_string(),
        "  `visual.proj`: expected [768, 512], found [1024, 768]\n  \
           `ln_final.bias`: missing, [512]; is it `ln_final.biass`?\n  \
           `ln_final.biass`: unused, [512]; did you mean `ln_final.bias`?\n  \
           `extra\\u{7}`: unused, [3]"
    );
}
