//! Low-rank adapters merged into weights, and weights of length and direction.

use std::fs;
use std::path::PathBuf;

use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::checkpoint::{AdapterError, Checkpoint, CheckpointError, OpenOptions};
use clipway_model::plan::Fate;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::state_dict::LeftOutKind;

use crate::bench::Bench;

type Made = (TensorInfo, Vec<u8>);

/// A module that an adapter changes: `[outputs, inputs]` of its weight.
const MODULE: &str = "transformer.resblocks.0.mlp.c_fc";
const RANK: usize = 2;

fn tensor(name: impl Into<String>, shape: &[usize], value: impl Fn(usize) -> f32) -> Made {
    let info = TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec() };
    let bytes = (0..info.elements()).flat_map(|index| value(index).to_le_bytes()).collect();
    (info, bytes)
}

fn down(index: usize) -> f32 {
    ((index * 7 + 3) as f32 * 0.37).sin()
}

fn up(index: usize) -> f32 {
    ((index * 5 + 1) as f32 * 0.53).cos()
}

/// The pieces of an update of a weight `[outputs, inputs]`.
fn pieces(module: &str, adapter: &str, [outputs, inputs]: [usize; 2]) -> Vec<Made> {
    vec![
        tensor(format!("{module}.lora_A{adapter}.weight"), &[RANK, inputs], down),
        tensor(format!("{module}.lora_B{adapter}.weight"), &[outputs, RANK], up),
    ]
}

