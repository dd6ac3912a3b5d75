//! Models in the names of their own code: EVA-CLIP, the Perception Encoder, Long-CLIP and Chinese-CLIP.

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::architecture::build;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::plan::{Fate, Step, apply};
use clipway_model::registry;
use clipway_model::source::{ConfigOrigin, ModelChoice, Source, SourceError, SourceOptions};

use crate::bench::Bench;
use crate::layouts_unfit::unread;

/// Resolves tensors that are not read.
pub fn resolved(tensors: Vec<TensorInfo>, model: Option<&str>) -> Result<Source, SourceError> {
    Source::of(
        unread(tensors),
        &SourceOptions { model: model.map(ModelChoice::of), ..SourceOptions::default() },
    )
}

fn info(name: impl Into<String>, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec() }
}

/// The tensors of a registered model, each changed.
pub fn tensors(model: &str, change: impl Fn(TensorInfo) -> Vec<TensorInfo>) -> Vec<TensorInfo> {
    let parameters = build(&registry::model(model).unwrap()).unwrap().parameters;
    let named = parameters.in_state_dict_order().into_iter().map(|id| {
        let parameter = parameters.get(id);
        TensorInfo { name: parameter.name.clone(), dtype: parameter.dtype, shape: parameter.shape.clone() }
    });
    named.flat_map(change).collect()
}

