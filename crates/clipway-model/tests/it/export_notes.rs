//! What an export reports about its source: the weights taken, dangerous contents, the origin of the activation.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::TensorInfo;
use clipway_model::checkpoint::{Checkpoint, OpenOptions};
use clipway_model::export::Export;
use clipway_model::plan::Fate;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::state_dict::{Selection, WeightsChoice};

use crate::bench::Bench;

/// Returns the notes of a prepared export.
fn notes(source: &Path, options: &SourceOptions) -> Vec<String> {
    let checkpoint =
        Checkpoint::open_with(source, OpenOptions { allow_opaque: true, ..OpenOptions::default() }).unwrap();
    let source = Source::of(checkpoint, options).unwrap();
    Export::prepare(&source, Default::default()).unwrap().notes().to_vec()
}

/// Returns a bench whose tensors occur once under each of these prefixes.
fn under(parts: &[&str]) -> Bench {
    let mut bench = Bench::new();
    let tensors = std::mem::take(&mut bench.tensors);
    for part in parts {
        let renamed = |(info, bytes): &(TensorInfo, Vec<u8>)| {
            let name = format!("{part}.{}", info.name);
            (TensorInfo { name, ..info.clone() }, bytes.clone())
        };
        bench.tensors.extend(tensors.iter().map(renamed));
    }
    bench
}

#[test]
fn which_weights_were_taken_is_said_unless_they_were_chosen() {
    let both = under(&["state_dict", "state_dict_ema"]);
    let source = both.write_source("both.safetensors");
    let taken = "the checkpoint also has EMA weights; the raw ones were used, as in open_clip";
    assert_eq!(notes(&source, &both.options()), [taken]);
    for choice in [WeightsChoice::Raw, WeightsChoice::Ema] {
        let options = SourceOptions {
            selection: Selection { choice: Some(choice), ..Selection::default() },
            ..both.options()
        };
        assert_eq!(notes(&source, &options), [""; 0]);
        // The others are accounted for.
        let checkpoint = Checkpoint::open(&source).unwrap();
        let prepared = Source::of(checkpoint, &options).unwrap();
        let dropped: Vec<(&str, usize)> =
            prepared.ledger().dropped().map(|group| (group.rule.as_str(), group.tensors)).collect();
        let rule = if choice == WeightsChoice::Raw { "EMA weights" } else { "raw weights" };
        assert_eq!(dropped, [(rule, both.tensors.len() / 2)]);
    }
    let only = under(&["state_dict_ema"]);
    let source = only.write_source("only.safetensors");
    assert_eq!(notes(&source, &only.options()), ["the checkpoint has only EMA weights; they were used"]);
}

/// Pickles a text.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn integer(value: usize) -> Vec<u8> {
    [b"J", &(value as u32).to_le_bytes()[..]].concat()
}

/// Writes a file in the style of PyTorch before 1.6, with the bench's tensors and this value next to them.
fn write_legacy(bench: &Bench, value: &[u8]) -> PathBuf {
    let start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    let tuple = |values: &[usize]| {
        [b"(", &values.iter().flat_map(|&v| integer(v)).collect::<Vec<u8>>()[..], b"t"].concat()
    };
    let (mut pickle, mut keys, mut storages) = (b"\x80\x02}".to_vec(), b"\x80\x02]".to_vec(), Vec::new());
    for (number, (info, bytes)) in bench.tensors.iter().enumerate() {
        let key = number.to_string();
        let strides: Vec<usize> =
            (0..info.shape.len()).map(|axis| info.shape[axis + 1..].iter().product()).collect();
        let id = [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text(&key), &text("cpu")];
        let id = [&id.concat()[..], &integer(info.elements()), b"NtQK\0"].concat();
        pickle.extend([&text(&info.name)[..], b"ctorch._utils\n_rebuild_tensor_v2\n(", &id].concat());
        pickle.extend(
            [&tuple(&info.shape)[..], &tuple(&strides), b"\x89ccollections\nOrderedDict\n)RtRs"].concat(),
        );
        keys.extend([&text(&key)[..], b"a"].concat());
        storages.extend([&(info.elements() as u64).to_le_bytes()[..], bytes].concat());
    }
    pickle.extend([&text("beside")[..], value, b"s."].concat());
    keys.push(b'.');
    let path = bench.path("legacy.pt");
    fs::write(&path, [&start[..], &pickle, &keys, &storages].concat()).unwrap();
    path
}

