//! The requests of immich's server.

use serde_json::{Value, json};

use crate::client::{Answer, request};
use crate::scene::{Scene, image, image_vector, text_vector, vector};

/// A multipart body as Node's `FormData` makes it.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        body.extend_from_slice(
            format!("------formdata-0\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        if let Some(file) = file {
            let rest = format!("; filename=\"{file}\"\r\nContent-Type: application/octet-stream");
            body.extend_from_slice(rest.as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"------formdata-0--\r\n");
    body
}

fn predict(scene: &Scene, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
    let kind = [("Content-Type", "multipart/form-data; boundary=----formdata-0")];
    scene.raw(request("POST", "/predict", &kind, &form(parts)))
}

fn entries(task: Value) -> Vec<u8> {
    json!({ "clip": task }).to_string().into_bytes()
}

/// The vector in the string of an answer.
fn in_string(answer: &Answer) -> Vec<f32> {
    let text = answer.json()["clip"].as_str().expect("a string").to_owned();
    assert!(text.starts_with('[') && text.ends_with(']'), "{text}");
    vector(&serde_json::from_str(&text).expect("a list in a string"))
}

#[test]
fn images_and_texts_are_embedded() {
    let scene = Scene::new();
    let visual = entries(json!({ "visual": { "modelName": "Emoji__demo" } }));
    let lion = image("lion");
    let answer =
        predict(&scene, &[("entries", None, &visual), ("image", Some("blob"), &lion)]).with_status(200);
    assert_eq!(in_string(&answer), image_vector("lion"));
    assert_eq!((&answer.json()["imageHeight"], &answer.json()["imageWidth"]), (&json!(128), &json!(128)));
    for options in [json!({ "language": "en" }), json!({ "language": "en-null" }), json!({})] {
        let textual = entries(json!({ "textual": { "modelName": "Emoji__demo", "options": options } }));
        let answer =
            predict(&scene, &[("entries", None, &textual), ("text", None, b"lion")]).with_status(200);
        assert_eq!(in_string(&answer), text_vector("lion"));
    }
    assert_eq!(scene.get("/ping").with_status(200).text(), "pong");
    assert!(scene.get("/").with_status(200).json()["message"].is_string());
}

#[test]
fn other_models_and_tasks_are_refused() {
    let scene = Scene::new();
    let lion = image("lion");
    let refused = |entries: &[u8], status: u16| {
        let answer = predict(&scene, &[("entries", None, entries), ("image", Some("blob"), &lion)])
            .with_status(status);
        let (code, detail) = (answer.json()["code"].clone(), answer.json()["detail"].clone());
        (code.as_str().expect("a code").to_owned(), detail.as_str().expect("a reason").to_owned())
    };
    let (code, detail) = refused(&entries(json!({ "visual": { "modelName": "ViT-B-32__openai" } })), 404);
    assert_eq!(code, "unknown-model");
    assert!(detail.contains("ViT-B-32__openai") && detail.contains("Emoji__demo"), "{detail}");
    let faces = json!({ "facial-recognition": { "detection": { "modelName": "buffalo_l" } } }).to_string();
    let (code, detail) = refused(faces.as_bytes(), 422);
    assert_eq!(code, "serve-task");
    assert!(detail.contains("facial-recognition"), "{detail}");
    assert_eq!(refused(b"{}", 400).0, "missing");
    assert_eq!(refused(b"{", 400).0, "truncated");
    let textual = entries(json!({ "textual": { "modelName": "Emoji__demo" } }));
    assert_eq!(refused(&textual, 400).0, "missing");
}