/// The name with the first of these replaced.
fn replaced(name: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

/// A tensor in the names of EVA-CLIP's own code.
fn eva(tensor: TensorInfo) -> Vec<TensorInfo> {
    let Some(rest) = tensor.name.strip_prefix("visual.trunk.") else { return vec![tensor] };
    let rest = replaced(
        rest,
        &[
            ("mlp.norm.", "mlp.ffn_ln."),
            ("attn.norm.", "attn.inner_attn_ln."),
            ("mlp.fc1_g.", "mlp.w1."),
            ("mlp.fc1_x.", "mlp.w2."),
            ("mlp.fc2.", "mlp.w3."),
            ("q_proj.bias", "q_bias"),
            ("v_proj.bias", "v_bias"),
        ],
    );
    vec![TensorInfo { name: format!("visual.{rest}"), ..tensor }]
}

#[test]
fn eva_is_read_in_the_names_of_its_own_code() {
    for (model, is_split) in [("EVA02-B-16", true), ("EVA01-g-14", false), ("EVA02-E-14", false)] {
        let mut tensors = tensors(model, |tensor| match is_split {
            true => eva(tensor),
            false => {
                let name = tensor.name.replace("visual.trunk.", "visual.");
                vec![TensorInfo { name, ..tensor }]
            }
        });
        if is_split {
            assert!(tensors.iter().any(|tensor| tensor.name == "visual.blocks.0.mlp.w3.weight"));
            tensors.push(info("visual.rope.freqs_cos", &[196, 64]));
            tensors.push(info("visual.blocks.0.attn.rope.freqs_sin", &[196, 64]));
        }
        let source = resolved(tensors, Some(model)).unwrap_or_else(|error| panic!("{model}: {error}"));
        assert_eq!(source.layout().name, "eva_clip");
        let dropped: usize = source.ledger().dropped().map(|group| group.tensors).sum();
        assert_eq!(dropped, if is_split { 2 } else { 0 });
    }
    // The only model of these shapes is found.
    let source = resolved(tensors("EVA02-B-16", eva), None).unwrap();
    assert!(
        matches!(source.origin(), ConfigOrigin::OnlyFit(name) if name == "EVA02-B-16"),
        "{:?}",
        source.origin().shown()
    );
}

/// A tensor in the names of the Perception Encoder's own code.
fn perception(mut tensor: TensorInfo) -> Vec<TensorInfo> {
    let Some(rest) = tensor.name.strip_prefix("visual.trunk.") else {
        tensor.name = tensor.name.strip_prefix("text.").unwrap_or(&tensor.name).to_owned();
        return vec![tensor];
    };
    let shape = &tensor.shape[..];
    let name = match rest {
        "head.bias" | "attn_pool.kv.weight" | "attn_pool.kv.bias" => return Vec::new(),
        "head.weight" => return vec![info("visual.proj", &[shape[1], shape[0]])],
        "cls_token" => return vec![info("visual.class_embedding", &shape[2..])],
        "pos_embed" => return vec![info("visual.positional_embedding", &shape[1..])],
        "attn_pool.q.weight" => {
            return vec![info("visual.attn_pool.attn.in_proj_weight", &[3 * shape[0], shape[1]])];
        }
        "attn_pool.q.bias" => return vec![info("visual.attn_pool.attn.in_proj_bias", &[3 * shape[0]])],
        _ => replaced(
            &rest.replace("attn_pool.proj.", "attn_pool.attn.out_proj."),
            &[
                ("attn_pool.latent", "attn_pool.probe"),
                ("attn_pool.norm.", "attn_pool.layernorm."),
                ("patch_embed.proj.", "conv1."),
                ("norm_pre.", "ln_pre."),
                ("norm1.", "ln_1."),
                ("norm2.", "ln_2."),
                ("attn.qkv.", "attn.in_proj_"),
                ("attn.proj.", "attn.out_proj."),
                ("mlp.fc1.", "mlp.c_fc."),
                ("mlp.fc2.", "mlp.c_proj."),
                ("blocks.", "transformer.resblocks."),
            ],
        ),
    };
    let name = match name.strip_prefix("norm.") {
        Some(leaf) => format!("visual.ln_post.{leaf}"),
        None => format!("visual.{name}"),
    };
    vec![info(name, shape)]
}

#[test]
fn the_perception_encoder_is_read_in_the_names_of_its_own_code() {
    for model in ["PE-Core-T-16-384", "PE-Core-B-16", "PE-Core-bigG-14-448"] {
        let tensors = tensors(model, perception);
        assert!(tensors.iter().any(|tensor| tensor.name == "visual.ln_post.weight"));
        let source = resolved(tensors, Some(model)).unwrap_or_else(|error| panic!("{model}: {error}"));
        assert_eq!(source.layout().name, "perception_encoder");
        let made = source.ledger().groups.iter().filter(|group| group.fate == Fate::Made);
        assert_eq!(made.map(|group| group.tensors).sum::<usize>(), 1, "the projection's bias");
        let plan = source.plan();
        let find = |name: &str| plan.tensors.iter().find(|planned| planned.target.name == name).unwrap();
        let queries = find("visual.trunk.attn_pool.q.weight");
        let width = queries.target.shape[1];
        assert_eq!(queries.steps, [Step::Slice { axis: 0, start: 0, end: width }]);
        let others = find("visual.trunk.attn_pool.kv.weight");
        assert_eq!(others.steps, [Step::Slice { axis: 0, start: width, end: 3 * width }]);
    }
    // A size that is not registered is no model that is known.
    let small: Vec<TensorInfo> = tensors("PE-Core-T-16-384", perception)
        .into_iter()
        .filter(|tensor| !tensor.name.contains("resblocks.11."))
        .collect();
    assert_eq!(resolved(small, None).unwrap_err().code(), "ambiguous-model");
}

/// The config of a small model with 24 positions of text.
const LONG: &str = r#"{"embed_dim": 8, "quick_gelu": true,
    "vision_cfg": {"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 24, "vocab_size": 50, "width": 8, "heads": 2, "layers": 1}}"#;

#[test]
fn long_clip_takes_the_first_rows_of_one_table_and_the_others_of_the_stretched_one() {
    let mut bench = Bench::of(LONG);
    let (mut stretched, bytes) = bench.find("positional_embedding").clone();
    stretched.name = "positional_embedding_res".to_owned();
    let negated: Vec<u8> =
        values(&bytes).into_iter().flat_map(|value| (-value - 1.0).to_le_bytes()).collect();
    let expected: Vec<f32> = [&values(&bytes)[..20 * 8], &values(&negated)[20 * 8..]].concat();
    bench.tensors.push((stretched, negated));
    let source = Checkpoint::open(bench.write_source("long.safetensors")).unwrap();
    let source = Source::of(source, &bench.options()).unwrap();
    assert_eq!(source.layout().name, "long_clip");
    let planned =
        source.plan().tensors.iter().find(|planned| planned.target.name == "positional_embedding").unwrap();
    assert_eq!(planned.steps, [Step::JoinRows { parts: vec![[0, 20], [20, 24]] }]);
    let mut made = Vec::new();
    let mut sink = |piece: &[u8]| {
        made.extend_from_slice(piece);
        Ok::<(), std::convert::Infallible>(())
    };
    apply(planned, &source.weights().state_dict, &mut sink).unwrap();
    assert_eq!(values(&made), expected);
    // A table that is too short has no such rows.
    let (table, bytes) = bench.tensors.last_mut().unwrap();
    table.shape = vec![20, 8];
    bytes.truncate(20 * 8 * 4);
    let source = Checkpoint::open(bench.write_source("long.safetensors")).unwrap();
    let error = Source::of(source, &bench.options()).unwrap_err();
    assert!(error.to_string().contains("tensors without the rows [[0, 20], [20, 20]]"), "{error}");
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Chinese-CLIP's tensors, with an image tower of this width and a BERT of this width.
fn chinese(width: usize, layers: usize, text: usize) -> Vec<TensorInfo> {
    let mut tensors = vec![
        info("visual.class_embedding", &[width]),
        info("visual.positional_embedding", &[17, width]),
        info("visual.proj", &[width, 32]),
        info("visual.conv1.weight", &[width, 3, 8, 8]),
        info("text_projection", &[text, 32]),
        info("logit_scale", &[]),
        info("bert.embeddings.position_ids", &[1, 64]),
        info("bert.embeddings.word_embeddings.weight", &[300, text]),
        info("bert.embeddings.position_embeddings.weight", &[64, text]),
        info("bert.embeddings.token_type_embeddings.weight", &[2, text]),
        info("bert.pooler.dense.weight", &[text, text]),
        info("bert.pooler.dense.bias", &[text]),
    ];
    let mut norm = |name: &str, width: usize| {
        tensors.extend(["weight", "bias"].map(|leaf| info(format!("{name}.{leaf}"), &[width])));
    };
    norm("visual.ln_pre", width);
    norm("visual.ln_post", width);
    norm("bert.embeddings.LayerNorm", text);
    for block in 0..layers {
        let block = format!("visual.transformer.resblocks.{block}");
        norm(&format!("{block}.ln_1"), width);
        norm(&format!("{block}.ln_2"), width);
    }
    for layer in 0..2 {
        norm(&format!("bert.encoder.layer.{layer}.attention.output.LayerNorm"), text);
        norm(&format!("bert.encoder.layer.{layer}.output.LayerNorm"), text);
    }
    let mut linear = |name: String, bias: String, shape: [usize; 2]| {
        tensors.extend([info(name, &shape), info(bias, &shape[..1])]);
    };
    for block in 0..layers {
        let block = format!("visual.transformer.resblocks.{block}");
        linear(
            format!("{block}.attn.in_proj_weight"),
            format!("{block}.attn.in_proj_bias"),
            [3 * width, width],
        );
        for (module, rows, columns) in [
            ("attn.out_proj", width, width),
            ("mlp.c_fc", 4 * width, width),
            ("mlp.c_proj", width, 4 * width),
        ] {
            linear(format!("{block}.{module}.weight"), format!("{block}.{module}.bias"), [rows, columns]);
        }
    }
    for layer in 0..2 {
        for (module, rows, columns) in [
            ("attention.self.query", text, text),
            ("attention.self.key", text, text),
            ("attention.self.value", text, text),
            ("attention.output.dense", text, text),
            ("intermediate.dense", 2 * text, text),
            ("output.dense", text, 2 * text),
        ] {
            let module = format!("bert.encoder.layer.{layer}.{module}");
            linear(format!("{module}.weight"), format!("{module}.bias"), [rows, columns]);
        }
    }
    tensors
}

#[test]
fn chinese_clip_is_read_in_the_names_of_its_own_code() {
    for (prefix, width, layers, text, heads) in
        [("", 128, 2, 128, 64), ("module.", 128, 3, 192, 64), ("model.clip.", 1280, 32, 128, 80)]
    {
        let mut tensors = chinese(width, layers, text);
        tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, prefix));
        let source = resolved(tensors, None).unwrap_or_else(|error| panic!("{prefix}: {error}"));
        assert_eq!(source.layout().name, "chinese_clip", "{prefix}");
        let model = &source.config().model;
        assert!(model.quick_gelu && model.uses_custom_text());
        assert_eq!((model.embed_dim, model.vision.head_width, model.text.context_length), (32, heads, 52));
        let bert = model.text_model().unwrap();
        assert_eq!((bert.heads, bert.layers, bert.mlp_width, bert.epsilon), (text / 64, 2, 2 * text, 1e-12));
        assert_eq!(source.config().preprocess().resize_mode.name(), "squash");
        let projection = source.plan().tensors.iter().find(|t| t.target.name == "text.proj.weight").unwrap();
        assert_eq!(projection.target.shape, [32, text]);
        let dropped: usize = source
            .ledger()
            .groups
            .iter()
            .filter(|group| group.fate == Fate::Dropped)
            .map(|group| group.tensors)
            .sum();
        assert_eq!(dropped, 3, "position ids and the pooler");
    }
}
