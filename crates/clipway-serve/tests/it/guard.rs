//! Who may ask, and how: keys, hosts, heads that readers could disagree about.

use std::time::{Duration, Instant};

use clipway_serve::{Keys, Limits, ServeError, ServeOptions, Server};
use serde_json::json;

use crate::client::request;
use crate::scene::{NAME, Scene, clip, post};

#[test]
fn requests_need_a_key_but_health_does_not() {
    let scene = Scene::keyed("first-key-0123456789\nsecond-key-0123456789\n");
    let body = json!({ "model": NAME, "input": "lion" }).to_string();
    let ask =
        |headers: &[(&str, &str)]| scene.raw(request("POST", "/v1/embeddings", headers, body.as_bytes()));
    for headers in
        [[("Authorization", "Bearer first-key-0123456789")], [("X-Api-Key", "second-key-0123456789")]]
    {
        ask(&headers).with_status(200);
    }
    for headers in [[("Authorization", "Bearer first-key-012345678")], [("Accept", "*/*")]] {
        let refused = ask(&headers).with_status(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.json()["error"]["type"], "authentication_error");
    }
    for path in ["/livez", "/readyz", "/health", "/ping", "/"] {
        scene.get(path).with_status(200);
    }
    // A path that does not exist says no more than one that does.
    for path in ["/metrics", "/info", "/v1/models", "/openapi.json", "/nothing"] {
        scene.get(path).with_status(401);
    }
}

#[test]
fn an_address_that_others_reach_needs_keys() {
    let options = |keys: Keys, without_keys| ServeOptions {
        fetcher: None,
        gallery: None,
        address: "0.0.0.0:0".parse().expect("an address"),
        limits: Limits::default(),
        keys,
        without_keys,
        hosts: Vec::new(),
        model: clipway_serve::ModelInfo::default(),
        log: Box::new(|_| {}),
    };
    let error = Server::start(clip(), options(Keys::default(), false)).err().expect("a refusal");
    assert!(
        matches!(error, ServeError::Unprotected { .. }) && error.code() == "serve-unprotected",
        "{error}"
    );
    assert!(Server::start(clip(), options(Keys::default(), true)).is_ok());
    assert!(
        Server::start(clip(), options(Keys::read("first-key-0123456789").expect("a key"), false)).is_ok()
    );
}

#[test]
fn a_page_elsewhere_cannot_ask() {
    let scene = Scene::new();
    let ask = |headers: &[(&str, &str)]| scene.raw(request("GET", "/info", headers, b""));
    ask(&[("Host", "127.0.0.1:8080")]).with_status(200);
    let rebound = ask(&[("Host", "evil.example:8080")]).with_status(403);
    assert_eq!(rebound.json()["code"], "serve-host");
    ask(&[("Origin", "http://localhost")]).with_status(200);
    ask(&[("Origin", "http://evil.example")]).with_status(403);
    ask(&[("Origin", "null")]).with_status(403);
    assert!(ask(&[]).with_status(200).header("access-control-allow-origin").is_none());
}

#[test]
fn heads_that_readers_could_disagree_about_are_refused() {
    let scene = Scene::new();
    for head in [
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\nHost: localhost\n\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\n b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut connection = scene.connect();
        connection.send(head);
        let answer = connection.read().unwrap_or_else(|| panic!("no answer to {head:?}")).with_status(400);
        assert_eq!(answer.json()["error"]["code"], "serve-bad-head", "{head:?}");
        assert!(connection.is_closed_within(Duration::from_secs(5)), "{head:?}");
    }
    // What follows a request on its connection is a request of its own, or refused.
    let mut connection = scene.connect();
    connection.send(request("GET", "/livez", &[], b""));
    connection.read().expect("an answer").with_status(200);
    connection.send("GET /livez HTTP/1.1\nHost: localhost\n\n");
    connection.read().expect("an answer").with_status(400);
}

