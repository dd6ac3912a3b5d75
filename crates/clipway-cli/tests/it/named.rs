//! What users bring that is no model of ours: the whole message says what it is and the next step.

use std::fs;

use crate::scene::Scene;
use crate::tensors::Tensors;

/// Writes files, and checks everything that `export SOURCE` says.
fn check(files: &[(&str, &[u8])], source: &str, expected: &str) {
    let scene = Scene::new();
    for (name, bytes) in files {
        let path = scene.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    refused(&scene, &[source], expected);
}

fn refused(scene: &Scene, source: &[&str], expected: &str) {
    let outcome = scene.run(&[&["export"], source, &["--out", "out"]].concat()).ended(1);
    assert_eq!(outcome.stderr.trim_end(), expected);
    assert!(!scene.path("out").exists());
}

/// A zip with one empty file.
fn zip(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let local = [b"PK\x03\x04\x14", &[0; 21][..], &length, &[0; 2], name.as_bytes()].concat();
    let central = [b"PK\x01\x02\x14\0\x14", &[0; 21][..], &length, &[0; 16], name.as_bytes()].concat();
    let sizes = [central.len(), local.len()].map(|size| u32::try_from(size).unwrap().to_le_bytes());
    let end = [b"PK\x05\x06", &[0; 4][..], &[1, 0, 1, 0], &sizes[0], &sizes[1], &[0; 2]].concat();
    [local, central, end].concat()
}

const MADE_FROM: &str = "\n\nhint: export the PyTorch or safetensors weights that it was made from";
const BIG_VISION: &str = "\n\nhint: a SigLIP of big_vision is read from its `.npz`: save the parameters with `numpy.savez`, \
                          each under its path, such as `params/img/embedding/kernel`; of any other model, export its PyTorch \
                          weights";

#[test]
fn a_file_of_another_program_is_named() {
    let flax = b"\x81\xa6params\x82\xa3img\x81";
    let hdf = b"\x89HDF\r\n\x1a\n\0\0\0\0";
    for (name, bytes, program) in [
        ("clip.gguf", &b"GGUF\x03\0\0\0"[..], "llama.cpp or clip.cpp (GGUF)"),
        ("ggml.bin", b"lmgg\0\0\0\0", "clip.cpp (GGML)"),
        ("m.h5", hdf, "Keras or TensorFlow (HDF5)"),
        ("m.keras", &zip("config.json"), "Keras or TensorFlow (HDF5)"),
        ("m.tflite", b"\x1c\0\0\0TFL3\0\0\0\0", "TensorFlow Lite"),
        ("saved_model.pb", b"\x08\x01\x12\x00", "TensorFlow"),
        ("m.plan", b"ftrt\0\0\0\0", "TensorRT"),
        ("m.engine", b"\x01\x02\x03\x04", "TensorRT"),
        ("m.mlmodel", b"\x08\x01\x12\x00", "Core ML"),
        ("net.xml", b"<?xml version=\"1.0\"?>\n<net name=\"a\" version=\"11\"/>", "OpenVINO"),
        ("m.onnx", b"\x08\x08\x12\x07pytorch", "ONNX runtimes"),
        ("m.pte", b"\x30\0\0\0ET12\0\0\0\0", "ExecuTorch"),
        ("m.param", b"7767517\n3 3\n", "ncnn"),
        ("m.dlc", b"\x01\x02\x03\x04", "Qualcomm's SNPE or QNN"),
    ] {
        let says = format!(
            "error: `{name}` is a model file for {program}, which is not read [unsupported]{MADE_FROM}"
        );
        check(&[(name, bytes)], name, &says);
    }
    let says = |name: &str| {
        format!("error: `{name}` is a model file for Flax, which is not read [unsupported]{BIG_VISION}")
    };
    for name in ["siglip.msgpack", "checkpoint_100"] {
        check(&[(name, flax)], name, &says(name));
    }
    // Weights of OpenVINO are known by the `.xml` beside them.
    let says =
        format!("error: `net.bin` is a model file for OpenVINO, which is not read [unsupported]{MADE_FROM}");
    check(&[("net.bin", &[0; 99]), ("net.xml", b"<net/>")], "net.bin", &says);
}

#[test]
fn a_folder_of_another_program_is_named() {
    let hdf = &b"\x89HDF\r\n\x1a\n\0\0\0\0"[..];
    for (files, program, file) in [
        (&[("f/image.xml", &b"<net/>"[..]), ("f/image.bin", b"0")][..], "OpenVINO", "image.bin"),
        (&[("f/m.trt", b"ftrt\0\0\0\0")], "TensorRT", "m.trt"),
        (
            &[("f/config.json", b"{}"), ("f/model.weights.h5", hdf)],
            "Keras or TensorFlow (HDF5)",
            "model.weights.h5",
        ),
        (&[("f/model.onnx", b"\x08\x08\x12\x07pytorch")], "ONNX runtimes", "model.onnx"),
        (&[("f/a.mlpackage/Manifest.json", b"{}")], "Core ML", "a.mlpackage"),
        (&[("f/a.mlmodelc/coremldata.bin", b"0")], "Core ML", "a.mlmodelc"),
        (&[("f/model.ckpt-1.data-00000-of-00001", b"0")], "TensorFlow", "model.ckpt-1.data-00000-of-00001"),
    ] {
        let says = format!(
            "error: `f` contains weights for {program} only (`{file}`), which are not read [unsupported]{MADE_FROM}"
        );
        check(files, "f", &says);
    }
    for (file, bytes, program) in
        [("_CHECKPOINT_METADATA", &b"{}"[..], "Orbax (JAX)"), ("checkpoint", b"\x81\xa6params\x82", "Flax")]
    {
        let says = format!(
            "error: `f` contains weights for {program} only (`{file}`), which are not read [unsupported]{BIG_VISION}"
        );
        check(&[(&format!("f/{file}"), bytes)], "f", &says);
    }
    let says = format!(
        "error: `a.mlpackage` is a model file for Core ML, which is not read [unsupported]{MADE_FROM}"
    );
    check(&[("a.mlpackage/Data/weights/weight.bin", b"0")], "a.mlpackage", &says);
}

#[test]
fn an_archive_of_files_is_to_be_unpacked() {
    let unpack = "\n\nhint: unpack it, and pass the folder or the file of weights";
    for (name, bytes) in [
        ("clip.tar.gz", &b"\x1f\x8b\x08\0\0\0\0\0"[..]),
        ("clip.7z", b"7z\xbc\xaf\x27\x1c\0\0"),
        ("flat.zip", &zip("model.safetensors")),
        ("folder.zip", &zip("clip/model.safetensors")),
    ] {
        let says = format!(
            "error: `{name}` is an archive file with other files in it, and not a checkpoint [unsupported]{unpack}"
        );
        check(&[(name, bytes)], name, &says);
    }
}

#[test]
fn a_universal_checkpoint_of_deepspeed_is_joined_by_its_user() {
    let says = |folder: &str| {
        format!(
            "error: `{folder}` is a universal checkpoint of DeepSpeed, with one file for each tensor, which is not read \
             [unsupported]\n\nhint: join the tensors, and export the file: `python -c \"import pathlib, torch; \
             torch.save({{p.parent.name: torch.load(p)['param'] for p in pathlib.Path('{folder}/zero').glob('*/fp32.pt')}}, \
             'model.pt')\"`"
        )
    };
    let tensor = ("run/step_universal/zero/visual.proj/fp32.pt", &b"x"[..]);
    check(&[tensor], "run/step_universal", &says("run/step_universal"));
    // With a part of the model as ZeRO-3 has it, and from the run's folder, whose other step is elsewhere.
    let part = ("run/step_universal/zero_pp_rank_0_mp_rank_00_model_states.pt", &b"x"[..]);
    check(&[tensor, part], "run/step_universal", &says("run/step_universal"));
    let latest = [("run/latest", &b"step"[..]), ("run/latest_universal", b"step_universal")];
    check(&[tensor, latest[0], latest[1]], "run", &says("run/step_universal"));
}

#[test]
fn one_shard_is_not_a_model() {
    let scene = Scene::new();
    let name = "model-00001-of-00002.safetensors";
    Tensors::emoji().without("visual.proj").write(&scene.path(name));
    refused(
        &scene,
        &[name, "--model", "EMOJI/emoji-clip.json"],
        "error: `model-00001-of-00002.safetensors` is shard 1 of 2, without the other tensors of the model [missing]\n\n\
         hint: pass the folder of all shards and their `….index.json`, `.`, or the index itself",
    );
    // A shard that holds all that is asked for is used.
    let image = ["export", name, "--model", "EMOJI/emoji-clip.json", "--tower", "text", "--out", "out"];
    scene.run(&image).ended(0);
}

#[test]
fn the_next_step_follows_from_what_differs() {
    let config = fs::read_to_string(crate::scene::emoji().join("emoji-clip.json")).unwrap();
    let with = |tensors: Tensors, expected: &str| {
        let scene = Scene::new();
        scene.write("m.json", &config);
        tensors.write(&scene.path("w.safetensors"));
        let outcome = scene.run(&["export", "w.safetensors", "--model", "m.json", "--out", "out"]).ended(1);
        let hint = outcome.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        assert_eq!(hint, Some(expected), "{}", outcome.stderr);
    };
    let image = "the image tower is whole; pass `--tower image` to use it alone";
    with(Tensors::emoji().without("text_projection"), image);
    let text = "the text tower is whole; pass `--tower text` to use it alone";
    with(Tensors::emoji().without("visual.proj"), text);
    let both = "both towers are whole; pass `--tower image` or `--tower text` to use one";
    with(Tensors::emoji().without("logit_scale"), both);
}

#[test]
fn options_of_training_are_no_keys_of_a_config() {
    let config = fs::read_to_string(crate::scene::emoji().join("emoji-clip.json")).unwrap();
    for (key, instead) in [
        ("use_naflex", "remove it: the weights show whether the image tower was trained so"),
        ("force_naflex_vision", "remove it: the weights show whether the image tower was trained so"),
        ("force_image_size", "set `vision_cfg.image_size`"),
        ("force_quick_gelu", "set `quick_gelu` at the top"),
    ] {
        let scene = Scene::new();
        scene.write("m.json", config.replacen('{', &format!("{{\"{key}\": true, "), 1));
        let says = format!(
            "error: `m.json`: `$.{key}`: unknown key: an option of open_clip's training or `create_model`, not of a config; \
             {instead} [unknown-key]"
        );
        refused(&scene, &["EMOJI/emoji-clip.pt", "--model", "m.json"], &says);
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_an_incomplete_download() {
    let scene = Scene::new();
    std::os::unix::fs::symlink("../blobs/absent", scene.path("model.safetensors")).unwrap();
    let outcome = scene.run(&["export", "model.safetensors", "--out", "out"]).ended(2);
    let expected = "error: cannot read `model.safetensors`: No such file or directory (os error 2) [io]\n\nhint: it is a link to \
                    a file that does not exist, as of an incomplete download; get the model again";
    assert_eq!(outcome.stderr.trim_end(), expected);
}
