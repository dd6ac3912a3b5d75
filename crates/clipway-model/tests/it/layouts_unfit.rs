//! Every layout with a block missing, with tensors of another layout, next to another model's config, and for a target
//! that cannot hold it: one error lists everything.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, FileFormat, FormatError, TensorFile, TensorInfo};
use clipway_model::architecture::build;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, ExportError};
use clipway_model::inspect::{InspectOptions, inspect};
use clipway_model::registry;
use clipway_model::source::{ModelChoice, Source, SourceError, SourceOptions};
use clipway_model::spelling::Target;

use super::differences::registered;
use super::layouts::{self, Named, openai, transformers};
use super::layouts_timm::{self, big_vision, siglip};

/// A config that matches no model here.
const OTHER: &str = r#"{"embed_dim": 24, "vision_cfg": {"image_size": 16, "layers": 2, "width": 48, "patch_size": 8,
    "head_width": 24}, "text_cfg": {"context_length": 7, "vocab_size": 51, "width": 24, "heads": 2, "layers": 2}}"#;

/// Names, dtypes and shapes of large models without weights, which preparing never reads, except for one number.
struct Unread {
    tensors: Vec<TensorInfo>,
    format: FileFormat,
    number: i64,
}

impl TensorFile for Unread {
    fn format(&self) -> FileFormat {
        self.format
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        assert_eq!(self.tensors[index].name, "input_resolution", "a weight was read");
        *out = self.number.to_le_bytes().to_vec();
        Ok(())
    }
}

/// A source with these tensors, none of which can be read.
pub fn unread(tensors: Vec<TensorInfo>) -> Checkpoint {
    Checkpoint::of_tensors("unread", Arc::new(Unread { tensors, format: FileFormat::Safetensors, number: 0 }))
}

pub fn checkpoint(tensors: &[Named]) -> Checkpoint {
    checkpoint_with(tensors, FileFormat::Safetensors, 0)
}

fn checkpoint_with(tensors: &[Named], format: FileFormat, number: i64) -> Checkpoint {
    let info = |(name, shape): &Named| {
        let is_number = name.ends_with("num_batches_tracked") || name == "input_resolution";
        let dtype = if is_number { Dtype::I64 } else { Dtype::F32 };
        TensorInfo { name: name.clone(), dtype, shape: shape.clone() }
    };
    let tensors = tensors.iter().map(info).collect();
    Checkpoint::of_tensors("unread", Arc::new(Unread { tensors, format, number }))
}

/// Returns Apple's `mobileclip_b`: open_clip's model under Apple's names.
fn apple() -> Vec<Named> {
    let words = [
        ("text.text_projection", "text_encoder.projection_layer"),
        ("text.token_embedding.", "text_encoder.embedding_layer."),
        ("text.positional_embedding", "text_encoder.positional_embedding.pos_embed.pos_embed"),
        ("text.ln_final.", "text_encoder.final_layer_norm."),
        ("text.transformer.resblocks.", "text_encoder.transformer."),
        ("visual.trunk.blocks.", "image_encoder.model.transformer."),
        ("visual.trunk.pos_embed", "image_encoder.model.pos_embed.pos_embed.pos_embed"),
        ("visual.trunk.norm.", "image_encoder.model.post_transformer_norm."),
        ("visual.trunk.head.weight", "image_encoder.model.classifier.proj"),
        ("visual.trunk.patch_embed.backbone.", "image_encoder.model.patch_emb."),
        ("visual.trunk.", "image_encoder.model."),
    ];
    let parts = [
        (".ln_1.", ".pre_norm_mha.0."),
        (".norm1.", ".pre_norm_mha.0."),
        (".attn.in_proj_", ".pre_norm_mha.1.qkv_proj."),
        (".attn.qkv.", ".pre_norm_mha.1.qkv_proj."),
        (".attn.out_proj.", ".pre_norm_mha.1.out_proj."),
        (".attn.proj.", ".pre_norm_mha.1.out_proj."),
        (".ln_2.", ".pre_norm_ffn.0."),
        (".norm2.", ".pre_norm_ffn.0."),
        (".mlp.c_fc.", ".pre_norm_ffn.1."),
        (".mlp.fc1.", ".pre_norm_ffn.1."),
        (".mlp.c_proj.", ".pre_norm_ffn.4."),
        (".mlp.fc2.", ".pre_norm_ffn.4."),
        (".conv.", ".block.conv."),
        (".bn.", ".block.norm."),
    ];
    let parameters = build(&registry::model("MobileCLIP-B").unwrap()).unwrap().parameters;
    let theirs = |name: &str, shape: &[usize]| {
        let begun = words
            .iter()
            .find_map(|(ours, theirs)| name.strip_prefix(ours).map(|rest| format!("{theirs}{rest}")));
        let mut found = begun.unwrap_or_else(|| name.to_owned());
        for (ours, theirs) in parts {
            found = found.replacen(ours, theirs, 1);
        }
        let shape = match (name, shape) {
            ("visual.trunk.head.weight", [outputs, inputs]) => vec![*inputs, *outputs],
            ("visual.trunk.pos_embed" | "text.positional_embedding", [.., rows, width]) => {
                vec![1, 1, *rows, *width]
            }
            _ => shape.to_vec(),
        };
        (found, shape)
    };
    let own = parameters.iter().filter(|(_, parameter)| parameter.name != "visual.trunk.head.bias");
    own.map(|(_, parameter)| theirs(&parameter.name, &parameter.shape)).collect()
}

