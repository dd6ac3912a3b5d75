//! Folders that point to the one with the weights, and folders without weights that can be read.

use std::fs;
use std::path::Path;

use clipway_model::checkpoint::{Checkpoint, CheckpointError};
use clipway_model::source::{Source, SourceError};
use clipway_model::state_dict::SelectError;

use crate::bench::Bench;

/// Writes the weights of a small model at a path below a new folder, and small files beside them.
fn folder(weights: &[&str], files: &[(&str, &str)]) -> tempfile::TempDir {
    let bench = Bench::new();
    let source = bench.write_source("made.safetensors");
    let made = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = made.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for name in weights {
        fs::copy(&source, place(name)).unwrap();
    }
    for (name, text) in files {
        fs::write(place(name), text).unwrap();
    }
    made
}

/// Path of the weights below the folder.
fn found(made: &Path) -> String {
    let checkpoint = Checkpoint::open(made).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checkpoint.path(), made);
    checkpoint.weights_path().strip_prefix(made).unwrap().to_string_lossy().into_owned()
}

fn refused(made: &Path) -> CheckpointError {
    Checkpoint::open(made).expect_err("it is refused")
}

const MODULES: &str =
    r#"[{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]"#;

#[test]
fn folders_that_point_to_the_weights_are_followed() {
    let snapshots = ["snapshots/aa/model.safetensors", "snapshots/bb/model.safetensors"];
    for (weights, files, expected) in [
        (&snapshots[..], &[("refs/main", "bb\n")][..], snapshots[1]),
        (&snapshots[..1], &[], snapshots[0]),
        (&["0_CLIPModel/model.safetensors"], &[("modules.json", MODULES)], "0_CLIPModel/model.safetensors"),
        (
            &["snapshots/aa/0_CLIPModel/model.safetensors"],
            &[("snapshots/aa/modules.json", MODULES)],
            "snapshots/aa/0_CLIPModel/model.safetensors",
        ),
        (
            &["global_step9/mp_rank_00_model_states.pt", "global_step10/mp_rank_00_model_states.pt"],
            &[
                ("latest", "global_step10"),
                ("global_step10/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", ""),
                ("global_step10/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt", ""),
            ],
            "global_step10/mp_rank_00_model_states.pt",
        ),
        (&["checkpoints/epoch_3.pt"], &[("params.txt", "")], "checkpoints/epoch_3.pt"),
        // What lies in the folder itself is taken first.
        (&["model.safetensors", "checkpoints/epoch_3.pt"], &[], "model.safetensors"),
    ] {
        assert_eq!(found(folder(weights, files).path()), expected);
    }
}

