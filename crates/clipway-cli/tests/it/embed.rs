//! `clipway embed`.

use std::sync::Arc;

use clipway_formats::{SafetensorsFile, TensorFile, TensorInfo};

use crate::scene::{Scene, emoji};
use crate::snapshot::check_refused;

/// Maximum difference of a feature from open_clip's, relative to the largest feature.
const TOLERANCE: f32 = 2e-5;

const EMBED: [&str; 2] = ["embed", "EXPORTED"];

/// Returns the tensors of a file as f32.
fn tensors(bytes: Vec<u8>) -> (Vec<(TensorInfo, Vec<f32>)>, SafetensorsFile) {
    let file = SafetensorsFile::open(Arc::new(bytes)).expect("a safetensors file");
    let read = |(index, info): (usize, &TensorInfo)| {
        let mut bytes = Vec::new();
        file.read(index, &mut bytes).expect("a tensor");
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (info.clone(), values.collect())
    };
    (file.tensors().iter().enumerate().map(read).collect(), file)
}

#[test]
fn features_are_those_of_open_clip() {
    let scene = Scene::new();
    let (expected, _) =
        tensors(std::fs::read(emoji().join("expected.safetensors")).expect("what open_clip computed"));
    let (info, expected) =
        expected.iter().find(|(info, _)| info.name == "image_features").expect("features of images");
    let mut names: Vec<String> = std::fs::read_dir(emoji().join("pictures"))
        .expect("pictures")
        .map(|entry| format!("EMOJI/pictures/{}", entry.expect("an image").file_name().to_string_lossy()))
        .collect();
    names.sort();
    let images: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = ["--text", "a lion", "--out", "out.safetensors"];
    scene.run(&[&EMBED[..], &images, &options].concat()).ended(0);
    let (found, file) = tensors(std::fs::read(scene.path("out.safetensors")).expect("the features"));
    assert_eq!(found[0].0.shape, info.shape);
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let differences = found[0].1.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    let worst = differences.fold(0.0, f32::max) / largest;
    assert!(worst <= TOLERANCE, "{worst}");
    assert_eq!((found[1].0.name.as_str(), &found[1].0.shape[..]), ("text_features", &[1, 128][..]));
    assert!(file.metadata()[0].1.contains("avocado.png"), "{:?}", file.metadata());
    let options = ["--text", "a lion", "--normalize"];
    let rows = scene.run(&[&EMBED[..], &images[..2], &options].concat()).ended(0).json();
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (&rows[2]["text"], rows[2]["features"].as_array().map(Vec::len)),
        (&"a lion".into(), Some(128))
    );
}

#[test]
fn what_cannot_be_written_is_refused_before_work() {
    let scene = Scene::new();
    let image = std::fs::read(emoji().join("pictures/lion.png")).expect("an image");
    scene.write("lion.png", image).write("there.safetensors", "");
    scene.write("texts.jsonl", "a lion\n");
    for (name, more) in [
        ("exists", &["lion.png", "--out", "there.safetensors"][..]),
        ("over-input", &["--texts-file", "texts.jsonl", "--out", "texts.jsonl", "--force"]),
        ("unknown-kind", &["lion.png", "--out", "features.csv"]),
    ] {
        check_refused(&scene, &format!("embed-{name}"), &[&EMBED[..], more].concat());
    }
    scene.run(&EMBED).ended(2);
    // Missing parent folders are created.
    scene.run(&[&EMBED[..], &["lion.png", "--out", "a/b/out.safetensors"]].concat()).ended(0);
    assert!(scene.path("a/b/out.safetensors").is_file());
}

