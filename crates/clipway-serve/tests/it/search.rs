//! `/v1/search` and `/thumb` against an index that a test is: what reaches it, how many at a time, and what they do not hold up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use clipway_serve::Limits;
use clipway_serve::gallery::{
    Gallery, GalleryError, GalleryFeature, GalleryFile, GalleryFilter, GalleryOptions, GalleryTerm, Matches,
};
use serde_json::json;

use crate::client::request;
use crate::scene::{NAME, Scene, data_uri, image, image_vector, post, text_vector};

/// An index that records what it is asked, and answers once the test opens its gate.
#[derive(Default)]
struct Asked {
    requests: Mutex<Vec<(Vec<GalleryTerm>, GalleryOptions)>>,
    open: Mutex<bool>,
    changed: Condvar,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Asked {
    fn wait(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let is_closed = |open: &mut bool| !*open;
        drop(self.changed.wait_while(self.open.lock().expect("a gate"), is_closed).expect("a gate"));
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().expect("a gate") = true;
        self.changed.notify_all();
    }
}

impl Gallery for Asked {
    fn rows(&self) -> u64 {
        3
    }

    fn search(&self, terms: Vec<GalleryTerm>, wanted: &GalleryOptions) -> Result<Matches, GalleryError> {
        self.requests.lock().expect("requests").push((terms, wanted.clone()));
        self.wait();
        Ok(Matches { mean: 0.0, deviation: 1.0, results: Vec::new() })
    }

    fn files(&self, row: u64) -> Result<Vec<GalleryFile>, GalleryError> {
        self.wait();
        match row {
            0 => Ok(Vec::new()),
            1 => panic!("as this test wants it"),
            _ => Err(GalleryError::Index { cause_code: "malformed", reason: "torn".to_owned() }),
        }
    }
}

fn scene() -> (Scene, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let gallery = Arc::clone(&asked);
    (Scene::with(Limits::default(), |options| options.gallery = Some(gallery)), asked)
}

#[test]
fn terms_reach_the_index_in_order_as_features_of_length_1() {
    let (scene, asked) = scene();
    asked.open();
    let body = json!({
        "model": NAME, "text": "lion",
        "plus": ["avocado", { "image": data_uri(&image("lion")), "weight": 2 }, { "like": 7, "weight": 0.5 }],
        "minus": [{ "like": "a/b.jpg" }, { "text": "snail", "weight": 3.5 }],
        "limit": 5, "min_score": -1,
        "filter": { "path": "*/2024/*", "after": "2024", "before": "2025-02", "min_size": 100, "orientation": "portrait" },
    });
    let answer = scene.post("/v1/search", &body).with_status(200);
    assert_eq!(
        answer.text(),
        format!("{{\"model\":\"{NAME}\",\"rows\":3,\"mean\":0.0,\"deviation\":1.0,\"results\":[]}}")
    );
    assert!(answer.header("server-timing").is_some_and(|timing| timing.contains("queue;dur=")));
    let requests = asked.requests.lock().expect("requests");
    let term = |what, weight| GalleryTerm { what, weight };
    let given = |feature| GalleryFeature::Given(feature);
    let terms = vec![
        term(given(text_vector("lion")), 1.0),
        term(given(text_vector("avocado")), 1.0),
        term(given(image_vector("lion")), 2.0),
        term(GalleryFeature::Row(7), 0.5),
        term(GalleryFeature::Path(PathBuf::from("a/b.jpg")), -1.0),
        term(given(text_vector("snail")), -3.5),
    ];
    let filter = GalleryFilter {
        path: vec!["*/2024/*".to_owned()],
        after: Some("2024".to_owned()),
        before: Some("2025-02".to_owned()),
        min_size: Some("100".to_owned()),
        orientation: Some("portrait".to_owned()),
    };
    assert_eq!(requests[0], (terms, GalleryOptions { limit: 5, min_score: Some(-1.0), filter }));
}

#[test]
fn searches_and_thumbnails_are_few_at_a_time_and_hold_up_nothing_else() {
    for path in ["search", "thumb"] {
        let (scene, asked) = scene();
        let ask = || match path {
            "search" => post("/v1/search", &json!({ "like": 0 })),
            _ => request("GET", "/thumb/0", &[], b""),
        };
        let mut waiting: Vec<_> = (0..6).map(|_| scene.connect()).collect();
        waiting.iter_mut().for_each(|connection| connection.send(ask()));
        // A client that is gone gives up its place in the line.
        let mut gone = scene.connect();
        gone.send(ask());
        drop(gone);
        while asked.running.load(Ordering::SeqCst) < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Meanwhile the model answers, and bodies are parsed.
        scene.post("/v1/embeddings", &json!({ "model": NAME, "input": "lion" })).with_status(200);
        scene.get("/readyz").with_status(200);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(asked.running.load(Ordering::SeqCst), 2, "{path}");
        asked.open();
        for mut connection in waiting {
            let status = connection.read().expect("an answer").status;
            assert_eq!(status, if path == "search" { 200 } else { 404 }, "{path}");
        }
        assert_eq!(asked.most.load(Ordering::SeqCst), 2, "{path}");
    }
}

#[test]
fn an_index_that_fails_is_answered_for() {
    let (scene, asked) = scene();
    asked.open();
    let code = |path: &str, status| scene.get(path).with_status(status).json()["error"]["code"].clone();
    assert_eq!(code("/thumb/0", 404), "serve-no-image");
    // A panic keeps no place: more of them than there are places.
    for _ in 0..4 {
        assert_eq!(code("/thumb/1", 500), "internal");
    }
    assert_eq!(code("/thumb/2", 500), "malformed");
}

#[test]
fn without_an_index_there_is_nothing_to_search() {
    let scene = Scene::new();
    let refused = scene.post("/v1/search", &json!({ "text": "lion" })).with_status(404);
    assert_eq!(refused.json()["error"]["code"], "serve-no-index");
    assert_eq!(scene.get("/thumb/0").with_status(404).json()["error"]["code"], "serve-no-index");
    assert_eq!(scene.get("/info").json()["index"], json!(null));
}

#[test]
fn an_index_needs_the_key_too() {
    let scene = Scene::with(Limits::default(), |options| {
        options.gallery = Some(Arc::new(Asked::default()));
        options.keys = clipway_serve::Keys::read("0123456789abcdef\n").expect("keys");
    });
    scene.get("/thumb/0").with_status(401);
    scene.post("/v1/search", &json!({ "like": 0 })).with_status(401);
    scene.get("/thumb/x").with_status(401);
}