#[test]
fn connections_are_kept_and_requests_may_be_pipelined() {
    let scene = Scene::new();
    let mut connection = scene.connect();
    let mut both = post("/embed", &json!({ "inputs": "lion" }));
    both.extend(request("GET", "/ping", &[], b""));
    connection.send(both);
    assert!(connection.read().expect("an answer").with_status(200).json().is_array());
    assert_eq!(connection.read().expect("an answer").with_status(200).text(), "pong");
    connection.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send("8\r\n{\"inputs\r\n9\r\n\":\"lion\"}\r\n0\r\n\r\n");
    let chunked = connection.read().expect("an answer").with_status(200);
    assert_eq!(chunked.header("connection"), Some("close"));
    assert!(connection.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn what_follows_a_request_does_not_destroy_its_answer() {
    let scene = Scene::new();
    // A body without its length, an empty line after a body, and nonsense.
    for rest in ["{\"inputs\":\"lion\"}", "\r\n", "\r\n\r\n", "nonsense\r\n\r\n", "GET /\n"] {
        for close in ["", "Connection: close\r\n"] {
            let mut connection = scene.connect();
            connection.send(format!(
                "POST /embed HTTP/1.1\r\nHost: localhost\r\n{close}Content-Length: 17\r\n\r\n{{\"inputs\":\"lion\"}}{rest}"
            ));
            let answer =
                connection.read().unwrap_or_else(|| panic!("no answer before {rest:?}")).with_status(200);
            assert!(answer.json().is_array());
            if close.is_empty() && rest != "\r\n" {
                let refused =
                    connection.read().unwrap_or_else(|| panic!("no refusal of {rest:?}")).with_status(400);
                assert_eq!(refused.json()["error"]["code"], "serve-bad-head");
            }
            assert_eq!(
                connection.is_closed_within(Duration::from_secs(2)),
                rest != "\r\n" || !close.is_empty()
            );
        }
    }
    // One empty line before a head is forgiven, in whatever pieces it comes.
    let mut connection = scene.connect();
    for piece in ["\r", "\n", "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n"] {
        connection.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    connection.read().expect("an answer").with_status(200);
    connection.send(request("GET", "/ping", &[], b""));
    connection.read().expect("an answer").with_status(200);
}

#[test]
fn slow_clients_are_sent_away_in_time() {
    let scene = Scene::limited(|limits| {
        limits.head_time = Duration::from_millis(300);
        limits.idle_time = Duration::from_millis(600);
        limits.body_grace = Duration::from_millis(300);
        limits.body_rate = 100_000;
    });
    // Silence.
    let started = Instant::now();
    let mut silent = scene.connect();
    // Half a head, and then a byte from time to time.
    let mut slow = scene.connect();
    slow.send("GET /livez HTTP/1.1\r\nHo");
    for byte in ["s", "t", ":"] {
        std::thread::sleep(Duration::from_millis(80));
        slow.send(byte);
    }
    let answer = slow.read().expect("an answer").with_status(408);
    assert_eq!(answer.json()["error"]["code"], "serve-slow");
    assert!(slow.is_closed_within(Duration::from_secs(2)));
    assert!(silent.is_closed_within(Duration::from_secs(2)));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    // A body that stops, and one that drips.
    let mut stopped = scene.connect();
    stopped.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    assert_eq!(stopped.read().expect("an answer").with_status(408).json()["code"], "serve-slow");
    assert!(stopped.is_closed_within(Duration::from_secs(2)));
    // A body that nobody wants, and that goes on.
    let mut refused = scene.connect();
    refused.send("POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{");
    let answer = refused.read().expect("an answer").with_status(404);
    assert_eq!(answer.header("connection"), Some("close"));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) && !refused.is_closed_within(Duration::from_millis(50)) {
        refused.send(" ");
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    let deadline = Instant::now() + Duration::from_secs(5);
    while scene.metrics.open_connections() > 0 {
        assert!(Instant::now() < deadline, "its place is not free");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A connection between two requests.
    let mut idle = scene.connect();
    idle.send(request("GET", "/livez", &[], b""));
    idle.read().expect("an answer").with_status(200);
    assert!(idle.is_closed_within(Duration::from_secs(3)));
    scene.get("/readyz").with_status(200);
}

/// The status and code of an answer, whosever shape it has.
fn told(answer: &crate::client::Answer) -> (u16, String) {
    let json = answer.json();
    let code = json["code"].as_str().or_else(|| json["error"]["code"].as_str()).unwrap_or_default();
    (answer.status, code.to_owned())
}

#[test]
fn bodies_that_are_encoded_or_badly_chunked_are_refused_as_what_they_are() {
    let scene = Scene::new();
    let body = br#"{"inputs":"lion"}"#;
    let with = |encoding| scene.raw(request("POST", "/embed", &[("Content-Encoding", encoding)], body));
    assert_eq!(told(&with("gzip")), (415, "unsupported".to_owned()));
    assert_eq!(told(&with("identity, br")), (415, "unsupported".to_owned()));
    with("identity").with_status(200);
    let chunked = |chunks: &str| {
        let mut connection = scene.connect();
        connection.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.send(chunks);
        let answer = connection.read().expect("an answer");
        assert!(connection.is_closed_within(Duration::from_secs(5)), "{chunks:.40}");
        answer
    };
    let good = "11;name=value\r\n{\"inputs\":\"lion\"}\r\n0\r\nX-Trailer: y\r\n\r\n";
    chunked(good).with_status(200);
    for bad in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-1\r\n{}\r\n0\r\n\r\n",
        " 11\r\n{\"inputs\":\"lion\"}\r\n0\r\n\r\n",
        "11\n{\"inputs\":\"lion\"}\n0\n\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "11\r\n{\"inputs\":\"lion\"}xx0\r\n\r\n",
        &format!("11;{}\r\n{{\"inputs\":\"lion\"}}\r\n0\r\n\r\n", "x".repeat(100_000)),
        &format!("11\r\n{{\"inputs\":\"lion\"}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
    ] {
        assert_eq!(told(&chunked(bad)), (422, "malformed".to_owned()), "{bad:.40}");
    }
}

#[test]
fn a_target_is_a_path_or_an_address_of_its_host() {
    let scene = Scene::new();
    let ask = |target: &str| scene.raw(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    ask("http://localhost/ping").with_status(200);
    for target in ["http://evil.example/ping", "http://localhost.evil.example/ping", "localhost:80", "ping"] {
        let answer = ask(target).with_status(400);
        assert_eq!(answer.json()["error"]["code"], "serve-bad-head", "{target}");
    }
}
