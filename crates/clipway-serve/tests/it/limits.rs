//! Each limit, one step beyond it.

use serde_json::{Value, json};

use crate::client::request;
use crate::scene::{NAME, Scene, data_uri, image, post};

/// The status and code of a refused request for embeddings.
fn refused(scene: &Scene, body: &Value) -> (u16, String) {
    let answer = scene.post("/v1/embeddings", body);
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn bodies_inputs_texts_and_images() {
    let scene = Scene::limited(|limits| {
        limits.body_bytes = 40_000;
        limits.inputs = 3;
        limits.text_bytes = 100;
        limits.image_bytes = image("lion").len() - 1;
        limits.max_pixels = 128 * 128 - 1;
        limits.json_depth = 6;
    });
    let too_large = |status| (status, "too-large".to_owned());
    let ask = |body: Value| refused(&scene, &body);
    assert_eq!(ask(json!({ "model": NAME, "input": ["a", "b", "c"] })), (200, String::new()));
    assert_eq!(ask(json!({ "model": NAME, "input": ["a", "b", "c", "d"] })), too_large(413));
    assert_eq!(ask(json!({ "model": NAME, "input": "a".repeat(100) })), (200, String::new()));
    assert_eq!(ask(json!({ "model": NAME, "input": "a".repeat(101) })), too_large(413));
    let lion = data_uri(&image("lion"));
    assert_eq!(ask(json!({ "model": NAME, "modality": "image", "input": lion })), too_large(413));
    assert_eq!(ask(json!({ "model": NAME, "input": [[[[[["deep"]]]]]] })), too_large(400));
    assert_eq!(ask(json!({ "model": NAME, "input": "a".repeat(40_000) })), too_large(413));
    // A length that is announced, without its body.
    let mut announced = scene.connect();
    announced.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40001\r\n\r\n");
    announced.read().expect("an answer").with_status(413);
    let mut chunked = scene.connect();
    chunked.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..9 {
        chunked.send(format!("1388\r\n{}\r\n", "a".repeat(5000)));
    }
    chunked.read().expect("an answer").with_status(413);
}

#[test]
fn images_that_claim_to_be_huge() {
    let scene = Scene::new();
    // A PNG of 50,000 x 50,000 pixels, as its header says; the checksum is right.
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    header.extend_from_slice(&50_000_u32.to_be_bytes());
    header.extend_from_slice(&50_000_u32.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let checksum = crc32fast::hash(&header[12..]);
    header.extend_from_slice(&checksum.to_be_bytes());
    let body = json!({ "model": NAME, "modality": "image", "input": data_uri(&header) });
    assert_eq!(refused(&scene, &body), (400, "too-large".to_owned()));
    // An image of one pixel is an image.
    let pixel = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\0";
    let body = json!({ "model": NAME, "modality": "image", "input": data_uri(pixel) });
    assert_eq!(refused(&scene, &body), (200, String::new()));
    scene.get("/readyz").with_status(200);
}

#[test]
fn heads_and_connections() {
    let scene = Scene::limited(|limits| {
        limits.head_bytes = 500;
        limits.connections_per_address = 3;
    });
    let long = "x".repeat(500);
    let answer = scene.raw(request("GET", "/livez", &[("X-Long", &long)], b"")).with_status(431);
    assert_eq!(answer.json()["error"]["code"], "too-large");
    while scene.metrics.open_connections() > 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut connection = scene.connect();
            connection.send(request("GET", "/livez", &[], b""));
            connection.read().expect("an answer").with_status(200);
            connection
        })
        .collect();
    let fourth = scene.connect().read().expect("an answer").with_status(503);
    assert_eq!(fourth.header("retry-after"), Some("1"));
    drop(held);
    // The places are free again.
    let free = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut connection = scene.connect();
        connection.send(post("/embed", &json!({ "inputs": "lion" })));
        connection.read().is_some_and(|answer| answer.status == 200)
    });
    assert!(free);
}
