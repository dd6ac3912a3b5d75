//! Checkpoints: which tensors are the weights, and which file of a folder is read, in which format.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Dtype, PytorchFile, PytorchOptions, ReadAt, TensorInfo, write_safetensors};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::state_dict::{Weights, WeightsChoice};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints").join(name)
}

/// Writes a file of `[2]` tensors that all hold one value.
pub fn write_tensors(path: &Path, names: &[&str], value: f32) {
    let info = |name: &&str| TensorInfo { name: (*name).to_owned(), dtype: Dtype::F32, shape: vec![2] };
    let infos: Vec<TensorInfo> = names.iter().map(info).collect();
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &infos, &[], |_| Ok([value.to_le_bytes(); 2].concat())).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Describes a checkpoint's weights in one line: path, choice, first value, and the parts left out.
fn selected(checkpoint: &Checkpoint, choice: Option<WeightsChoice>) -> String {
    let weights = match checkpoint.weights(choice) {
        Ok(weights) => weights,
        Err(error) => return format!("error: {error}"),
    };
    let mut names: Vec<&str> = weights.state_dict.tensors().iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["logit_scale", "visual.proj"]);
    let mut values = Vec::new();
    weights.state_dict.read_f32(0, &mut values).unwrap();
    let left: Vec<String> = weights
        .left_out
        .iter()
        .map(|part| format!("{} `{}` {}x{}", part.kind.name(), part.path, part.tensors.len(), part.bytes))
        .collect();
    let both = if weights.has_both { ", both" } else { "" };
    let (path, choice) = (weights.path.join("/"), weights.choice.name());
    format!("{path}: {choice} {}{both}; {}", values[0], left.join(", "))
}

#[test]
fn lightnings_average_is_taken_as_lightning_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let prefixes = [("current_model_state", 1f32), ("state_dict", 2.0)];
    let named = prefixes.iter().flat_map(|(prefix, value)| {
        ["logit_scale", "visual.proj"]
            .map(|name| (format!("{prefix}.model.{name}"), value.to_le_bytes().repeat(2)))
    });
    let named: Vec<(String, Vec<u8>)> = named.collect();
    let info =
        |(name, _): &(String, Vec<u8>)| TensorInfo { name: name.clone(), dtype: Dtype::F32, shape: vec![2] };
    let infos: Vec<TensorInfo> = named.iter().map(info).collect();
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &infos, &[], |index| Ok(&named[index].1)).unwrap();
    fs::write(&path, bytes).unwrap();
    let check =
        |choice, expected: &str| assert_eq!(selected(&Checkpoint::open(&path).unwrap(), choice), expected);
    let average = "state_dict/model: ema 2, both; raw weights `current_model_state` 2x16";
    check(None, average);
    check(Some(WeightsChoice::Ema), average);
    let raw = "current_model_state/model: raw 1, both; EMA weights `state_dict` 2x16";
    check(Some(WeightsChoice::Raw), raw);
}