/// Returns open_clip's own names, at the root or under `text.`.
fn open_clip(custom: bool) -> Vec<Named> {
    let text = ["transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection"];
    let mut tensors = openai();
    tensors.sort();
    if custom {
        for (name, _) in &mut tensors {
            if text.iter().any(|part| name.starts_with(part)) {
                *name = format!("text.{name}");
            }
        }
    }
    tensors
}

fn with_numbers(mut tensors: Vec<Named>) -> Vec<Named> {
    tensors.extend(layouts::NUMBERS.map(|(name, _)| (name.to_owned(), vec![])));
    tensors
}

/// open_clip's config for the shapes of [`openai`].
const OPEN_CLIP: &str = r#"{"embed_dim": 8, "vision_cfg": {"image_size": 8, "layers": 3, "width": 128, "patch_size": 4},
    "text_cfg": {"context_length": 6, "vocab_size": 50, "width": 128, "heads": 2, "layers": 1}}"#;

/// A layout: its tensors, the file next to them, the name of one of its blocks here and in open_clip, and a target that
/// cannot hold it, with parts of the error.
struct Layout {
    name: &'static str,
    tensors: Vec<Named>,
    file: Option<(&'static str, &'static str)>,
    block: [&'static str; 2],
    target: (&'static str, &'static [&'static str]),
}

fn layouts() -> Vec<Layout> {
    let siglip_target = ("openai", &["vision_cfg.timm_model_name", "init_logit_bias", "quick_gelu"][..]);
    let own_target = ("openai", &["`quick_gelu`: false"][..]);
    let blocks = "visual.transformer.resblocks.1.";
    vec![
        Layout {
            name: "transformers_clip",
            tensors: transformers(),
            file: Some(("config.json", layouts::CONFIG)),
            block: ["vision_model.encoder.layers.0.", "visual.transformer.resblocks.0."],
            target: ("openai", &["`quick_gelu`: false", "vision_cfg.head_width", "text_cfg.mlp_ratio"]),
        },
        Layout {
            name: "transformers_siglip",
            tensors: siglip(),
            file: Some(("config.json", layouts_timm::CONFIG)),
            block: ["vision_model.encoder.layers.0.", "visual.trunk.blocks.0."],
            target: siglip_target,
        },
        Layout {
            name: "openai",
            tensors: with_numbers(openai()),
            file: None,
            block: [blocks, blocks],
            target: ("transformers", &[]),
        },
        Layout {
            name: "big_vision",
            tensors: big_vision(false),
            file: None,
            block: ["params/img/Transformer/encoderblock_0/", "visual.trunk.blocks.0."],
            target: siglip_target,
        },
        Layout {
            name: "big_vision stacked",
            tensors: big_vision(true),
            file: None,
            block: ["params/txt/Encoder_0/encoderblock/LayerNorm_0/", "text.transformer.resblocks.1.ln_1."],
            target: siglip_target,
        },
        Layout {
            name: "open_clip",
            tensors: open_clip(false),
            file: Some(("open_clip_config.json", OPEN_CLIP)),
            block: [blocks, blocks],
            target: own_target,
        },
        Layout {
            name: "open_clip_custom_text",
            tensors: open_clip(true),
            file: Some(("open_clip_config.json", OPEN_CLIP)),
            block: [blocks, blocks],
            target: own_target,
        },
        Layout {
            name: "mobileclip",
            tensors: apple(),
            file: None,
            block: ["image_encoder.model.transformer.3.", "visual.trunk.blocks.3."],
            target: (
                "transformers",
                &["vision_cfg.timm_model_name", "init_logit_bias", "text_cfg.proj_bias"],
            ),
        },
    ]
}

/// Resolves a source of tensors with this file next to them.
fn resolved(
    layout: &Layout,
    tensors: &[Named],
    file: Option<(&str, &str)>,
    options: &SourceOptions,
) -> Result<Source, SourceError> {
    if layout.name == "mobileclip" {
        return Source::of(checkpoint(tensors), options);
    }
    let folder = tempfile::tempdir().unwrap();
    let source = layouts::write(folder.path(), "model.safetensors", tensors);
    if let Some((name, text)) = file {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let found = Source::resolve(source, options);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + usize::from(file.is_some()));
    found
}

/// Returns the error for tensors with this file next to them, if any.
fn refused(
    layout: &Layout,
    tensors: &[Named],
    file: Option<(&str, &str)>,
    options: &SourceOptions,
) -> Option<ExportError> {
    resolved(layout, tensors, file, options).err().map(ExportError::from)
}

#[track_caller]
fn check(layout: &Layout, what: &str, found: Option<ExportError>, code: &str, parts: &[&str]) {
    let found = found.unwrap_or_else(|| panic!("{}, {what}: it was taken", layout.name));
    let message = found.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{}, {what}: {message}", layout.name);
    assert_eq!(found.code(), code, "{}, {what}: {message}", layout.name);
}

#[test]
fn whole_sources_are_taken() {
    for layout in layouts() {
        let found = refused(&layout, &layout.tensors, layout.file, &SourceOptions::default());
        assert!(found.is_none(), "{}: {}", layout.name, found.unwrap());
    }
}

#[test]
fn a_missing_block_is_told_tensor_by_tensor() {
    for layout in layouts() {
        let [theirs, ours] = layout.block;
        let rest: Vec<Named> =
            layout.tensors.iter().filter(|(name, _)| !name.starts_with(theirs)).cloned().collect();
        assert!(rest.len() < layout.tensors.len(), "{}", layout.name);
        let found = refused(&layout, &rest, layout.file, &SourceOptions::default());
        let missing = found.as_ref().and_then(ExportError::differences).map(|found| found.missing.as_slice());
        let missing = missing.unwrap_or_default().iter().filter(|one| one.name.starts_with(ours)).count();
        let lacking = if layout.name == "big_vision stacked" { 2 } else { 12 };
        assert_eq!(missing, lacking, "{}: {found:?}", layout.name);
        check(&layout, "block", found, "mismatch", &[]);
    }
}

/// Resolves a file with OpenAI's names and these numbers; returns the error.
fn with_wrong_numbers(tensors: &[Named], numbers: [i64; 3]) -> Option<ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let mut named = layouts::NUMBERS;
    named.iter_mut().zip(numbers).for_each(|((_, number), wrong)| *number = wrong);
    let source = layouts::write_with(folder.path(), "model.pt", tensors, named);
    let checkpoint = Arc::new(Checkpoint::open(&source).unwrap());
    let found = Source::of(Arc::clone(&checkpoint), &SourceOptions::default()).err().map(ExportError::from);
    // `inspect` reports the same problems.
    let inspection =
        inspect(&checkpoint, &InspectOptions::default(), &(), &AtomicBool::new(false)).unwrap().unwrap();
    let message = found.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(inspection.problems.iter().all(|problem| message.contains(problem)), "{message}");
    assert_eq!(
        inspection.problems.is_empty(),
        !message.contains("the shapes imply") && !message.contains("found [2]")
    );
    found
}

#[test]
fn numbers_that_the_shapes_contradict_are_told_with_all_else() {
    let tensors = with_numbers(openai());
    // Patches have 4 pixels: a size that is not a multiple of 4 is rounded down, here to 8.
    for size in 8..12 {
        assert!(with_wrong_numbers(&tensors, [size, 6, 50]).is_none(), "{size}");
    }
    let check = |tensors: &[Named], numbers: [i64; 3], code: &str, expected: &str| {
        let found = with_wrong_numbers(tensors, numbers).expect("a contradiction");
        let (first, rest) =
            found.to_string().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(first.contains("does not match"), "{first}");
        assert_eq!((found.code(), rest.as_str()), (code, expected));
    };
    let resolution = "  `input_resolution`: 12, but the shapes imply 8";
    check(&tensors, [12, 6, 50], "contradiction", resolution);
    check(&tensors, [-1, 6, 50], "contradiction", "  `input_resolution`: -1, but the shapes imply 8");
    let three = format!(
        "{resolution}\n  `context_length`: 77, but the shapes imply 6\n  `vocab_size`: 49408, but the shapes imply 50"
    );
    check(&tensors, [12, 77, 49408], "contradiction", &three);
    let mut rest: Vec<Named> =
        tensors.iter().filter(|(name, _)| name != "transformer.resblocks.0.ln_2.bias").cloned().collect();
    let missing = "  `transformer.resblocks.0.ln_2.bias`: missing, [128]";
    check(&rest, [12, 77, 49408], "mismatch", &format!("{three}\n{missing}"));
    // They are compared even if the model is unknown; whatever no tensor reveals is not compared.
    rest.retain(|(name, _)| name != "token_embedding.weight");
    let found = with_wrong_numbers(&rest, [12, 6, 51]).expect("a contradiction");
    assert_eq!(found.code(), "ambiguous-model");
    assert!(found.to_string().ends_with(&format!("whichever it is, these differ:\n{resolution}")), "{found}");
    assert_eq!(found.differences().map(|differences| differences.numbers.len()), Some(1));
    // A number that is not scalar has another shape.
    let several: Vec<Named> = tensors
        .iter()
        .map(|(name, shape)| (name.clone(), if name == "context_length" { vec![2] } else { shape.clone() }))
        .collect();
    check(&several, [8, 6, 50], "mismatch", "  `context_length`: expected [], found [2]");
}

#[test]
fn numbers_of_a_resnet_are_told_by_its_attention_pool() {
    let checkpoint = |size: i64| {
        let mut tensors = registered("RN50-quickgelu");
        tensors.push(("input_resolution".into(), vec![1]));
        checkpoint_with(&tensors, FileFormat::TorchScript, size)
    };
    let found = |size: i64| {
        Source::of(checkpoint(size), &SourceOptions::default()).err().map(|error| error.to_string())
    };
    assert_eq!(found(224), None);
    let told = found(288).unwrap();
    assert!(told.ends_with("\n  `input_resolution`: 288, but the shapes imply 224"), "{told}");
}

#[test]
fn tensors_of_several_layouts_are_told_by_layout() {
    for layout in layouts() {
        let strangers: [Named; 2] = match layout.name {
            "mobileclip" => {
                [("img/embedding/kernel".into(), vec![4, 4, 3, 16]), ("visual.proj".into(), vec![2, 2])]
            }
            _ => [
                ("text_encoder.embedding_layer.weight".into(), vec![5, 4]),
                ("image_encoder.model.cls_token".into(), vec![1, 1, 4]),
            ],
        };
        let mixed = [&layout.tensors[..], &strangers].concat();
        let found = refused(&layout, &mixed, layout.file, &SourceOptions::default());
        check(&layout, "mixed", found, "mixed-layouts", &["several layouts", "Apple MobileCLIP", "such as"]);
    }
    // open_clip's own two spellings: every tensor that occurs twice is reported.
    let both = [open_clip(false), open_clip(true)].concat();
    let both: Vec<Named> = both
        .iter()
        .enumerate()
        .filter(|(at, one)| !both[..*at].contains(one))
        .map(|(_, one)| one.clone())
        .collect();
    for layout in layouts().iter().filter(|layout| layout.name.starts_with("open_clip")) {
        let found = refused(layout, &both, layout.file, &SourceOptions::default());
        check(
            layout,
            "both",
            found,
            "duplicate",
            &["ln_final.weight`: stored twice", "positional_embedding`: stored twice"],
        );
    }
}

#[test]
fn a_config_of_another_model_is_told_with_everything_that_differs() {
    for layout in layouts() {
        let (found, parts): (_, &[&str]) = match (layout.name, layout.file) {
            ("mobileclip", _) => {
                let model = Some(ModelChoice::Name("MobileCLIP-S1".into()));
                let options = SourceOptions { model, ..SourceOptions::default() };
                (refused(&layout, &layout.tensors, None, &options), &["stem.0.", "missing", "unused"])
            }
            ("transformers_clip" | "transformers_siglip", Some((name, text))) => {
                let wrong = text
                    .replace("\"vocab_size\": 50", "\"vocab_size\": 51")
                    .replace("\"image_size\": 8", "\"image_size\": 16");
                let found =
                    refused(&layout, &layout.tensors, Some((name, &wrong)), &SourceOptions::default());
                check(
                    &layout,
                    "config",
                    found,
                    "contradiction",
                    &["51, but the weights have 50", "tokens, but the weights have"],
                );
                continue;
            }
            _ => {
                let file = Some(("open_clip_config.json", OTHER));
                let found = refused(&layout, &layout.tensors, file, &SourceOptions::default());
                (found, &["positional_embedding`: expected [7, 24], found [6, "])
            }
        };
        check(&layout, "config", found, "mismatch", parts);
    }
}

#[test]
fn a_target_that_cannot_hold_it_is_told_everything() {
    for layout in layouts() {
        let (target, parts) = layout.target;
        let spelling = Target::named(target).unwrap().spelling;
        let source = resolved(&layout, &layout.tensors, layout.file, &SourceOptions::default()).unwrap();
        let found = Export::prepare(&source, spelling).err();
        if parts.is_empty() {
            assert!(found.is_none(), "{}: {}", layout.name, found.unwrap());
            continue;
        }
        check(&layout, "target", found, "inexpressible", parts);
    }
}