#[test]
fn every_line_of_a_file_is_a_text() {
    let scene = Scene::new();
    scene.write("texts.txt", "\u{feff}a lion\r\n\r\n  a lion \n\n");
    let rows = |arguments: &[&str]| {
        scene.run(&[&EMBED[..], arguments, &["--out", "out.safetensors", "--force"]].concat()).ended(0);
        tensors(std::fs::read(scene.path("out.safetensors")).expect("the features"))
    };
    let (found, file) = rows(&["--texts-file", "texts.txt"]);
    assert_eq!(found[0].0.shape, [4, 128]);
    let texts = file.metadata().iter().find(|(key, _)| key == "texts").expect("the texts");
    assert_eq!(texts.1, r#"["a lion","","  a lion ",""]"#);
    let (expected, _) = rows(&["--text", "a lion", "--text", "", "--text", "  a lion ", "--text", ""]);
    assert_eq!(found[0].1, expected[0].1);
    assert_ne!(found[0].1[..128], found[0].1[128..256]);
}

#[test]
fn preprocessing_that_is_said_is_followed() {
    let scene = Scene::new();
    let said = ["--image-mean", "0", "0.5", "1", "--interpolation", "bilinear"];
    let source = ["EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];
    let rows = |model: &[&str], options: &[&str]| {
        let image = ["EMOJI/pictures/lion.png"];
        scene.run(&[&["embed"], model, &image, options].concat()).ended(0).json()
    };
    let export = ["--out", "out", "--no-verify", "--quiet"];
    scene.run(&[&["export"], &source[..], &said, &export].concat()).ended(0);
    let found = rows(&source, &said);
    assert_eq!(found[0]["features"], rows(&["out"], &[])[0]["features"]);
    assert_ne!(found[0]["features"], rows(&source, &[])[0]["features"]);
    let outcome = scene.run(&["embed", "EXPORTED", "x.png", "--image-std", "0", "1", "1"]).ended(2);
    assert!(
        outcome.stderr.contains("`--image-std`: expected positive numbers, found 0"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_end_of_the_name_is_the_format() {
    let scene = Scene::new();
    scene.write("broken.png", "not an image");
    let images = ["EMOJI/pictures/door.png", "EMOJI/pictures/lion.png"];
    let embed = |more: &[&str], code: i32| scene.run(&[&EMBED[..], more].concat()).ended(code);
    embed(&[&images[..], &["--out", "out.safetensors"]].concat(), 0);
    let (expected, _) = tensors(std::fs::read(scene.path("out.safetensors")).expect("the features"));
    let expected = &expected[0].1;
    embed(&[&images[..], &["--out", "out.npy"]].concat(), 0);
    let bytes = std::fs::read(scene.path("out.npy")).expect("the features");
    let (header, values) = bytes.split_at(128);
    assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 128), }";
    assert_eq!(String::from_utf8_lossy(&header[10..]).trim_end_matches([' ', '\n']), text);
    assert!(header.ends_with(b"\n"));
    let values: Vec<f32> =
        values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_eq!(&values, expected);
    // Lines keep the place of an image that cannot be read, and say why.
    let lines = [images[0], "broken.png", images[1], "--text", "a lion", "--out", "out.jsonl"];
    embed(&lines, 1);
    let lines = std::fs::read_to_string(scene.path("out.jsonl")).expect("the features");
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows[1]["error"].as_str().is_some_and(|why| why.contains("broken.png")), "{}", rows[1]);
    assert_eq!(rows[1].get("features"), None);
    let lion: Vec<f32> = serde_json::from_value(rows[2]["features"].clone()).expect("numbers");
    assert_eq!(lion, expected[128..]);
    assert_eq!(rows[3]["text"], "a lion");
    // Rows of an array have no names, so it takes one kind of input, all of them readable.
    embed(&[images[0], "--text", "a lion", "--out", "both.npy"], 2);
    embed(&[images[0], "broken.png", "--out", "part.npy"], 1);
    embed(&[images[0], "--out", "features.csv"], 2);
    embed(&[images[0], "--out", "features"], 2);
    for name in ["both.npy", "part.npy", "features.csv", "features"] {
        assert!(!scene.path(name).exists(), "{name}");
    }
}

#[test]
fn folders_and_patterns_stand_for_images() {
    let scene = Scene::new();
    let lion = std::fs::read(emoji().join("pictures/lion.png")).expect("an image");
    for folder in ["photos/b", "photos/.hidden", "empty"] {
        std::fs::create_dir_all(scene.path(folder)).expect("a folder");
    }
    for name in ["photos/b/2.PNG", "photos/1.png", "photos/.3.png", "photos/.hidden/4.png", "photos/a.png"] {
        scene.write(name, &lion);
    }
    scene.write("photos/notes.txt", "no image").write("photos/phone.jxl", "another format");
    let files = |arguments: &[&str]| {
        let found = scene.run(&[&EMBED[..], arguments].concat()).ended(0);
        let rows = found.json();
        let names =
            rows.as_array().expect("rows").iter().map(|row| row["file"].as_str().expect("a file").to_owned());
        (names.collect::<Vec<String>>(), found.stderr)
    };
    let (names, said) = files(&["photos"]);
    assert_eq!(names, ["photos/1.png", "photos/a.png", "photos/b/2.PNG"]);
    assert!(said.contains("1 image skipped") && said.contains("photos/phone.jxl"), "{said}");
    assert_eq!(files(&["photos/*.png"]).0, ["photos/1.png", "photos/a.png"]);
    scene.write("[1].png", &lion);
    assert_eq!(files(&["[1].png"]).0, ["[1].png"], "an existing file is no pattern");
    for (name, argument) in
        [("empty-folder", "empty"), ("no-match", "photos/*.gif"), ("bad-pattern", "photos/***")]
    {
        check_refused(&scene, &format!("embed-{name}"), &[&EMBED[..], &[argument]].concat());
    }
}

#[test]
fn parquet_has_a_row_for_every_input() {
    let scene = Scene::new();
    scene.write("texts.txt", "a lion\n\na snail\n").write("bad.png", "no image");
    let options = ["--texts-file", "texts.txt", "--out", "out.parquet"];
    let images = ["EMOJI/pictures/lion.png", "bad.png"];
    // An unreadable image has a row without features.
    scene.run(&[&EMBED[..], &images, &options].concat()).ended(1);
    let bytes = std::fs::read(scene.path("out.parquet")).expect("the table");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    for text in [&b"lion.png"[..], b"bad.png", b"a lion", b"a snail", b"features", b"clipway version"] {
        assert!(has(text), "{}", String::from_utf8_lossy(text));
    }
    let features = scene.run(&[&EMBED[..], &["--text", "a snail"]].concat()).ended(0).json();
    let values = features[0]["features"].as_array().expect("features");
    let values: Vec<u8> = values.iter().flat_map(|v| (v.as_f64().unwrap() as f32).to_le_bytes()).collect();
    assert!(has(&values), "the last row's values are stored as they are");
}

/// An AVIF file and a PNG of its pixels have the same features, by name and in a folder.
#[cfg(feature = "avif")]
#[test]
fn avif_files_are_images() {
    check_same_features("avif", ["photos/1.Avif", "photos/2.png"], ["rgb.avif", "rgb.png"]);
}

/// A HEIC file and a PNG of its pixels have the same features, by name and in a folder.
#[cfg(feature = "heic")]
#[test]
fn heic_files_are_images() {
    check_same_features("heif", ["photos/1.HEIC", "photos/2.png"], ["rgb.heic", "rgb.png"]);
}

/// Checks that two samples have the same features under other names.
#[cfg(feature = "heic")]
fn check_same_features(folder: &str, names: [&str; 2], samples: [&str; 2]) {
    let scene = Scene::new();
    let from =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../clipway-run/tests/data").join(folder);
    std::fs::create_dir_all(scene.path("photos")).expect("a folder");
    for (name, sample) in names.iter().zip(samples) {
        let bytes = std::fs::read(from.join(sample)).expect("a sample");
        std::fs::write(scene.path(name), bytes).expect("a copy");
    }
    let rows = scene.run(&[&EMBED[..], &["photos"]].concat()).ended(0).json();
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| &row["file"]).collect::<Vec<_>>(), names);
    assert_eq!(rows[0]["features"], rows[1]["features"]);
    assert!(rows[0]["features"].is_array(), "{rows:?}");
}