#[test]
fn finds_the_weights_of_training_checkpoints() {
    let check = |name: &str, choice: Option<WeightsChoice>, expected: &str| {
        assert_eq!(selected(&Checkpoint::open(data(name)).unwrap(), choice), expected, "{name} {choice:?}");
    };
    let (raw, ema) = (Some(WeightsChoice::Raw), Some(WeightsChoice::Ema));
    let moments = "optimizer state `optimizer` 6x40";
    check("open_clip.pt", None, &format!("state_dict/module: raw 1; {moments}"));
    check("open_clip.pt", ema, "error: no ema weights, only raw");
    let with_ema = format!("state_dict: raw 1, both; {moments}, EMA weights `state_dict_ema` 2x16");
    check("timm_ema.pt", None, &with_ema);
    check("timm_ema.pt", raw, &with_ema);
    check(
        "timm_ema.pt",
        ema,
        &format!("state_dict_ema: ema 2, both; raw weights `state_dict` 2x16, {moments}"),
    );
    check("averaged.pt", None, "model/_orig_mod/module: raw 1, both; EMA weights `model_ema` 3x24");
    check(
        "averaged.pt",
        ema,
        "model_ema/module: ema 2, both; raw weights `model` 2x16, other tensors `model_ema.n_averaged` 1x8",
    );
    check("only_ema.pt", None, "model_ema: ema 2; ");
    check("only_ema.pt", raw, "error: no raw weights, only ema");
    check("lightning.pt", None, "state_dict/model: raw 1; optimizer state `optimizer_states` 6x40");
    check("two_models.pt", None, "error: the weights could be under `model` and `net`");
    check("unknown_name.pt", None, "clip: raw 1; ");
    let other = "error: the weights could be under `model` and `best_model`";
    check("best_model.pt", None, other);
    check("best_model.pt", raw, other);
    // A copy that is averaged is known by its name, and is asked for.
    check("generator.pt", None, "error: the weights could be under `generator` and `g_ema`");
    check("generator.pt", ema, "g_ema: ema 2; other tensors `generator` 2x16");
    check("nested.pt", None, "error: the weights could be under `checkpoint.model` and `checkpoint.best`");
    // Of these, only one has the model's names.
    check("discriminator.pt", None, "model: raw 1; other tensors `discriminator` 2x16");
    check("optimizer_only.pt", None, "error: no weights: all tensors are training state");
    check("beside.pt", None, "state_dict: raw 1; other tensors `queue` 1x16, loss state `loss` 1x8");
    check("traced.pt", None, ": raw 1; constants of TorchScript code `CONSTANTS` 1x8");
}

#[test]
fn strips_prefixes_that_all_names_have() {
    let folder = tempfile::tempdir().unwrap();
    let check = |prefix: &str, expected: &str| {
        let path = folder.path().join("x.safetensors");
        let names = [format!("{prefix}visual.proj"), format!("{prefix}logit_scale")];
        write_tensors(&path, &names.each_ref().map(String::as_str), 1.0);
        assert_eq!(selected(&Checkpoint::open(&path).unwrap(), None), format!("{expected}: raw 1; "));
    };
    check("", "");
    check("module.", "module");
    check("_orig_mod.module.", "_orig_mod/module");
    check("module._orig_mod.", "module/_orig_mod");
    let path = folder.path().join("some.safetensors");
    write_tensors(&path, &["module.visual.proj", "logit_scale"], 1.0);
    let weights = Checkpoint::open(&path).unwrap().weights(None).unwrap();
    assert_eq!(weights.state_dict.tensors()[0].name, "module.visual.proj", "only if all have it");
}

#[test]
fn facts_of_the_pickle_are_listed() {
    let checkpoint = Checkpoint::open(data("open_clip.pt")).unwrap();
    let facts = serde_json::to_string(&checkpoint.facts()).unwrap();
    assert_eq!(facts, r#"[["epoch",3],["name","run"]]"#);
    assert_eq!(checkpoint.writer().archive_version, Some(3));
    assert!(checkpoint.globals().iter().any(|global| global.name == "torch._utils._rebuild_tensor_v2"));
}

#[test]
fn chooses_the_file_of_a_folder_as_open_clip_does() {
    let check = |files: &[&str], expected: Result<&str, &str>| {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            write_tensors(&folder.path().join(name), &["visual.proj"], 1.0);
        }
        match (Checkpoint::open(folder.path()), expected) {
            (Ok(found), Ok(name)) => assert_eq!(found.weights_path(), folder.path().join(name), "{files:?}"),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{files:?}: {error}"),
            (found, _) => panic!("{files:?}: {found:?}"),
        }
    };
    check(&["open_clip_model.safetensors", "model.safetensors"], Ok("open_clip_model.safetensors"));
    check(&["model.safetensors", "open_clip_pytorch_model.bin"], Ok("open_clip_pytorch_model.bin"));
    check(&["epoch_1.pt"], Ok("epoch_1.pt"));
    check(&["epoch_1.pt", "epoch_2.pt", "notes.txt"], Err("several weight files: epoch_1.pt, epoch_2.pt"));
    check(&["notes.txt"], Err("contains no weights"));

    // Shards next to an index are not ambiguous, but a second index is.
    let folder = tempfile::tempdir().unwrap();
    let shard = "mine-00001-of-00001.safetensors";
    write_tensors(&folder.path().join(shard), &["visual.proj"], 1.0);
    let index = format!(r#"{{"weight_map": {{"visual.proj": "{shard}"}}}}"#);
    fs::write(folder.path().join("mine.index.json"), &index).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.weights_path(), folder.path().join("mine.index.json"));
    fs::write(folder.path().join("other.index.json"), &index).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_eq!(error.code(), "ambiguous");
    assert!(error.to_string().ends_with(": mine.index.json, other.index.json"), "{error}");
}