#[test]
fn the_newest_checkpoint_is_proposed() {
    let epochs =
        |names: &[&str]| names.iter().map(|name| format!("run/checkpoints/{name}")).collect::<Vec<_>>();
    for (names, expected) in [
        (&["epoch_1.pt", "epoch_2.pt", "epoch_10.pt"][..], "epoch_10.pt"),
        (&["epoch_1.pt", "epoch_10.pt", "epoch_latest.pt"], "epoch_latest.pt"),
        (&["step=5-epoch=1.pt", "last.pt", "step=50-epoch=7.pt"], "last.pt"),
    ] {
        let weights = epochs(names);
        let made = folder(&weights.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let error = refused(&made.path().join("run"));
        assert_eq!(error.code(), "ambiguous", "{error}");
        let proposed = error.proposed().unwrap();
        assert_eq!(proposed.file_name().unwrap(), expected);
        assert!(proposed.is_file());
    }
    // Of several commits the one written last; their digits count nothing.
    let commits = [format!("snapshots/{}9", "a".repeat(39)), format!("snapshots/{}1", "b".repeat(39))];
    let weights = commits.each_ref().map(|commit| format!("{commit}/model.safetensors"));
    let made = folder(&weights.each_ref().map(String::as_str), &[]);
    let error = refused(made.path());
    assert_eq!((error.code(), error.proposed()), ("ambiguous", Some(made.path().join(&commits[1]))));
    let error = refused(&made.path().join("snapshots"));
    assert_eq!((error.code(), error.proposed()), ("missing", Some(made.path().join(&commits[1]))));
}

#[test]
fn checkpoints_of_other_trainers_are_found() {
    for name in ["epoch=3-step=40.ckpt", "model_best.pth.tar"] {
        assert_eq!(
            found(folder(&[&format!("checkpoints/{name}")], &[]).path()),
            format!("checkpoints/{name}")
        );
    }
    // accelerate keeps the optimizer's parts beside the model's.
    let made = folder(&[], &[("pytorch_model_fsdp_0/.metadata", ""), ("optimizer_0/.metadata", "")]);
    let error = refused(made.path());
    assert!(error.to_string().ends_with("; its folder `pytorch_model_fsdp_0` does"), "{error}");
    // The scheduler's state is none of the weights, nor is the optimizer's.
    let made = folder(
        &[],
        &[("pytorch_model_fsdp_0/.metadata", ""), ("scheduler.bin", ""), ("optimizer_0.bin", "")],
    );
    let error = refused(made.path());
    assert!(error.to_string().ends_with("; its folder `pytorch_model_fsdp_0` does"), "{error}");
    let states = [("optimizer.bin", ""), ("scheduler.bin", ""), ("rng_state_0.pth", "")];
    assert_eq!(found(folder(&["pytorch_model_fsdp.bin"], &states).path()), "pytorch_model_fsdp.bin");
    // Of the models of a pipeline, only the text encoder can be a CLIP's.
    let made =
        folder(&["text_encoder/model.safetensors", "unet/model.safetensors"], &[("model_index.json", "{}")]);
    let error = refused(made.path());
    assert!(error.to_string().ends_with("; its folder `text_encoder` does"), "{error}");
    let made = folder(&["hub/models--a--b/snapshots/cc/model.safetensors"], &[]);
    let error = refused(&made.path().join("hub"));
    assert!(error.to_string().ends_with("; its folder `models--a--b` does"), "{error}");
}

#[test]
fn shards_without_their_index_are_named() {
    let made =
        folder(&[], &[("model-00001-of-00002.safetensors", ""), ("model-00002-of-00002.safetensors", "")]);
    let error = refused(made.path());
    assert_eq!(error.code(), "missing");
    assert!(error.to_string().contains("(`model-00001-of-00002.safetensors`), but no index"), "{error}");
}

#[test]
fn folders_that_cannot_be_read_are_named() {
    let text_model = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
    for (files, code, says) in [
        (&[("flax_model.msgpack", "")][..], "unsupported", "weights for Flax only (`flax_model.msgpack`)"),
        (
            &[("tf_model.h5", "")],
            "unsupported",
            "weights for Keras or TensorFlow (HDF5) only (`tf_model.h5`)",
        ),
        (
            &[("clip-q8.gguf", "")],
            "unsupported",
            "weights for llama.cpp or clip.cpp (GGUF) only (`clip-q8.gguf`)",
        ),
        (
            &[("modules.json", text_model)],
            "unsupported",
            "a sentence-transformers model of Transformer, Pooling",
        ),
        // Parts without their description, one that is empty, and one that is no pickle.
        (
            &[("__0_0.distcp", "")],
            "missing",
            "parts of a distributed checkpoint of PyTorch (`.distcp`), but no",
        ),
        (&[(".metadata", ""), ("__0_0.distcp", "")], "truncated", ".metadata`: byte 0"),
        (&[(".metadata", "{}"), ("_metadata_extra.pt", "")], "malformed", ".metadata"),
        (&[("zero_pp_rank_0_mp_rank_00_model_states.pt", "")], "unsupported", "DeepSpeed ZeRO-3"),
        (
            &[("text_encoder/model.safetensors", ""), ("unet/x.json", "")],
            "missing",
            "its folder `text_encoder` does",
        ),
        (&[("readme.md", "")], "missing", "contains no weights"),
        // Names that lead out of the folder.
        (&[("latest", "../other")], "path-escape", "`latest`: file: expected the name of a folder"),
        (&[("refs/main", ".."), ("snapshots/a/x.json", "")], "path-escape", "expected the name of a folder"),
        (&[("modules.json", "{}")], "bad-value", "modules.json"),
    ] {
        let error = refused(folder(&[], files).path());
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says) || says.starts_with("`latest`"), "{error}");
    }
}

#[test]
fn one_part_of_a_distributed_checkpoint_is_named() {
    let made = folder(&[], &[(".metadata", ""), ("__0_0.distcp", "")]);
    let error = refused(&made.path().join("__0_0.distcp"));
    assert_eq!(error.code(), "unsupported", "{error}");
    assert!(error.to_string().contains("is one part of a distributed checkpoint of PyTorch"), "{error}");
}

#[test]
fn the_newest_of_several_distributed_checkpoints_is_proposed() {
    let made = folder(&[], &[("checkpoints/epoch_9/.metadata", ""), ("checkpoints/epoch_10/.metadata", "")]);
    let error = refused(made.path());
    assert_eq!(error.code(), "missing", "{error}");
    assert_eq!(error.proposed(), Some(made.path().join("checkpoints/epoch_10")));
}

#[cfg(unix)]
#[test]
fn a_link_that_leaves_the_folder_is_not_followed() {
    let elsewhere = folder(&["model.safetensors"], &[]);
    let made = folder(&[], &[("modules.json", MODULES)]);
    std::os::unix::fs::symlink(elsewhere.path(), made.path().join("0_CLIPModel")).unwrap();
    assert_eq!(refused(made.path()).code(), "path-escape");
}

#[test]
fn weights_without_values_are_named() {
    let mut bench = Bench::new();
    for (info, bytes) in &mut bench.tensors {
        info.shape = vec![0];
        bytes.clear();
    }
    let source = bench.write_source("zero_pp_rank_0_mp_rank_00_model_states.safetensors");
    let error = Source::of(Checkpoint::open(source).unwrap(), &bench.options()).unwrap_err();
    assert!(
        matches!(&error, SourceError::Select { cause: SelectError::Placeholders { empty, tensors }, .. }
            if empty == tensors && *empty == bench.tensors.len()),
        "{error}"
    );
}
