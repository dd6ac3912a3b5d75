//! Images by address: every shape that takes them, and what they may cost. The rules for addresses are tested in
//! `clipway-fetch`, with the same network that lies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clipway_fetch::{FetchLimits, Fetcher, Hosts};
use clipway_serve::Limits;
use serde_json::{Value, json};

use crate::lies::{Lies, Origin, SECRET};
use crate::scene::{NAME, Scene, data_uri, image, image_vector, post, text_vector, vector, wait_for};

/// A server that fetches from `plain.example`, the network, and the server of images.
struct Remote {
    scene: Scene,
    network: Arc<Lies>,
    origin: Origin,
}

impl Remote {
    fn new() -> Remote {
        Remote::limited(|_, _| {})
    }

    fn limited(change: impl FnOnce(&mut Limits, &mut FetchLimits)) -> Remote {
        let (mut limits, mut fetches) = (Limits::default(), FetchLimits::default());
        change(&mut limits, &mut fetches);
        let (network, origin) =
            (Arc::new(Lies::default()), Origin::start(image("lion"), |stream| Box::new(stream)));
        network.lead(80, origin.address);
        let hosts = Hosts::parse(&["http://plain.example", "http://*.private.example"]).expect("hosts");
        let fetcher = Fetcher::new(hosts, fetches, Vec::new(), Arc::clone(&network) as _).expect("a fetcher");
        let scene = Scene::with(limits, |options| options.fetcher = Some(fetcher));
        Remote { scene, network, origin }
    }

    fn fetches(&self, result: &str) -> f64 {
        self.scene.metric(&format!("clipway_fetches_total{{result=\"{result}\"}}"))
    }
}

const LION: &str = "http://plain.example/image";

#[test]
fn every_shape_that_takes_images_takes_their_addresses() {
    let remote = Remote::new();
    let lion = image_vector("lion");
    for body in [
        json!({ "model": NAME, "modality": "image", "input": LION }),
        json!({ "model": NAME, "modality": "image", "input": [LION] }),
        json!({ "model": NAME, "input": [{ "image": LION }] }),
        json!({ "model": NAME, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": LION } },
        ] }] }),
    ] {
        let answer = remote.scene.post("/v1/embeddings", &body).with_status(200);
        assert!(answer.header("server-timing").is_some_and(|value| value.starts_with("fetch;dur=")));
        assert_eq!(vector(&answer.json()["data"][0]["embedding"]), lion, "{body}");
    }
    for body in [
        json!({ "model": NAME, "images": [LION], "input_type": "image" }),
        json!({ "model": NAME, "inputs": [{ "content": [{ "type": "image_url", "image_url": { "url": LION } }] }] }),
    ] {
        let answer = remote.scene.post("/v2/embed", &body).with_status(200).json();
        assert_eq!(vector(&answer["embeddings"]["float"][0]), lion, "{body}");
    }
    let classify = |image: &str| {
        let body = json!({ "image": image, "labels": ["lion", "avocado"] });
        remote.scene.post("/v1/classify", &body).with_status(200).json()
    };
    assert_eq!(classify(LION), classify(&data_uri(&image("lion"))));
    // Beside texts and images that are there, in their order.
    let mixed = json!({ "model": NAME, "input": [{ "image": data_uri(&image("tiger")) }, "lion", { "image": LION }] });
    let mixed = remote.scene.post("/v1/embeddings", &mixed).with_status(200).json();
    assert_eq!(vector(&mixed["data"][0]["embedding"]), image_vector("tiger"));
    assert_eq!(vector(&mixed["data"][1]["embedding"]), text_vector("lion"));
    assert_eq!(vector(&mixed["data"][2]["embedding"]), lion);
    assert_eq!(remote.fetches("fetched"), 8.0);
    assert_eq!(remote.scene.metric("clipway_fetch_seconds_count"), 8.0);
    assert_eq!(remote.scene.get("/info").json()["fetches_images"], true);
    // A request's own credentials stay here.
    let keyed = [("Authorization", "Bearer secret-key-0123456789"), ("Cookie", "a=b")];
    let body = json!({ "model": NAME, "modality": "image", "input": LION }).to_string();
    remote
        .scene
        .raw(crate::client::request("POST", "/v1/embeddings", &keyed, body.as_bytes()))
        .with_status(200);
    let seen = remote.origin.seen.lock().expect("heads").join("\n").to_ascii_lowercase();
    assert!(!seen.contains("secret-key") && !seen.contains("cookie"), "{seen}");
}

/// The status, code and message of a refused request for embeddings.
fn refused(remote: &Remote, address: &str) -> (u16, String, String) {
    let body = json!({ "model": NAME, "modality": "image", "input": address });
    let answer = remote.scene.post("/v1/embeddings", &body);
    let (status, json) = (answer.status, answer.json());
    let text = |key: &str| json["error"][key].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("message"))
}

