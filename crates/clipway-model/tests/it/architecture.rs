//! Architectures: what builds, and what is refused.

use clipway_model::architecture::{ArchitectureError, Model, build};
use clipway_model::config::ModelConfig;
use clipway_model::graph::{Dim, Operation};
use clipway_model::registry;

fn model(name: &str) -> Result<Model, ArchitectureError> {
    build(&registry::model(name).unwrap())
}

#[test]
fn parameters_have_the_names_shapes_and_counts_of_open_clip() {
    let check = |name: &str, elements: usize, tensors: usize, first: &str, key: (&str, &[usize])| {
        let model = model(name).unwrap();
        assert_eq!(model.parameters.trained_elements(), elements, "{name}");
        let order = model.parameters.in_state_dict_order();
        assert_eq!(order.len(), tensors, "{name}");
        assert_eq!(model.parameters.get(order[0]).name, first, "{name}");
        let id = model.parameters.find(key.0).unwrap();
        assert_eq!(model.parameters.get(id).shape, key.1, "{name}");
    };
    check("ViT-B-32", 151_277_313, 302, "positional_embedding", ("visual.proj", &[768, 512]));
    check("RN50", 102_007_137, 489, "positional_embedding", ("visual.attnpool.c_proj.weight", &[1024, 2048]));
}

#[test]
fn graphs_end_in_embeddings_and_use_every_parameter_but_the_temperature() {
    let of_transformers =
        ["roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32", "mt5-base-ViT-B-32", "nllb-clip-base"];
    let of_timm =
        ["ViT-B-16-SigLIP", "MobileCLIP-B", "vit_medium_patch16_gap_256", "EVA02-B-16", "PE-Core-T-16-384"];
    let own = ["ViT-B-32", "RN50x4-quickgelu", "ViT-L-14-CLIPA", "ViT-B-16-plus-240", "coca_ViT-B-32"];
    for name in own.into_iter().chain(of_timm).chain(of_transformers) {
        let model = model(name).unwrap();
        let mut used = vec![false; model.parameters.len()];
        for graph in [&model.image, &model.text] {
            let shape: Vec<String> = graph.node(graph.output).shape.iter().map(ToString::to_string).collect();
            assert_eq!(shape, ["batch".to_owned(), model.embed_dim.to_string()], "{name}");
            for node in &graph.nodes {
                node.operation.parameters().into_iter().for_each(|id| used[id.index()] = true);
            }
        }
        let unused = model.parameters.iter().filter(|(id, _)| !used[id.index()]);
        let unused: Vec<&str> = unused.map(|(_, parameter)| parameter.name.as_str()).collect();
        let expected = |name: &&str| {
            *name == "logit_scale"
                || *name == "logit_bias"
                || name.ends_with("num_batches_tracked")
                || name.starts_with("text_decoder.")
        };
        assert!(unused.iter().all(expected), "{name}: {unused:?}");
    }
}

#[test]
fn a_graph_can_be_read() {
    let text = r#"{"embed_dim": 8, "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8,
        "layers": 1}, "text_cfg": {"width": 8, "heads": 2, "layers": 1, "context_length": 4, "vocab_size": 9}}"#;
    let model = build(&ModelConfig::parse(text.as_bytes()).unwrap()).unwrap();
    let described = model.text.describe(&model.parameters).to_string();
    let expected = "\
text tower: 16 operations, 1056 values in tensors, output %15
%0 = token_ids[max 4]() -> [batch, length]  
%1 = embedding(%0) -> [batch, length, 8]  token_embedding.weight [9, 8]
%2 = add_positions(%1) -> [batch, length, 8]  positional_embedding [4, 8]
%3 = layer_norm[epsilon 0.00001](%2) -> [batch, length, 8]  transformer.resblocks.0.ln_1.weight [8]  transformer.resblocks.0.ln_1.bias [8]
%4 = linear(%3) -> [batch, length, 24]  transformer.resblocks.0.attn.in_proj_weight [24, 8]  transformer.resblocks.0.attn.in_proj_bias [24]
%5 = attention[heads 2 scale 0.5 mask Causal](%4) -> [batch, length, 8]  transformer.resblocks.0.attn
";
    assert_eq!(described.lines().take(7).collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    let convolutions = model.image.nodes.iter().filter(|n| matches!(n.operation, Operation::Conv2d { .. }));
    assert_eq!(convolutions.count(), 1);
}

#[test]
fn a_trunk_without_positions_takes_the_size_of_the_config() {
    // The trunk's name says 384, the config says 256.
    let model = model("ViTamin-XL-384").expect("it can be built");
    assert_eq!(model.image_size, [256, 256]);
    let tokens = model.image.nodes.iter().find(|node| matches!(node.operation, Operation::Attention { .. }));
    assert_eq!(tokens.map(|node| node.shape[1]), Some(Dim::Fixed(16 * 16)));
}

