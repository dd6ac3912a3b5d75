//! `/v1/classify` gives the library's own probabilities.

use serde_json::json;

use crate::scene::{Scene, clip, data_uri, image};

#[test]
fn probabilities_are_the_librarys() {
    let scene = Scene::new();
    let labels = ["lion", "avocado", "snail"];
    let body = json!({
        "image": data_uri(&image("avocado")), "labels": labels, "templates": ["an emoji of {}", "a photo of a {}"],
    });
    let answer = scene.post("/v1/classify", &body).with_status(200).json();
    let classifier =
        clip().classifier(&labels, &["an emoji of {}", "a photo of a {}"]).expect("a classifier");
    let scores = classifier.scores(&clip().embed_image(&image("avocado")).expect("a vector"));
    let found = answer["results"][0]["labels"].as_array().expect("labels");
    assert_eq!(found.len(), 3);
    for (found, score) in found.iter().zip(scores) {
        assert_eq!(found["label"], labels[score.label]);
        assert_eq!(found["probability"].as_f64().expect("a number") as f32, score.probability);
        assert_eq!(found["cosine"].as_f64().expect("a number") as f32, score.cosine);
    }
    assert_eq!(answer["probability_rule"], "softmax");
    assert_eq!(found[0]["label"], "avocado");
}

#[test]
fn images_labels_and_templates_are_checked() {
    let scene = Scene::new();
    let lion = data_uri(&image("lion"));
    let code = |body| scene.post("/v1/classify", &body).with_status(400).json()["error"]["code"].clone();
    assert_eq!(code(json!({ "labels": ["a"] })), "missing");
    assert_eq!(code(json!({ "image": lion, "labels": [] })), "missing");
    assert_eq!(code(json!({ "image": lion, "labels": ["a"], "template": "no place" })), "bad-value");
    let many: Vec<String> = (0..300).map(|label| label.to_string()).collect();
    scene.post("/v1/classify", &json!({ "image": lion, "labels": many })).with_status(413);
    // What it would grow to is known before it is made.
    let (template, label) = ("{}".repeat(30_000), "a".repeat(60_000));
    scene
        .post("/v1/classify", &json!({ "image": lion, "labels": [label], "template": template }))
        .with_status(413);
}