#[test]
fn what_is_not_allowed_or_no_image_is_refused_and_tells_nothing() {
    let remote = Remote::new();
    remote.network.say("x.private.example", &[&["169.254.169.254"]]);
    *remote.origin.locations.lock().expect("locations") =
        vec!["http://169.254.169.254/latest/meta-data/".to_owned()];
    for (address, code) in [
        ("http://127.0.0.1/image", "serve-remote-image"),
        ("http://2130706433/image", "serve-remote-image"),
        ("http://[::ffff:127.0.0.1]/image", "serve-remote-image"),
        ("http://plain.example@127.0.0.1/image", "serve-remote-image"),
        ("http://plain.example\\@127.0.0.1/image", "serve-remote-image"),
        ("http://evil.example/image", "serve-remote-image"),
        ("https://plain.example/image", "serve-remote-image"),
        ("http://plain.example:6379/image", "serve-remote-image"),
        ("file:///etc/passwd", "serve-remote-image"),
        ("gopher://plain.example/", "serve-remote-image"),
        ("http://x.private.example/image", "serve-remote-image"),
        ("http://plain.example/to/0", "serve-remote-image"),
        ("http://plain.example/status", "serve-fetch"),
        ("http://plain.example/html", "serve-fetch"),
        ("http://plain.example/gzip", "serve-fetch"),
        ("http://plain.example/cut", "serve-fetch"),
        ("http://plain.example/announced", "too-large"),
        ("http://plain.example/chunks", "too-large"),
    ] {
        let (status, found, message) = refused(&remote, address);
        assert_eq!((status, found.as_str()), (400, code), "{address}: {message}");
        assert!(!message.contains(SECRET) && !message.contains("169.254"), "{message}");
    }
    // What says that it is an image and is none.
    let (status, code, message) = refused(&remote, "http://plain.example/text");
    assert_eq!(status, 400);
    assert!(!message.contains(SECRET) && !code.is_empty(), "{code}: {message}");
    let dialed = remote.network.connected.lock().expect("addresses").clone();
    assert!(dialed.iter().all(|address| address.port() == 80 && !address.ip().is_loopback()), "{dialed:?}");
    assert_eq!((remote.fetches("serve-remote-image"), remote.fetches("too-large")), (2.0, 2.0));
}

#[test]
fn a_bad_address_spoils_its_own_item_only() {
    let remote = Remote::new();
    let input = [LION, "http://plain.example/status", LION];
    let mut body = json!({ "model": NAME, "modality": "image", "input": input });
    let whole = remote.scene.post("/v1/embeddings", &body).with_status(400).json();
    assert_eq!(
        (&whole["errors"][0]["index"], &whole["errors"][0]["code"]),
        (&json!(1), &json!("serve-fetch"))
    );
    body["partial"] = json!(true);
    let partial = remote.scene.post("/v1/embeddings", &body).with_status(200).json();
    let indices: Vec<&Value> =
        partial["data"].as_array().expect("a list").iter().map(|one| &one["index"]).collect();
    assert_eq!(indices, [0, 2]);
    assert_eq!(vector(&partial["data"][1]["embedding"]), image_vector("lion"));
}

#[test]
fn what_is_fetched_is_counted_and_freed() {
    let remote = Remote::limited(|limits, fetches| {
        limits.queue_items = 4;
        limits.queue_bytes = 400_000;
        limits.image_bytes = 300_000;
        fetches.bytes = 300_000;
        fetches.time = Duration::from_secs(2);
    });
    let queued = || remote.scene.metric("clipway_queue_items{kind=\"image\"}");
    // Four that never arrive hold four places, and a fifth finds none.
    let silent = |count: usize| {
        let input = vec!["http://plain.example/silent"; count];
        post("/v1/embeddings", &json!({ "model": NAME, "modality": "image", "input": input }))
    };
    let mut waiting = remote.scene.connect();
    waiting.send(silent(4));
    wait_for(|| queued() == 4.0);
    let full = remote.scene.raw(silent(1)).with_status(503);
    assert_eq!(full.json()["error"]["code"], "serve-full");
    let answer = waiting.read().expect("an answer").with_status(400).json();
    assert_eq!(answer["error"]["code"], "serve-fetch");
    assert_eq!(queued(), 0.0);
    // Bytes that arrive take room: what one image may have, two may not.
    let endless = ["http://plain.example/chunks", "http://plain.example/chunks"];
    let body = json!({ "model": NAME, "modality": "image", "input": endless });
    let answer = remote.scene.post("/v1/embeddings", &body).json();
    let codes: Vec<&str> = answer["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["code"].as_str())
        .collect();
    assert!(codes.iter().all(|code| ["too-large", "serve-full"].contains(code)), "{codes:?}");
    // All of it is free again.
    remote
        .scene
        .post("/v1/embeddings", &json!({ "model": NAME, "modality": "image", "input": LION }))
        .with_status(200);
    assert_eq!(queued(), 0.0);
}

#[test]
fn a_client_that_goes_away_ends_its_fetches() {
    let remote = Remote::new();
    let input = vec!["http://plain.example/drip"; 20];
    let mut connection = remote.scene.connect();
    connection.send(post("/v1/embeddings", &json!({ "model": NAME, "modality": "image", "input": input })));
    // One request takes half of what may be fetched at a time.
    wait_for(|| remote.origin.seen.lock().expect("heads").len() == 8);
    drop(connection);
    let started = Instant::now();
    wait_for(|| remote.fetches("cancelled") == 8.0);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    wait_for(|| remote.scene.metric("clipway_queue_items{kind=\"image\"}") == 0.0);
    assert_eq!(remote.origin.seen.lock().expect("heads").len(), 8);
    remote
        .scene
        .post("/v1/embeddings", &json!({ "model": NAME, "modality": "image", "input": LION }))
        .with_status(200);
}
