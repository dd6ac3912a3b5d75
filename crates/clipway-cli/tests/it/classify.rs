//! `clipway classify`.

use serde_json::Value;

use crate::scene::{Scene, emoji};
use crate::snapshot::{check, check_refused};

/// Maximum difference of a probability from open_clip's.
const TOLERANCE: f64 = 1e-3;

#[test]
fn probabilities_are_those_of_open_clip() {
    let expected = std::fs::read(emoji().join("expected.json")).expect("what open_clip computed");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let stored = expected["pictures"].as_array().expect("pictures");
    let mut arguments: Vec<String> =
        ["classify", "EXPORTED", "--json", "--top", "1"].map(str::to_owned).to_vec();
    arguments.extend(["--labels-file".to_owned(), "EMOJI/labels.txt".to_owned()]);
    for template in expected["templates"].as_array().expect("templates") {
        arguments.extend(["--template".to_owned(), template.as_str().expect("a template").to_owned()]);
    }
    for image in stored {
        arguments.push(format!("EMOJI/pictures/{}", image["file"].as_str().expect("a file")));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = Scene::new().run(&arguments).ended(0).json();
    let images = found["images"].as_array().expect("images");
    assert_eq!((images.len(), &found["labels"]), (12, &200.into()));
    for (expected, image) in stored.iter().zip(images) {
        assert_eq!(image["labels"].as_array().map(Vec::len), Some(1));
        let best = &image["labels"][0];
        assert_eq!(best["label"], expected["top1"]);
        let [found, likely] = [&best["probability"], &expected["top1_probability"]].map(|p| p.as_f64());
        let difference = (found.expect("a number") - likely.expect("a number")).abs();
        assert!(difference <= TOLERANCE, "{expected}: {difference}");
    }
}

#[test]
fn labels_are_listed_by_probability() {
    let scene = Scene::new();
    let lion = ["classify", "EXPORTED", "EMOJI/pictures/lion.png", "EMOJI/pictures/door.png"];
    check(&scene, "classify", &[&lion[..], &["--labels", "tiger, lion,door", "--top", "2"]].concat());
    let labels = ["--labels", "lion,tiger", "--template", "an emoji of {}", "--json"];
    let found = scene.run(&[&lion[..], &labels].concat()).ended(0).json();
    assert_eq!(found["templates"], serde_json::json!(["an emoji of {}"]));
    let of_lion = found["images"][0]["labels"].as_array().expect("labels");
    let sum: f64 = of_lion.iter().filter_map(|label| label["probability"].as_f64()).sum();
    assert!(of_lion.len() == 2 && (sum - 1.0).abs() < 1e-6, "{of_lion:?}");
    // The checkpoint itself works too.
    let source = ["classify", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];
    let source = [&source[..], &["EMOJI/pictures/lion.png", "--labels", "lion,tiger", "--top", "1"]].concat();
    assert!(scene.run(&source).ended(0).stdout.ends_with(" %  lion\n"));
}

#[test]
fn unreadable_images_are_reported_and_the_others_go_on() {
    let scene = Scene::new();
    let image = std::fs::read(emoji().join("pictures/lion.png")).expect("an image");
    scene
        .write("note.png", "not an image")
        .write("cut.png", &image[..image.len() / 2])
        .write("empty.png", "");
    let images = ["note.png", "EMOJI/pictures/lion.png", "cut.png", "nowhere.png", "empty.png"];
    let arguments = [&["classify", "EXPORTED", "--labels", "lion,tiger", "--top", "1"][..], &images].concat();
    check(&scene, "classify-unreadable", &arguments);
    let found = scene.run(&[&arguments[..], &["--json"]].concat()).ended(1).json();
    let read = |image: &Value| image.get("error").is_none();
    let read: Vec<bool> = found["images"].as_array().into_iter().flatten().map(read).collect();
    assert_eq!(read, [false, true, false, false, false]);
}

#[test]
fn unusable_labels_are_refused() {
    let scene = Scene::new();
    scene.write("latin1.txt", b"caf\xe9\n").write("blank.txt", "\n \n");
    let lion = ["classify", "EXPORTED", "EMOJI/pictures/lion.png"];
    for (name, options) in [
        ("classify-labels-not-utf8", &["--labels-file", "latin1.txt"][..]),
        ("classify-labels-blank", &["--labels-file", "blank.txt"]),
        ("classify-labels-nowhere", &["--labels-file", "nowhere.txt"]),
        ("classify-no-labels", &["--labels", " , "]),
        ("classify-template", &["--labels", "lion", "--template", "a lion"]),
    ] {
        check_refused(&scene, name, &[&lion[..], options].concat());
    }
    // Refused by the argument parser.
    for options in
        [&[][..], &["--labels", "a", "--labels-file", "blank.txt"], &["--labels", "a", "--top", "0"]]
    {
        let outcome = scene.run(&[&lion[..], options].concat()).ended(2);
        assert!(outcome.stderr.starts_with("error: ") && outcome.stdout.is_empty(), "{outcome:?}");
    }
}

#[test]
fn labels_and_prompts_are_checked() {
    let scene = Scene::new();
    let classify = ["classify", "EXPORTED", "EMOJI/pictures/lion.png"];
    let run = |more: &[&str]| scene.run(&[&classify[..], more].concat()).ended(0);
    assert!(run(&["--labels", "lion,door,lion"]).stderr.contains("`lion` is given more than once"));
    assert!(run(&["--labels", "lion"]).stderr.contains("only one label"));
    for (prompts, count, first) in
        [("imagenet", 80, "a bad photo of a {}."), ("imagenet-short", 7, "itap of a {}.")]
    {
        let found = run(&["--labels", "lion,door", "--prompts", prompts, "--json"]).json();
        let templates = found["templates"].as_array().expect("templates");
        assert_eq!((templates.len(), &templates[0]), (count, &first.into()));
        assert_eq!(found["images"][0]["labels"][0]["label"], "lion");
    }
}

#[test]
fn a_head_gives_the_same_scores_without_the_text_tower() {
    let scene = Scene::new();
    let words = ["--labels", "lion,avocado,snail", "--prompts", "imagenet-short"];
    let images = ["EMOJI/pictures/lion.png", "EMOJI/pictures/avocado.png"];
    let expected = scene.run(&[&["classify", "EXPORTED", "--json"], &images[..], &words].concat()).ended(0);
    scene.run(&[&["classify", "EXPORTED", "--save-head", "head.safetensors"], &words[..]].concat()).ended(0);
    let export = ["export", "EXPORTED", "--tower", "image", "--out", "image", "--no-verify", "--quiet"];
    scene.run(&export).ended(0);
    let with = |model: &str, options: &[&str]| {
        let head = ["--head", "head.safetensors", "--json"];
        scene.run(&[&["classify", model], &images[..], &head, options].concat())
    };
    for model in ["EXPORTED", "image"] {
        assert_eq!(with(model, &[]).ended(0).json(), expected.json(), "{model}");
    }
    // An existing file stays, and so does the command line's logic.
    scene.run(&[&["classify", "EXPORTED", "--save-head", "head.safetensors"], &words[..]].concat()).ended(2);
    with("EXPORTED", &["--labels", "lion"]).ended(2);
}

#[test]
fn heads_of_other_models_and_broken_ones_are_refused() {
    let scene = Scene::new();
    let save = ["classify", "EXPORTED", "--labels", "lion,snail", "--save-head", "head.safetensors"];
    scene.run(&save).ended(0);
    // Another preprocessing gives other features of the built-in images.
    let other = ["--image-mean", "0.1", "0.9", "0.1", "--image-std", "0.1", "0.9", "0.5"];
    let arguments = ["classify", "EXPORTED", "EMOJI/pictures/lion.png", "--head", "head.safetensors"];
    let refused = scene.run(&[&arguments[..], &other].concat()).ended(1);
    assert!(refused.stderr.contains("the head of another model") && refused.stderr.contains("[mismatch]"));
    let head = std::fs::read(scene.path("head.safetensors")).expect("the head");
    scene.write("head.safetensors", &head[..head.len() - 3]);
    let refused = scene.run(&arguments).ended(1);
    assert!(refused.stderr.contains("[truncated]"), "{}", refused.stderr);
    let weights = "EXPORTED/open_clip_model.safetensors";
    let refused = scene.run(&["classify", "EXPORTED", "EMOJI/pictures/lion.png", "--head", weights]).ended(1);
    assert!(refused.stderr.contains("no `labels` in the metadata"), "{}", refused.stderr);
}