/// A numpy array is also recognized by its content.
#[test]
fn opens_an_array_of_numpy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    let values = [1.5f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat();
    let header = b"{'descr':'<f4','fortran_order':False,'shape':(2,)}\n";
    fs::write(&path, [b"\x93NUMPY\x01\x00\x33\x00", &header[..], &values].concat()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.format().name(), "npy");
    let mut bytes = Vec::new();
    checkpoint.tensors().read(0, &mut bytes).unwrap();
    assert_eq!((&checkpoint.tensors().tensors()[0].shape[..], bytes), (&[2][..], values));
}

#[test]
fn says_what_a_wrong_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], code: &str, expected: &str| {
        let path = folder.path().join("wrong.pt");
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("wrong.pt") && message.contains(expected), "{message}");
        assert_eq!(error.code(), code, "{message}");
    };
    check(b"", "unknown-format", "empty");
    check(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "unknown-format", "Git LFS");
    check(b"{\"embed_dim\": 512}", "unknown-key", "unknown key");
    check(b"PK\x03\x04", "truncated", "no zip end record");
    check(b"\x20\0\0\0\0\0\0\0{\"a\"", "truncated", "");
    let error = Checkpoint::open(folder.path().join("none.pt")).unwrap_err();
    assert_eq!(error.code(), "io");
}

#[cfg(unix)]
#[test]
fn safetensors_is_told_whatever_the_length_of_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    // As numbers, these lengths start with the same bytes as archives, pickles, JSON and whitespace.
    for length in [u64::from(u16::from_le_bytes(*b"PK")), 0x0280, 0x7d7b, 0x2020, 0x0a7b, 128, 0x93] {
        let mut header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_owned();
        header += &" ".repeat(length as usize - header.len());
        let bytes = [&length.to_le_bytes()[..], header.as_bytes(), &1.5f32.to_le_bytes()].concat();
        fs::write(&path, &bytes).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(checkpoint.tensors().tensors()[0].name, "a", "{length}");
        let source: Arc<dyn ReadAt> = Arc::new(bytes);
        let error = PytorchFile::open(source, PytorchOptions::default()).err().expect("it is refused");
        assert!(error.to_string().contains("it looks like safetensors"), "{length}: {error}");
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    write_tensors(&path, &["visual.proj", "logit_scale"], 1.0);
    let weights = Checkpoint::open(&path).unwrap().weights(None).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let error = weights.state_dict.read_bytes(0, &mut Vec::new()).unwrap_err();
    assert_eq!(error.code.name(), "truncated");
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let select = |names: &[&str]| {
        write_tensors(&path, names, 1.0);
        let file = clipway_formats::SafetensorsFile::open(Arc::new(fs::read(&path).unwrap())).unwrap();
        let levels = |path: &[String]| {
            let inner = ["visual.proj", "visual.x"].map(str::to_owned).to_vec();
            let outer = ["state_dict", "visual.proj", "other"].map(str::to_owned).to_vec();
            Some(if path.is_empty() { outer } else { inner })
        };
        Weights::select(Arc::new(file), &levels, None)
    };
    let error = select(&["state_dict.visual.proj", "state_dict.visual.x", "visual.proj"]).unwrap_err();
    assert_eq!(error.code(), "duplicate");
    assert_eq!(error.to_string(), "`state_dict.visual.proj` and `visual.proj` would have the same name");
    let sound = select(&["state_dict.visual.proj", "state_dict.visual.x", "other.visual.proj"]).unwrap();
    assert_eq!(sound.state_dict.tensors().len(), 2);
}
