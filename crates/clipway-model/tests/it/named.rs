//! Models that cannot be converted are named for what they are, by the folder's `config.json` and by all names.

use std::fs;

use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::source::{Source, SourceOptions};

/// Resolves a folder with tensors of these names and this `config.json`, and returns the code and the message.
fn refused(names: &[&str], config: Option<&str>) -> (&'static str, String) {
    let folder = tempfile::tempdir().unwrap();
    let infos: Vec<TensorInfo> = names
        .iter()
        .map(|name| TensorInfo { name: (*name).to_owned(), dtype: Dtype::F32, shape: vec![1] })
        .collect();
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &infos, &[], |_| Ok([0u8; 4])).unwrap();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    if let Some(config) = config {
        fs::write(folder.path().join("config.json"), config).unwrap();
    }
    let error = Source::resolve(folder.path(), &SourceOptions::default()).expect_err("it is refused");
    (error.code(), error.to_string())
}

/// Names of a `CLIPModel`, which many models have in common.
const CLIP: [&str; 6] = [
    "logit_scale",
    "text_model.embeddings.token_embedding.weight",
    "text_model.encoder.layers.0.layer_norm1.weight",
    "text_model.final_layer_norm.weight",
    "vision_model.pre_layrnorm.weight",
    "vision_model.encoder.layers.0.layer_norm1.weight",
];