#[test]
fn what_cannot_be_built_is_named() {
    let check = |vision: &str, text: &str, what: &str| {
        let config = format!(r#"{{"embed_dim": 512, "vision_cfg": {{{vision}}}, "text_cfg": {{{text}}}}}"#);
        let error = build(&ModelConfig::parse(config.as_bytes()).unwrap()).unwrap_err().to_string();
        assert!(error.contains(what), "{config}: {error}");
    };
    let timm = |name: &str, rest: &str, what: &str| {
        check(&format!(r#""timm_model_name": "{name}", {rest}"#), "", what);
    };
    timm(
        "vit_base_patch16_sigclip_224",
        r#""image_size": 224"#,
        "the nearest is `vit_base_patch16_siglip_224`",
    );
    let siglip = "vit_base_patch16_siglip_224";
    timm(siglip, r#""image_size": [256, 15]"#, "its patches have sides of 16 pixels");
    timm(siglip, r#""timm_pool": "token", "timm_proj": null"#, "the trunk has no class token");
    timm(siglip, r#""timm_pool": "", "timm_proj": null"#, "its tokens instead of one vector");
    timm(siglip, r#""timm_pool": "prr""#, "timm adds no attention to a trunk built without it");
    timm(siglip, r#""timm_pool": "median""#, "its pools are token, avg, max, avgmax, map, prr");
    timm(siglip, r#""timm_pool": "abs_attn""#, "open_clip's own needs a map");
    let swin = "swin_tiny_patch4_window7_224";
    timm(
        swin,
        r#""image_size": [256, 240]"#,
        "another size must divide into whole windows in all four stages",
    );
    let whole_patches = "its images must be a whole number of 16-pixel patches";
    timm("test_vit", r#""image_size": [96, 100]"#, whole_patches);
    timm("vit_tiny_patch16_dinov3_qkvb", r#""image_size": 100"#, whole_patches);
    let of_name = r#""image_size": 50, "timm_model_kwargs": {"img_size": 50}"#;
    timm("test_vit", of_name, whole_patches);
    timm("convnext_tinny", r#""image_size": 224"#, "the nearest is `convnext_tiny`");
    timm("convnext_tiny", r#""timm_pool": "", "timm_proj": null"#, "a map instead of one vector");
    timm("convnext_tiny", r#""timm_pool": "catavgmaxx""#, "its pools are avg, max, avgmax, catavgmax, fast");
    let beside = r#""timm_pool": "catavgmax", "timm_proj": null"#;
    timm("convnext_tiny", beside, "timm's norm after the pool takes one value per channel");
    timm("fastvit_t8", r#""timm_pool": "catavgmax""#, "open_clip's projection expects one");
    timm(
        "fastvit_t8",
        r#""timm_pool": "CatAvgMax", "timm_proj": null"#,
        "only for the exact spelling `catavgmax",
    );
    timm(siglip, beside, "its pools are token, avg, max, avgmax, map, prr");
    let change = |name: &str, change: &str, what: &str| {
        timm(name, &format!(r#""timm_model_kwargs": {{{change}}}"#), what);
    };
    change(siglip, r#""stem_padding": 1"#, "only `vit_base_mci_224` has stem padding");
    change("vit_base_mci_224", r#""patch_size": 8"#, "its stem produces the tokens");
    change("vit_base_mci_224", r#""patch_size": 16"#, "its stem produces the tokens");
    change(
        "vitamin_small_224",
        r#""embed_dim": 192"#,
        "its stem is made for the width that the name implies",
    );
    change("vit_so400m_patch14_siglip_224", r#""embed_dim": 64"#, "`mlp_ratio` is needed too");
    change(
        "vit_giant_patch14_dinov2",
        r#""mlp_ratio": 3.0007"#,
        "gate and value of its MLPs are equally wide",
    );
    let pooled_twice = r#""layers": 1, "width": 64, "attentional_pool": "parallel""#;
    check(pooled_twice, "", "expected 512 channels, found 64");
    timm("convnext_tiny", r#""image_size": 16"#, "room for 2x2, found a map of 1x1");
    check(r#""pool_type": "none""#, "", "`vision_cfg.pool_type: none` is not supported");
    let unknown = "unknown text model `roberta-bass`: the nearest is `roberta-base`; known: ";
    check("", r#""hf_model_name": "roberta-bass""#, unknown);
    let projection = r#""hf_model_name": "roberta-base", "hf_proj_type": null"#;
    check("", projection, "the text model has width 768 and the embedding 512");
    check("", r#""pool_type": "none""#, "`text_cfg.pool_type: none` is not supported");
    check("", r#""embed_cls": true"#, "`text_cfg.embed_cls` without `custom_text` is not supported");
    let mixers = |rest: &str, what: &str| {
        check("", &format!(r#""rep_mixer_cfg": {{"layers": [0], "kernel": 11}}, {rest}"#), what);
    };
    mixers(r#""embed_cls": true"#, "would treat the class token as a word");
    mixers(r#""hf_model_name": "roberta-base""#, "its blocks come from the Hugging Face model");
    mixers(r#""act_kwargs": {"approximate": "tanh"}"#, "convolution blocks use exact GELU");
    mixers(r#""pool_type": "none""#, "`text_cfg.pool_type: none` is not supported");
    check(r#""norm_kwargs": {"elementwise_affine": false}"#, "", "elementwise_affine");
    check(r#""attentional_pool": "cascade""#, "", "the config's shapes do not match: `visual`: layer_norm");
}

#[test]
fn a_pool_by_a_learned_query_is_as_wide_as_timm_makes_it() {
    let check = |name: &str, size: usize, expected: [usize; 2]| {
        let config = format!(
            r#"{{"embed_dim": 8, "vision_cfg": {{"timm_model_name": "{name}", "image_size": {size},
            "timm_pool": "map", "timm_proj": null}}, "text_cfg": {{}}}}"#
        );
        let model = build(&ModelConfig::parse(config.as_bytes()).unwrap()).unwrap();
        let id = model.parameters.find("visual.trunk.attn_pool.mlp.fc1.weight").unwrap();
        assert_eq!(model.parameters.get(id).shape, expected, "{name}");
    };
    check("vit_giant_patch14_dinov2", 518, [8192, 1536]);
    check("eva02_small_patch14_224", 224, [1024, 384]);
    check("vit_so150m_patch16_reg4_map_256", 256, [2304, 896]);
}