/// The weight with an update, computed directly.
fn expected(weight: &[f32], [outputs, inputs]: [usize; 2], scale: f64) -> Vec<f64> {
    let mut made: Vec<f64> = weight.iter().map(|value| f64::from(*value)).collect();
    for output in 0..outputs {
        for input in 0..inputs {
            let product =
                |step: usize| f64::from(up(output * RANK + step)) * f64::from(down(step * inputs + input));
            made[output * inputs + input] += scale * (0..RANK).map(product).sum::<f64>();
        }
    }
    made
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn write(bench: &Bench, name: &str, tensors: &[Made]) -> PathBuf {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
    let mut out = std::io::Cursor::new(Vec::new());
    write_safetensors(&mut out, &infos, &[], |index| Ok(&tensors[index].1)).unwrap();
    fs::write(&path, out.into_inner()).unwrap();
    path
}

/// An adapter's folder.
fn adapter(bench: &Bench, config: &str, tensors: &[Made]) -> PathBuf {
    let path = write(bench, "adapter/adapter_model.safetensors", tensors);
    fs::write(bench.path("adapter/adapter_config.json"), config).unwrap();
    path.parent().unwrap().to_owned()
}

fn config(more: &str) -> String {
    format!(r#"{{"peft_type": "LORA", "lora_alpha": 3, "r": 2, "base_model_name_or_path": "me/clip"{more}}}"#)
}

fn open(path: &PathBuf, base: Option<PathBuf>) -> Result<Checkpoint, AdapterError> {
    match Checkpoint::open_with(path, OpenOptions { base, ..OpenOptions::default() }) {
        Ok(checkpoint) => Ok(checkpoint),
        Err(CheckpointError::Adapter { cause, .. }) => Err(cause),
        Err(error) => panic!("{error}"),
    }
}

/// Checks the merged weight of a module against f64, and that all tensors are accounted for.
fn check(bench: &Bench, checkpoint: Checkpoint, wanted: &[f64]) -> Source {
    let source = Source::of(checkpoint, &bench.options()).unwrap_or_else(|error| panic!("{error}"));
    let state_dict = &source.weights().state_dict;
    let mut found = Vec::new();
    state_dict.read_f32(state_dict.find(&format!("{MODULE}.weight")).unwrap(), &mut found).unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(*found) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{found} {wanted}");
    }
    source
}

#[test]
fn an_adapter_is_merged_into_its_base() {
    let mut bench = Bench::new();
    let weight = bench.find(&format!("{MODULE}.weight")).clone();
    let shape = [weight.0.shape[0], weight.0.shape[1]];
    let base = bench.write_source("base.safetensors");
    let module = format!("base_model.model.{MODULE}");
    for (more, scale) in [
        ("", 1.5),
        (r#", "use_rslora": true"#, 3.0 / 2f64.sqrt()),
        (r#", "alpha_pattern": {"mlp.c_fc": 5}"#, 2.5),
        (r#", "alpha_pattern": {"p.c_fc": 5}, "init_lora_weights": "gaussian", "lora_bias": false"#, 1.5),
    ] {
        let folder = adapter(&bench, &config(more), &pieces(&module, "", shape));
        let opened = open(&folder, Some(base.clone())).unwrap();
        let source = check(&bench, opened, &expected(&values(&weight.1), shape, scale));
        let left = &source.weights().left_out;
        assert!(left.iter().all(|part| part.kind == LeftOutKind::Merged), "{left:?}");
        let dropped: Vec<_> =
            source.ledger().dropped().map(|group| (group.rule.as_str(), group.tensors)).collect();
        assert_eq!(dropped, [("merged into other weights", 2)]);
        assert!(source.notes().contains(&"a LoRA adapter was merged into 1 weight".to_owned()));
        assert_eq!(source.checkpoint().sources().len(), 2);
    }
    // A bias that was trained as well, and a module that was saved whole.
    let mut all = pieces(&module, "", shape);
    all.push(tensor(format!("{module}.bias"), &[shape[0]], |index| index as f32));
    all.push(tensor("base_model.model.text_projection", &[8, 8], |index| index as f32 / 9.0));
    let opened = open(&adapter(&bench, &config(""), &all), Some(base)).unwrap();
    let source = check(&bench, opened, &expected(&values(&weight.1), shape, 1.5));
    let state_dict = &source.weights().state_dict;
    let mut found = Vec::new();
    state_dict.read_f32(state_dict.find(&format!("{MODULE}.bias")).unwrap(), &mut found).unwrap();
    assert_eq!(found[3], 3.0);
    state_dict.read_f32(state_dict.find("text_projection").unwrap(), &mut found).unwrap();
    assert_eq!(found[9], 1.0);
}

#[test]
fn an_adapter_of_one_tower_changes_that_tower() {
    let mut bench = Bench::new();
    let visual = format!("visual.{MODULE}.weight");
    let weight = bench.find(&visual).clone();
    let shape = [weight.0.shape[0], weight.0.shape[1]];
    // A text tower of the same widths, whose names match the adapter's.
    let text = bench.find(&format!("{MODULE}.weight")).clone();
    let base = bench.write_source("base.safetensors");
    let all = pieces(&format!("base_model.model.{MODULE}"), "", shape);
    let mapping = r#", "auto_mapping": {"base_model_class": "VisionTransformer", "parent_library": "open_clip.transformer"}"#;
    let source =
        Source::of(open(&adapter(&bench, &config(mapping), &all), Some(base)).unwrap(), &bench.options())
            .unwrap();
    let state_dict = &source.weights().state_dict;
    let read = |name: &str| {
        let mut found = Vec::new();
        state_dict.read_f32(state_dict.find(name).unwrap(), &mut found).unwrap();
        found
    };
    for (found, wanted) in read(&visual).iter().zip(expected(&values(&weight.1), shape, 1.5)) {
        assert!((f64::from(*found) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{found} {wanted}");
    }
    assert_eq!(read(&text.0.name), values(&text.1));
}

#[test]
fn an_adapter_with_lengths_sets_the_length_of_each_row() {
    let mut bench = Bench::new();
    let weight = bench.find(&format!("{MODULE}.weight")).clone();
    let shape = [weight.0.shape[0], weight.0.shape[1]];
    let base = bench.write_source("base.safetensors");
    let module = format!("base_model.model.{MODULE}");
    let mut all = pieces(&module, "", shape);
    all.push(tensor(format!("{module}.lora_magnitude_vector"), &[shape[0]], |index| 1.0 + index as f32));
    let mut wanted = expected(&values(&weight.1), shape, 1.5);
    for (output, row) in wanted.chunks_exact_mut(shape[1]).enumerate() {
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter_mut().for_each(|value| *value *= (1.0 + output as f64) / length);
    }
    let folder = adapter(&bench, &config(r#", "use_dora": true"#), &all);
    check(&bench, open(&folder, Some(base.clone())).unwrap(), &wanted);
    // Lengths that the config does not state.
    let error = open(&adapter(&bench, &config(""), &all), Some(base)).err().unwrap();
    assert!(matches!(error, AdapterError::Unmatched { names } if names.len() == 3));
}

#[test]
fn an_unmerged_state_dict_is_merged_with_the_config_beside_it() {
    let mut bench = Bench::new();
    let weight = bench.find(&format!("{MODULE}.weight")).clone();
    let shape = [weight.0.shape[0], weight.0.shape[1]];
    for prefix in ["base_model.model.", ""] {
        let mut all: Vec<Made> = Vec::new();
        for (info, bytes) in &bench.tensors {
            let name = info.name.replace(&format!("{MODULE}."), &format!("{MODULE}.base_layer."));
            all.push((TensorInfo { name: format!("{prefix}{name}"), ..info.clone() }, bytes.clone()));
        }
        all.extend(pieces(&format!("{prefix}{MODULE}"), ".default", shape));
        let path = write(&bench, "whole/model.safetensors", &all);
        let _ = fs::remove_file(bench.path("whole/adapter_config.json"));
        assert_eq!(open(&path, None).err(), Some(AdapterError::NoConfig));
        fs::write(bench.path("whole/adapter_config.json"), config("")).unwrap();
        let source = check(&bench, open(&path, None).unwrap(), &expected(&values(&weight.1), shape, 1.5));
        assert_eq!(source.weights().path.join("."), prefix.trim_end_matches('.'));
        all.extend(pieces(&format!("{prefix}{MODULE}"), ".other", shape));
        let path = write(&bench, "whole/model.safetensors", &all);
        let error = open(&path, None).err().unwrap();
        assert!(matches!(error, AdapterError::Several { names } if names == ["`default`", "`other`"]));
    }
}

#[test]
fn adapters_that_cannot_be_merged_are_named() {
    let mut bench = Bench::new();
    let shape = bench.find(&format!("{MODULE}.weight")).0.shape.clone();
    let shape = [shape[0], shape[1]];
    let base = bench.write_source("base.safetensors");
    let good = pieces(&format!("base_model.model.{MODULE}"), "", shape);
    let error = open(&adapter(&bench, &config(""), &good), None).err().unwrap();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("missing", "this is a LoRA adapter without the weights that it changes: those of `me/clip`")
    );
    assert_eq!(open(&base, Some(base.clone())).err(), Some(AdapterError::NotAnAdapter));
    for (config, code, says) in [
        (config("").replace("LORA", "IA3"), "unsupported", "`peft_type` is `IA3`"),
        (config(r#", "lora_bias": true"#), "unsupported", "`lora_bias` is set"),
        (config(r#", "init_lora_weights": "pissa""#), "unsupported", "`init_lora_weights` is `pissa`"),
        (
            config(r#", "alpha_pattern": {"c_(fc|proj)": 5}"#),
            "unsupported",
            "`alpha_pattern` has the expression",
        ),
        (config("").replace("\"lora_alpha\": 3, ", ""), "missing", "lora_alpha"),
        (config("").replace('3', "\"x\""), "bad-value", "lora_alpha"),
        ("{".to_owned(), "truncated", "adapter_config.json"),
    ] {
        let error = open(&adapter(&bench, &config, &good), Some(base.clone())).err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.code(), code, "{error}");
    }
    for wrong in [
        pieces("base_model.model.visual.nowhere", "", shape),
        pieces(&format!("base_model.model.{MODULE}"), "", [shape[0], shape[1] + 1]),
        good[..1].to_vec(),
    ] {
        let count = wrong.len();
        let error = open(&adapter(&bench, &config(""), &wrong), Some(base.clone())).err().unwrap();
        assert!(matches!(&error, AdapterError::Unmatched { names } if names.len() == count), "{error}");
        assert_eq!(error.code(), "mismatch");
    }
}

#[test]
fn an_adapter_of_many_modules_is_looked_up_quickly() {
    let bench = Bench::new();
    let named = |name: String| tensor(name, &[1, 1], |_| 1.0);
    let weights: Vec<Made> = (0..40_000).map(|index| named(format!("w{index}.weight"))).collect();
    let base = write(&bench, "base.safetensors", &weights);
    let lone =
        |index: usize| ["A", "B"].map(|side| named(format!("base_model.model.m{index}.lora_{side}.weight")));
    let many: Vec<Made> = (0..40_000).flat_map(lone).collect();
    let folder = adapter(&bench, &config(""), &many);
    let start = std::time::Instant::now();
    let error = open(&folder, Some(base)).err().unwrap();
    assert!(matches!(&error, AdapterError::Unmatched { names } if names.len() == 80_000), "{error}");
    let longest = std::time::Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 1 });
    assert!(start.elapsed() < longest, "{:?}", start.elapsed());
}

#[test]
fn weights_of_length_and_direction_are_put_together() {
    for [length, direction] in [
        ["r", "theta"],
        ["weight_g", "weight_v"],
        ["parametrizations.weight.original0", "parametrizations.weight.original1"],
    ] {
        let mut bench = Bench::new();
        let weight = bench.find(&format!("{MODULE}.weight")).clone();
        let (outputs, inputs) = (weight.0.shape[0], weight.0.shape[1]);
        let place = bench.tensors.iter().position(|(info, _)| info.name == weight.0.name).unwrap();
        // Directions need not have the length 1.
        let whole = values(&weight.1);
        bench.tensors[place] = tensor(format!("{MODULE}.{direction}"), &[outputs, inputs], |index| {
            whole[index] * (1.0 + (index / inputs) as f32)
        });
        let of_row = |row: usize| {
            whole[row * inputs..][..inputs].iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt()
                as f32
        };
        bench.tensors.insert(place, tensor(format!("{MODULE}.{length}"), &[outputs, 1], of_row));
        let path = bench.write_source("polar.safetensors");
        let wanted: Vec<f64> = whole.iter().map(|value| f64::from(*value)).collect();
        let source = check(&bench, open(&path, None).unwrap(), &wanted);
        let kept = source.ledger().groups.iter().find(|group| group.fate == Fate::Dropped).unwrap();
        assert_eq!((kept.rule.as_str(), kept.tensors), ("merged into other weights", 1));
        let note = format!("1 weight put together from length `{length}` and direction `{direction}`");
        assert!(source.notes().contains(&note), "{:?}", source.notes());
        // Without the length it is no weight.
        bench.tensors.remove(place);
        let path = bench.write_source("polar.safetensors");
        let error = Source::resolve(path, &SourceOptions { ..bench.options() }).unwrap_err();
        assert_eq!(error.code(), "mismatch");
    }
}

#[test]
fn an_adapter_may_repeat_the_weight_of_its_layer() {
    // PEFT saves the output of `torch.nn.MultiheadAttention` under two names, one with the layer's own weight.
    let mut bench = Bench::new();
    let module = "transformer.resblocks.0.attn";
    let weight = bench.find(&format!("{module}.out_proj.weight")).clone();
    let shape = [weight.0.shape[0], weight.0.shape[1]];
    let base = bench.write_source("base.safetensors");
    let own = tensor(format!("base_model.model.{module}.out_proj.base_layer.weight"), &shape, |index| {
        values(&weight.1)[index]
    });
    let mut all = pieces(&format!("base_model.model.{module}.base_layer.out_proj"), "", shape);
    all.push(own);
    all.extend(pieces(&format!("base_model.model.{module}.out_proj"), "", shape));
    let opened = open(&adapter(&bench, &config(""), &all), Some(base)).unwrap();
    let source = Source::of(opened, &bench.options()).unwrap();
    let state_dict = &source.weights().state_dict;
    let mut found = Vec::new();
    state_dict.read_f32(state_dict.find(&weight.0.name).unwrap(), &mut found).unwrap();
    let wanted = expected(&values(&weight.1), shape, 1.5);
    let near =
        |(found, wanted): (&f32, &f64)| (f64::from(*found) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0);
    assert!(found.len() == wanted.len() && found.iter().zip(&wanted).all(near), "{found:?} {wanted:?}");
}