#[test]
fn the_kind_in_config_json_goes_before_the_names() {
    for (kind, title) in [
        ("clipseg", "this is CLIPSeg, which cannot be converted"),
        ("owlvit", "this is OWL-ViT,"),
        ("owlv2", "this is OWLv2,"),
        ("xclip", "this is XCLIP,"),
        ("altclip", "this is AltCLIP,"),
        ("aimv2", "this is AIMv2,"),
        ("blip", "this is BLIP,"),
        ("align", "this is ALIGN,"),
        ("groupvit", "this is GroupViT,"),
        ("flava", "this is FLAVA,"),
        ("clap", "this is CLAP,"),
        ("mlcd_vision_model", "this is MLCD,"),
        ("jina_clip", "this is Jina CLIP,"),
        (
            "llava",
            "this is a language model that sees images, which cannot be converted: it writes texts; save its image tower",
        ),
        ("distilbert", "this is DistilBERT,"),
    ] {
        let (code, message) = refused(&CLIP, Some(&format!(r#"{{"model_type": "{kind}"}}"#)));
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.contains(title), "{kind}: {message}");
    }
    // Names that no layout has, with a kind that is not known.
    let odd = ["backbone.stem.weight", "neck.weight"];
    let config = r#"{"model_type": "odd_clip", "architectures": ["OddClipModel"]}"#;
    let (code, message) = refused(&odd, Some(config));
    assert_eq!(code, "unsupported", "{message}");
    let says = "`config.json` says that this is a `odd_clip` (`OddClipModel`), which is not supported";
    assert!(message.contains(says), "{message}");
    assert_eq!(refused(&odd, None).0, "unknown-layout");
    // A kind that is not known, of a layout that is: the config's reader says so.
    let (code, message) = refused(&CLIP, Some(r#"{"model_type": "odd_clip"}"#));
    assert_eq!(code, "contradiction", "{message}");
    assert!(message.contains("found `odd_clip`: this is another model"), "{message}");
}

#[test]
fn names_show_what_a_file_without_config_is() {
    let cases: [(&[&str], &str); 12] = [
        (
            &[
                "vision_model.encoder.layers.0.self_attn.qkv.weight",
                "text_encoder.embeddings.LayerNorm.bias",
                "itm_head.weight",
            ],
            "this is Hugging Face transformers BLIP,",
        ),
        (
            &[
                "visual_encoder.blocks.0.attn.qkv.weight",
                "text_encoder.encoder.layer.0.attention.self.query.weight",
            ],
            "this is BLIP with",
        ),
        (
            &[
                "visual.blocks.0.attn.qkv.weight",
                "visual.patch_embed.proj.weight",
                "image_projection",
                "text_projection",
            ],
            "this is SLIP,",
        ),
        (
            &["visual.blocks.0.attn.qkv.weight", "visual.patch_embed.proj.weight", "logit_scale"],
            "this is a timm image tower",
        ),
        (
            &["embeddings.word_embeddings.weight", "transformer.layer.0.attention.q_lin.weight"],
            "this is DistilBERT,",
        ),
        (
            &[
                "distilbert.embeddings.word_embeddings.weight",
                "distilbert.transformer.layer.0.attention.q_lin.weight",
            ],
            "this is DistilBERT,",
        ),
        (
            &[
                "transformer.embeddings.word_embeddings.weight",
                "LinearTransformation.weight",
                "LinearTransformation.bias",
            ],
            "this is Multilingual-CLIP,",
        ),
        (
            &[
                "embeddings.word_embeddings.weight",
                "encoder.layer.0.attention.self.query.weight",
                "pooler.dense.weight",
            ],
            "this is a BERT or RoBERTa alone,",
        ),
        (
            &["visual.conv1.weight", "visual.class_embedding", "encode_text.encoder.ln.weight"],
            "this is DeCLIP,",
        ),
        (
            &["vision_model.embeddings.rms_norm.weight", "text_model.final_layer_norm.weight", "logit_scale"],
            "this is Hugging Face transformers AIMv2,",
        ),
        (
            &[
                "text_model.encoder.layer.0.attention.self.query.weight",
                "vision_model.encoder.layer.0.weight",
            ],
            "this is Hugging Face transformers VisionTextDualEncoderModel whose image tower is not CLIP's,",
        ),
        (
            &[
                "audio_model.audio_encoder.patch_embed.proj.weight",
                "text_model.embeddings.word_embeddings.weight",
            ],
            "this is",
        ),
    ];
    for (names, title) in cases {
        let (code, message) = refused(names, None);
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.contains(title), "{names:?}: {message}");
    }
}

#[test]
fn keys_without_effect_are_ignored_and_quantized_weights_are_named() {
    let config = |more: &str| {
        format!(
            r#"{{"model_type": "clip", {more} "text_config": {{}}, "vision_config": {{}}, "projection_dim": 1}}"#
        )
    };
    let all = r#""auto_map": {"AutoModel": "x.py"}, "custom_pipelines": {}, "num_labels": 2, "hidden_size": 512,
        "logit_bias_init_value": -10.0,"#;
    let (_, message) = refused(&CLIP, Some(&config(all)));
    assert!(!message.contains("unknown key"), "{message}");
    let (_, message) = refused(&CLIP, Some(&config(r#""quantization_config": {"bits": 8},"#)));
    assert!(message.contains("the weights are quantized; save the model without quantization"), "{message}");
}

#[test]
fn an_image_model_alone_is_named() {
    let title = "this is an image model of timm or torchvision alone, which cannot be converted: no text tower and no name of \
                 a CLIP is with it; if it is a CLIP's image tower, put `visual.trunk.` before its names, and name the model";
    let families: [&[&str]; 8] = [
        &["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],
        &["stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "head.fc.weight"],
        &["stem_0.conv_kxk.0.conv.weight", "stages.0.blocks.0.mlp.fc1.weight"],
        &["conv_stem.weight", "blocks.0.0.conv_dw.weight", "classifier.weight"],
        &["features.0.0.weight", "classifier.1.weight"],
        &["patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight", "head.fc.weight"],
        &["stem.proj.weight", "blocks.0.mlp_tokens.fc1.weight", "head.weight"],
        &["conv_proj.weight", "encoder.layers.encoder_layer_0.ln_1.weight"],
    ];
    for names in families {
        let (code, message) = refused(names, None);
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.ends_with(title), "{names:?}: {message}");
    }
    // timm's own folder names the model.
    let config = r#"{"architecture": "resnet18", "num_classes": 1000, "num_features": 512}"#;
    let (code, message) = refused(families[0], Some(config));
    assert_eq!(code, "unsupported", "{message}");
    let says = "`config.json` says that this is timm's `resnet18`, an image model without a text tower";
    assert!(message.ends_with(says), "{message}");
    // With a text tower it is something else.
    assert_eq!(
        refused(&["conv1.weight", "layer1.0.bn1.weight", "text_head.weight"], None).0,
        "unknown-layout"
    );
}

#[test]
fn quantized_weights_and_files_without_a_model_are_named() {
    let quantized = "this is a quantized model, which cannot be converted: its weights are stored with scales (bitsandbytes, GPTQ, \
                     AWQ, compressed-tensors, quanto, FP8 or MLX); export the model that it was made from, or save it after \
                     `dequantize()`";
    let module = "vision_model.encoder.layers.0.self_attn.q_proj";
    for ends in [
        &["weight", "SCB", "weight_format"][..],
        &["weight", "weight.absmax", "weight.quant_state.bitsandbytes__nf4"],
        &["qweight", "qzeros", "scales", "g_idx"],
        &["weight", "weight_scale"],
        &["weight._data", "weight._scale"],
        &["weight", "scales", "biases"],
    ] {
        let names: Vec<String> = ends.iter().map(|end| format!("{module}.{end}")).collect();
        let names: Vec<&str> = CLIP.into_iter().chain(names.iter().map(String::as_str)).collect();
        let (code, message) = refused(&names, None);
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.ends_with(quantized), "{ends:?}: {message}");
    }
    let optimizer = "this is an optimizer's state, which cannot be converted: the model's weights are in another file of its \
                     trainer";
    let words = "this is a textual inversion, which cannot be converted: it has the vectors of a few words, and no model";
    for (names, says) in [
        (&["state.0.exp_avg", "state.0.exp_avg_sq", "state.0.step"][..], optimizer),
        (&["emb_params"], words),
        (&["clip_l", "clip_g"], words),
    ] {
        let (code, message) = refused(names, None);
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.ends_with(says), "{names:?}: {message}");
    }
}

#[test]
fn adapters_and_prompts_of_others_are_named() {
    for (names, title, next) in [
        (
            &[
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
                "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
            ][..],
            "this is a LoRA in the names of diffusers or sd-scripts,",
            "`fuse_lora`",
        ),
        (
            &["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight"],
            "this is a LoRA in the names of diffusers or sd-scripts,",
            "`fuse_lora`",
        ),
        (
            &["base_model.model.text_model.encoder.layers.0.self_attn.q_proj.hada_w1_a"],
            "this is an adapter of another kind than LoRA",
            "`merge_and_unload()`",
        ),
        (
            &["ctx", "token_prefix", "token_suffix"],
            "this is learned prompts (CoOp) without a model,",
            "the CLIP that it was learned with",
        ),
        // Among the weights they would be left out by whoever drops what the model does not know.
        (
            &[
                "visual.conv1.weight",
                "visual.transformer.resblocks.0.mlp.c_fc.lora_down.weight",
                "ln_final.weight",
            ],
            "this is a LoRA in the names of diffusers or sd-scripts,",
            "only adapters in PEFT's names are merged",
        ),
    ] {
        let (code, message) = refused(names, None);
        assert_eq!(code, "unsupported", "{message}");
        assert!(message.contains(title) && message.contains(next), "{message}");
    }
}