/// A call that would run a command, next to the weights, is refused, unless it may stay opaque; then it is named.
#[test]
fn what_is_dangerous_is_named() {
    let bench = Bench::new();
    let harmless = write_legacy(&bench, b"K\x07");
    assert_eq!(notes(&harmless, &bench.options()), [""; 0]);
    let canary = bench.path("canary");
    let call = [b"cposix\nsystem\n", &text(&format!("touch {}", canary.display()))[..], b"\x85R"].concat();
    let source = write_legacy(&bench, &call);
    let error = Checkpoint::open(&source).unwrap_err();
    assert_eq!(error.code(), "unsafe-pickle");
    assert!(error.to_string().contains("`posix.system` runs code"), "{error}");
    let named = "the pickle names functions that would run code; clipway did not execute it: posix.system";
    assert_eq!(notes(&source, &bench.options()), [named]);
    // The weights are the bench's, and the call was never made.
    let checkpoint = Arc::new(
        Checkpoint::open_with(&source, OpenOptions { allow_opaque: true, ..OpenOptions::default() }).unwrap(),
    );
    let groups = &Source::of(Arc::clone(&checkpoint), &bench.options()).unwrap().ledger().groups.clone();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].fate, groups[0].tensors), (Fate::Written, bench.tensors.len()));
    let weights = checkpoint.weights(None).unwrap().state_dict;
    let mut bytes = Vec::new();
    for (index, expected) in bench.tensors.iter().enumerate() {
        weights.read_bytes(index, &mut bytes).unwrap();
        assert_eq!((&weights.tensors()[index], &bytes), (&expected.0, &expected.1));
    }
    assert!(!canary.exists());
}

/// OpenAI's numbers imply a model with QuickGELU; a config that disagrees is used, with a note.
#[test]
fn a_config_that_says_otherwise_than_the_layout_is_noted() {
    let config = |quick_gelu: bool| {
        format!(
            r#"{{"embed_dim": 8, "quick_gelu": {quick_gelu},
            "vision_cfg": {{"image_size": 8, "layers": 1, "width": 64, "head_width": 64, "patch_size": 4}},
            "text_cfg": {{"context_length": 6, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}}}}"#
        )
    };
    for quick_gelu in [false, true] {
        let mut bench = Bench::of(&config(quick_gelu));
        for (name, value) in [("input_resolution", 8i64), ("context_length", 6), ("vocab_size", 50)] {
            let info =
                TensorInfo { name: name.to_owned(), dtype: clipway_formats::Dtype::I64, shape: vec![] };
            bench.tensors.push((info, value.to_le_bytes().to_vec()));
        }
        let source = bench.write_source("openai.safetensors");
        let noted = "the given model uses GELU, but OpenAI CLIP says QuickGELU (OpenAI's code uses only QuickGELU: OpenAI's numbers are among the tensors)";
        let expected: &[&str] = if quick_gelu { &[] } else { &[noted] };
        assert_eq!(notes(&source, &bench.options()), expected);
    }
}

/// A small model whose trunk name implies 160 pixels.
fn trunk(vision: &str) -> String {
    format!(
        r#"{{"embed_dim": 8, "custom_text": true, "vision_cfg": {{"timm_model_name": "test_vit3", "timm_pool": "map",
            "timm_proj": "linear", {vision}}},
            "text_cfg": {{"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1}}}}"#
    )
}

#[test]
fn a_trunk_that_is_made_for_other_images_says_so() {
    let said = "the image tower's tensors were made for 160x160 images and are not resampled: open_clip 3.3.0 loads the folder with `force_image_size`";
    for (size, expected) in [("160", vec![]), ("[96, 185]", vec![said])] {
        let bench = Bench::of(&trunk(&format!(r#""image_size": {size}"#)));
        let notes = notes(&bench.write_source("vit.safetensors"), &bench.options());
        let found: Vec<&String> = notes.iter().filter(|note| note.contains("160")).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn positions_that_were_saved_for_other_images_are_told_by_their_number() {
    let resized = Bench::of(&trunk(r#""image_size": 96, "timm_model_kwargs": {"img_size": 96}"#));
    let source = resized.write_source("resized.safetensors");
    // The weights have 6x6 patches, but the given config does not say so.
    let given = Bench::of(&trunk(r#""image_size": 160"#));
    let options = SourceOptions { image_size: Some([96; 2]), ..given.options() };
    let prepared = Source::resolve(&source, &options).unwrap();
    let model = prepared.model();
    let positions = model.parameters.get(model.parameters.find("visual.trunk.pos_embed").unwrap());
    assert_eq!((positions.shape.as_slice(), model.changed_from), (&[1, 37, 96][..], None));
    let export = Export::prepare(&prepared, Default::default()).unwrap();
    let notes = export.notes();
    assert!(notes.iter().any(|note| note.contains("stored for the config's image size")), "{notes:?}");
    let beyond =
        "open_clip 3.3.0 cannot load this folder: its configs have no key `vision_cfg.timm_model_kwargs`";
    assert!(notes.iter().any(|note| note == beyond), "{notes:?}");

    // Without the size, it is a mismatch.
    let error = Source::resolve(&source, &given.options()).unwrap_err().to_string();
    assert!(error.contains("`visual.trunk.pos_embed`: expected [1, 101, 96], found [1, 37, 96]"), "{error}");
}
