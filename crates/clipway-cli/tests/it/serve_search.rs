//! `clipway serve --index`: searches as by the command, and thumbnails.

use std::io::Read;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clipway_run::image::{DecodeLimits, decode};
use serde_json::{Value, json};

use crate::scene::{Scene, emoji};
use crate::serve::Server;

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.json()["error"]["code"].as_str()), (status, Some(code)), "{text}");
    }
}

/// An index of the demo's images, and a server with it.
struct Served {
    scene: Scene,
    server: Server,
}

impl Served {
    fn new() -> Served {
        let scene = Scene::indexed();
        let server = Server::spawn(scene.command(&["serve", "EXPORTED", "--index", "all.index"]));
        Served { scene, server }
    }

    fn ask(&self, request: &[u8]) -> Answer {
        let mut bytes = Vec::new();
        self.server.send(request).read_to_end(&mut bytes).expect("an answer");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of ASCII");
        let status = head[9..12].parse().expect("a status");
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn get(&self, path: &str, header: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
        self.ask(head.as_bytes())
    }

    fn search(&self, body: &Value) -> Answer {
        let (body, start) =
            (body.to_string(), "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        self.ask(format!("{start}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// The results of a search.
    fn results(&self, body: &Value) -> Value {
        let answer = self.search(body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// The row of an image.
    fn row(&self, name: &str) -> u64 {
        let like = self.image(name).to_string_lossy().into_owned();
        self.results(&json!({ "like": like }))["results"][0]["row"].as_u64().expect("a row")
    }

    /// The path of an image in the index.
    fn image(&self, name: &str) -> PathBuf {
        self.scene.path("images").canonicalize().expect("the folder").join(name)
    }
}

#[test]
fn the_server_finds_what_the_command_finds() {
    let served = Served::new();
    let lion = std::fs::read(emoji().join("pictures/lion.png")).expect("an image");
    let data = format!("data:image/png;base64,{}", STANDARD.encode(&lion));
    let like = served.image("avocado.png").to_string_lossy().into_owned();
    let cases: [(&[&str], Value); 7] = [
        (&["an emoji of a lion"], json!({ "text": "an emoji of a lion" })),
        (&["EMOJI/pictures/lion.png", "-k", "3"], json!({ "image": data, "limit": 3 })),
        (&["--like", &like], json!({ "like": like })),
        (&["--like", "4"], json!({ "like": 4, "model": "demo" })),
        (
            &["an emoji of a lion", "--plus", "2:avocado", "--minus", "0.5:images/lion.png"],
            json!({
                "text": "an emoji of a lion",
                "plus": [{ "text": "avocado", "weight": 2 }], "minus": { "image": data, "weight": 0.5 },
            }),
        ),
        (
            &["--plus", "tiger", "--minus", "avocado", "--min-score", "0.5"],
            json!({ "plus": "tiger", "minus": "avocado", "min_score": 0.5 }),
        ),
        (
            &[
                "lion",
                "--path",
                "*/a*",
                "--path",
                "*l*",
                "--orientation",
                "square",
                "--min-size",
                "10x10",
                "--after",
                "2000",
            ],
            json!({ "text": "lion", "filter": {
                "path": ["*/a*", "*l*"], "orientation": "square", "min_size": "10x10", "after": "2000",
            }}),
        ),
    ];
    for (arguments, body) in cases {
        let search = [&["search", "--index", "all.index", "--json"], arguments].concat();
        let command = &served.scene.run(&search).ended(0).json()["queries"][0];
        let server = served.results(&body);
        assert!(!command["results"].as_array().expect("results").is_empty(), "{arguments:?}");
        for key in ["results", "mean", "deviation"] {
            assert_eq!(server[key], command[key], "{arguments:?}: {key}");
        }
        assert_eq!((&server["model"], &server["rows"]), (&json!("demo"), &json!(12)));
    }
    assert_eq!(
        served.results(&json!({ "image": data }))["results"][0]["path"],
        json!(served.image("lion.png"))
    );
    for filter in
        [json!({ "orientation": "portrait" }), json!({ "before": "1980" }), json!({ "min_size": 1_000_000 })]
    {
        assert_eq!(served.results(&json!({ "text": "lion", "filter": filter }))["results"], json!([]));
    }
    let info = served.get("/info", "");
    assert_eq!(info.json()["index"], json!({ "rows": 12 }));
}

#[test]
fn requests_that_mean_nothing_are_refused() {
    let served = Served::new();
    for (body, status, code) in [
        (json!({}), 400, "missing"),
        (json!({ "txt": "lion" }), 400, "unknown-key"),
        (json!({ "text": "lion", "like": 1 }), 400, "bad-value"),
        (json!({ "text": "lion", "plus": [{}] }), 400, "missing"),
        (json!({ "text": "lion", "plus": [{ "text": "a", "wait": 1 }] }), 400, "unknown-key"),
        (json!({ "text": "lion", "plus": [{ "text": "a", "weight": 1e300 }] }), 400, "bad-value"),
        (json!({ "text": "lion", "minus": ["lion"] }), 400, "bad-value"),
        (json!({ "text": "lion", "limit": 0 }), 400, "bad-value"),
        (json!({ "text": "lion", "limit": 1001 }), 400, "bad-value"),
        (json!({ "text": "lion", "filter": { "folder": "x" } }), 400, "unknown-key"),
        (json!({ "text": "lion", "filter": { "path": "[" } }), 400, "bad-value"),
        (json!({ "text": "lion", "filter": { "after": "soon" } }), 400, "bad-value"),
        (json!({ "text": "lion", "filter": { "min_size": "big" } }), 400, "bad-value"),
        (json!({ "text": "lion", "filter": { "orientation": "round" } }), 400, "bad-value"),
        (json!({ "text": "lion", "model": "other" }), 404, "unknown-model"),
        (json!({ "text": "a".repeat(70_000) }), 413, "too-large"),
        (json!({ "plus": vec!["a"; 257] }), 413, "too-large"),
        (json!({ "image": "http://localhost/lion.png" }), 400, "serve-remote-image"),
        (json!({ "image": "AAAA" }), 400, "unknown-format"),
        (json!({ "like": 12 }), 404, "missing"),
        (json!({ "like": -1 }), 400, "bad-value"),
        // A file that exists and is not in the index is not opened.
        (json!({ "like": emoji().join("pictures/lion.png") }), 404, "missing"),
    ] {
        served.search(&body).refused(status, code);
    }
    let message = served.search(&json!({ "text": "a", "filter": { "after": "soon" } })).json();
    assert!(
        message["error"]["message"]
            .as_str()
            .expect("a message")
            .starts_with("`$.filter.after`: expected a date")
    );
}

#[test]
fn thumbnails_are_of_rows_alone() {
    let served = Served::new();
    let row = served.row("lion.png");
    let thumb = served.get(&format!("/thumb/{row}?w=64"), "");
    assert_eq!((thumb.status, thumb.header("content-type")), (200, Some("image/png")));
    assert_eq!(thumb.header("cache-control"), Some("private, no-cache"));
    let small = decode(&thumb.body, &DecodeLimits::default()).expect("an image");
    assert_eq!((small.width, small.height), (64, 64));
    let tag = thumb.header("etag").expect("a tag");
    let again = served.get(&format!("/thumb/{row}?w=64"), &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
    let larger = served.get(&format!("/thumb/{row}"), &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(larger.status, 200);
    for (path, status, code) in [
        ("/thumb/12", 404, "missing"),
        ("/thumb/18446744073709551615", 404, "missing"),
        ("/thumb/", 400, "bad-value"),
        ("/thumb/-1", 400, "bad-value"),
        ("/thumb/+1", 400, "bad-value"),
        ("/thumb/1.0", 400, "bad-value"),
        ("/thumb/%31", 400, "bad-value"),
        ("/thumb/..", 400, "bad-value"),
        ("/thumb/%2e%2e%2fetc%2fpasswd", 400, "bad-value"),
        ("/thumb/../../etc/passwd", 404, "serve-no-route"),
        ("/thumb//etc/passwd", 404, "serve-no-route"),
        ("/thumb/0?w=63", 400, "bad-value"),
        ("/thumb/0?w=513", 400, "bad-value"),
        ("/thumb/0?w=64&path=x", 400, "bad-value"),
        ("/thumb/0?path=x", 400, "bad-value"),
    ] {
        served.get(path, "").refused(status, code);
    }
}

#[test]
fn a_file_that_changed_is_not_shown() {
    let served = Served::new();
    let (lion, tiger, avocado) = (served.row("lion.png"), served.row("tiger.png"), served.row("avocado.png"));
    // As many bytes, one of which is another.
    let mut bytes = std::fs::read(served.image("lion.png")).expect("an image");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(served.image("lion.png"), bytes).expect("written");
    std::fs::remove_file(served.image("tiger.png")).expect("removed");
    std::fs::remove_file(served.image("avocado.png")).expect("removed");
    std::fs::create_dir(served.image("avocado.png")).expect("a folder");
    for (row, reason) in
        [(lion, "has changed since"), (tiger, "No such file"), (avocado, "not a regular file")]
    {
        let answer = served.get(&format!("/thumb/{row}"), "");
        answer.refused(404, "serve-no-image");
        let message = answer.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(reason) && !message.contains("images"), "{message}");
    }
}

// Other systems refuse such a name.
#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_text_can_be_found() {
    use std::os::unix::ffi::OsStrExt;

    let scene = Scene::new();
    std::fs::create_dir(scene.path("images")).expect("a folder");
    let name = std::ffi::OsStr::from_bytes(b"li\xffon.png");
    std::fs::copy(emoji().join("pictures/lion.png"), scene.path("images").join(name)).expect("a copy");
    scene.run(&["index", "images", "--index", "all.index", "--model", "EXPORTED", "--quiet"]).ended(0);
    let server = Server::spawn(scene.command(&["serve", "EXPORTED", "--index", "all.index"]));
    let served = Served { scene, server };
    let path = served.results(&json!({ "text": "lion" }))["results"][0]["path"].clone();
    assert!(path.as_str().expect("a path").ends_with("/images/li\u{fffd}on.png"), "{path}");
    assert_eq!(served.get("/thumb/0", "").status, 200);
}

#[test]
fn an_index_of_another_model_is_not_served() {
    let scene = Scene::indexed();
    scene.export(&["--image-mean", "0.5", "0.5", "0.5", "--out", "other"]);
    let serve = ["--index", "all.index", "--listen", "127.0.0.1:0"];
    let refused = scene.run(&[&["serve", "other"], &serve[..]].concat()).ended(1);
    assert!(refused.stderr.contains("[other-space]") && !refused.stderr.contains("serving"), "{refused:?}");
    assert!(refused.stderr.contains("hint: serve the model that the index was made with"), "{refused:?}");
    let none = scene.run(&["serve", "EXPORTED", "--index", "images", "--listen", "127.0.0.1:0"]).ended(1);
    assert!(none.stderr.contains("[unknown-format]"), "{none:?}");
}

#[test]
fn graphs_answer_from_an_index_of_the_engine() {
    let scene = Scene::indexed();
    scene.export(&["--to", "onnx", "--out", "graphs"]);
    let server = Server::spawn(scene.command(&["serve", "graphs", "--index", "all.index"]));
    let served = Served { scene, server };
    let path = served.results(&json!({ "text": "lion" }))["results"][0]["path"].clone();
    assert!(path.as_str().expect("a path").ends_with("/images/lion.png"), "{path}");
}
