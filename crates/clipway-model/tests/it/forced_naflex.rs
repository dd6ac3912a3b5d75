//! Image towers for one size that open_clip's main branch trained on images of any proportions.

use clipway_formats::{Dtype, TensorInfo};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::plan::apply;
use clipway_model::source::{Source, SourceError};

use crate::bench::Bench;
use crate::layouts_own;

type Tensor = (TensorInfo, Vec<u8>);

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn tensor(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Tensor {
    let info = TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec() };
    (info, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The tensors of a small model as its `NaFlexVit` has them: the first position is part of the class token.
fn forced(bench: &mut Bench) -> Vec<Tensor> {
    let positions = values(&bench.find("visual.positional_embedding").1);
    let class: Vec<f32> = values(&bench.find("visual.class_embedding").1);
    let class: Vec<f32> = class.iter().zip(&positions).map(|(class, first)| class + first).collect();
    let width = class.len();
    let side = ((positions.len() / width - 1) as f64).sqrt() as usize;
    let made = bench.tensors.iter().map(|(info, bytes)| {
        let (name, numbers) = (info.name.as_str(), values(bytes));
        match (name, &info.shape[..]) {
            ("visual.class_embedding", _) => tensor("visual.trunk.embeds.cls_token", &[1, 1, width], &class),
            ("visual.positional_embedding", _) => {
                tensor("visual.trunk.embeds.pos_embed", &[1, side, side, width], &numbers[width..])
            }
            ("visual.conv1.weight", &[rows, channels, patch, _]) => {
                let size = channels * patch * patch;
                let of = |place: usize| {
                    let (row, rest) = (place / size, place % size);
                    let (pixel, channel) = (rest / channels, rest % channels);
                    numbers[row * size + channel * patch * patch + pixel]
                };
                let made: Vec<f32> = (0..rows * size).map(of).collect();
                tensor("visual.trunk.embeds.proj.weight", &[rows, size], &made)
            }
            ("visual.proj", &[rows, columns]) => {
                let of = |place: usize| numbers[place % rows * columns + place / rows];
                let made: Vec<f32> = (0..rows * columns).map(of).collect();
                tensor("visual.head.proj.weight", &[columns, rows], &made)
            }
            _ => {
                let mut name = name.to_owned();
                for (ours, theirs) in [
                    ("visual.ln_pre.", "visual.trunk.norm_pre."),
                    ("visual.ln_post.", "visual.trunk.norm."),
                    ("visual.transformer.resblocks.", "visual.trunk.blocks."),
                ] {
                    name = name.replace(ours, theirs);
                }
                if name.starts_with("visual.") {
                    for (ours, theirs) in [
                        (".ln_1.", ".norm1."),
                        (".ln_2.", ".norm2."),
                        (".in_proj_", ".qkv."),
                        (".out_proj.", ".proj."),
                        (".c_fc.", ".fc1."),
                        (".c_proj.", ".fc2."),
                    ] {
                        name = name.replace(ours, theirs);
                    }
                }
                tensor(name, &info.shape, &numbers)
            }
        }
    });
    made.collect()
}

#[test]
fn open_clips_own_tower_is_read_back_with_the_first_position_in_the_class_token() {
    let mut bench = Bench::new();
    let mut wanted = bench.tensors.clone();
    let class = values(&bench.find("visual.class_embedding").1);
    for (info, bytes) in &mut wanted {
        let mut numbers = values(bytes);
        match info.name.as_str() {
            "visual.class_embedding" => numbers.fill(0.0),
            "visual.positional_embedding" => {
                numbers.iter_mut().zip(&class).for_each(|(first, class)| *first += class);
            }
            _ => continue,
        }
        *bytes = numbers.iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    bench.tensors = forced(&mut bench);
    for prefix in ["", "module."] {
        bench.tensors.iter_mut().for_each(|(info, _)| info.name.insert_str(0, prefix));
        let checkpoint = Checkpoint::open(bench.write_source("forced.safetensors")).unwrap();
        let source = Source::of(checkpoint, &bench.options()).unwrap();
        assert_eq!(source.layout().name, "open_clip_naflex");
        assert!(source.notes().iter().any(|note| note.contains("trained as NaFlex")), "{:?}", source.notes());
        assert_eq!(source.plan().tensors.len(), wanted.len());
        for (info, bytes) in &wanted {
            let planned = source.plan().tensors.iter().find(|planned| planned.target.name == info.name);
            let planned = planned.unwrap_or_else(|| panic!("{}", info.name));
            assert_eq!(planned.target.shape, info.shape, "{}", info.name);
            let mut made = Vec::new();
            let mut sink = |piece: &[u8]| {
                made.extend_from_slice(piece);
                Ok::<(), std::convert::Infallible>(())
            };
            apply(planned, &source.weights().state_dict, &mut sink).unwrap();
            assert_eq!(values(&made), values(bytes), "{}", info.name);
        }
    }
}

#[test]
fn tensors_that_cannot_be_stacked_are_reported() {
    let mut bench = Bench::new();
    bench.tensors = forced(&mut bench);
    *bench.find("visual.trunk.embeds.cls_token") =
        tensor("visual.trunk.embeds.cls_token", &[1, 1, 4], &[0.5; 4]);
    let checkpoint = Checkpoint::open(bench.write_source("forced.safetensors")).unwrap();
    let error = Source::of(checkpoint, &bench.options()).unwrap_err();
    assert_eq!(error.code(), "mismatch");
    assert!(error.to_string().contains("`visual.positional_embedding`: missing"), "{error}");
}

/// Resolves the `NaFlexVit` of a registered model with one of timm's towers for one size.
fn resolved(name: &str, given: Option<&str>) -> Result<Source, SourceError> {
    let plain = layouts_own::tensors(name, |tensor| vec![tensor]);
    let shape_of = |wanted: &str| plain.iter().find(|one| one.name == wanted).map(|one| one.shape.clone());
    let patches = shape_of("visual.trunk.patch_embed.proj.weight").unwrap();
    let prefix = usize::from(shape_of("visual.trunk.cls_token").is_some());
    let made = plain.iter().map(|tensor| {
        let (name, shape) = match (tensor.name.as_str(), &tensor.shape[..]) {
            ("visual.trunk.pos_embed", &[1, rows, width]) => {
                let side = (rows - prefix).isqrt();
                ("visual.trunk.embeds.pos_embed", vec![1, side, side, width])
            }
            ("visual.trunk.patch_embed.proj.weight", _) => {
                ("visual.trunk.embeds.proj.weight", vec![patches[0], patches[1..].iter().product()])
            }
            ("visual.trunk.patch_embed.proj.bias", shape) => {
                ("visual.trunk.embeds.proj.bias", shape.to_vec())
            }
            ("visual.trunk.cls_token", shape) => ("visual.trunk.embeds.cls_token", shape.to_vec()),
            (name, shape) => (name, shape.to_vec()),
        };
        TensorInfo { name: name.to_owned(), dtype: tensor.dtype, shape }
    });
    layouts_own::resolved(made.collect(), given)
}

#[test]
fn timms_towers_are_read_with_the_named_model() {
    for name in ["ViT-B-16-SigLIP", "EVA02-B-16", "PE-Core-T-16-384"] {
        let source = resolved(name, Some(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let positions =
            source.plan().tensors.iter().find(|planned| planned.target.name.ends_with("pos_embed"));
        assert_eq!(positions.unwrap().target.name, "visual.trunk.pos_embed", "{name}");
        assert!(source.notes().iter().any(|note| note.contains("trained as NaFlex")), "{name}");
        // A NaFlex model has the same names and shapes, so nothing is chosen without a name.
        let error = resolved(name, None).unwrap_err();
        assert_eq!(error.code(), "ambiguous-model", "{name}");
        assert!(error.to_string().contains(&format!("\n  {name}")), "{name}: {error}");
    }
}
