//! What is fetched, and how fetches fail.

use std::time::{Duration, Instant};

use crate::lies::{PUBLIC, SECRET};
use crate::scene::{IMAGE, Scene};

#[tokio::test]
async fn images_are_fetched_with_and_without_tls() {
    let scene = Scene::new();
    for address in [
        "https://images.example/image",
        "https://a.b.images.example./octets",
        "http://plain.example:8080/image",
        "HTTP://Plain.Example/early",
    ] {
        // The certificate covers one label below the name.
        let address = address.replace("a.b.", "a.");
        assert_eq!(scene.fetch(&address).await.as_deref(), Ok(IMAGE), "{address}");
    }
    let connected: Vec<String> =
        scene.network.connected.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(connected, [443, 443, 8080, 80].map(|port| format!("{PUBLIC}:{port}")));
    let head = scene.secure.seen.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /image http/1.1\r\nhost: images.example\r\n"), "{head}");
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
    for secret in ["cookie", "authorization", "referer", "proxy"] {
        assert!(!head.contains(secret), "{head}");
    }
    assert!(
        scene.plain.seen.lock().unwrap()[0].to_ascii_lowercase().contains("\r\nhost: plain.example:8080\r\n")
    );
}

#[tokio::test]
async fn a_server_that_misbehaves_is_refused_and_not_repeated() {
    let scene = Scene::new();
    for (path, code, says) in [
        ("/status", "serve-fetch", "status 500"),
        ("/missing", "serve-fetch", "status 404"),
        ("/html", "serve-fetch", "Content-Type"),
        ("/untyped", "serve-fetch", "Content-Type"),
        ("/gzip", "serve-fetch", "Content-Encoding"),
        ("/announced", "too-large", "10000 bytes"),
        ("/chunks", "too-large", "10000 bytes"),
        ("/cut", "serve-fetch", "ended the connection"),
        ("/two", "serve-fetch", "ended the connection"),
        ("/head", "serve-fetch", "ended the connection"),
        ("/ssh", "serve-fetch", "ended the connection"),
        ("/loop", "serve-fetch", "more than 3 times"),
        ("/nowhere", "serve-remote-image", "redirects to an address"),
    ] {
        for base in ["http://plain.example", "https://images.example"] {
            let (found, message) = scene.fetch(&format!("{base}{path}")).await.expect_err(path);
            assert_eq!(found, code, "{path}: {message}");
            assert!(message.contains(says), "{path}: {message}");
            assert!(!message.contains(SECRET), "{path}: {message}");
        }
    }
    assert_eq!(scene.plain.seen.lock().unwrap().iter().filter(|head| head.contains("/loop")).count(), 4);
}

#[tokio::test]
async fn time_and_room_are_limited() {
    let scene = Scene::limited(|limits| limits.time = Duration::from_millis(300));
    for path in ["/silent", "/drip"] {
        let started = Instant::now();
        let (code, message) = scene.fetch(&format!("http://plain.example{path}")).await.expect_err(path);
        assert_eq!(code, "serve-fetch");
        assert!(message.contains("did not arrive within"), "{message}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    let scene = Scene::new();
    let few = scene.fetch_within("http://plain.example/image", IMAGE.len() as u64 - 1).await;
    assert_eq!(few.expect_err("no room").0, "serve-full");
    assert!(scene.fetch_within("http://plain.example/image", IMAGE.len() as u64).await.is_ok());
}

#[tokio::test]
async fn a_dropped_fetch_ends_its_connection() {
    let scene = Scene::new();
    let fetch = scene.fetch("http://plain.example/drip");
    assert!(tokio::time::timeout(Duration::from_millis(200), fetch).await.is_err());
    // Its place is free: as many as may run at a time are dropped, and one more runs.
    for _ in 0..20 {
        let fetch = scene.fetch("http://plain.example/silent");
        assert!(tokio::time::timeout(Duration::from_millis(20), fetch).await.is_err());
    }
    assert!(scene.fetch("http://plain.example/image").await.is_ok());
}

#[tokio::test]
async fn the_certificate_must_be_for_the_host() {
    let scene = Scene::limited(|limits| limits.connect_time = Duration::from_secs(1));
    let (code, message) = scene.fetch("https://other.example/image").await.expect_err("another name");
    assert_eq!((code, message.contains("for another name")), ("serve-fetch", true), "{message}");
    // A plain server where TLS is expected.
    scene.network.lead(443, scene.plain.address);
    let (code, message) = scene.fetch("https://images.example/image").await.expect_err("no TLS");
    assert_eq!((code, message.contains("no safe connection")), ("serve-fetch", true), "{message}");
    assert!(scene.secure.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_address_is_tried_if_one_does_not_answer() {
    let scene = Scene::new();
    scene.network.say("plain.example", &[&["2606:4700::1111", PUBLIC]]);
    assert!(scene.fetch("http://plain.example/image").await.is_ok());
    assert_eq!(scene.network.connected.lock().unwrap().len(), 1);
    scene.network.say("plain.example", &[&["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"]]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.network.lead(80, nobody);
    let (code, message) = scene.fetch("http://plain.example/image").await.expect_err("nobody");
    assert_eq!((code, message.contains("cannot be reached")), ("serve-fetch", true), "{message}");
    assert_eq!(scene.network.connected.lock().unwrap().len(), 5);
    scene.network.say("plain.example", &[&[]]);
    let (_, message) = scene.fetch("http://plain.example/image").await.expect_err("no address");
    assert!(message.contains("not known"), "{message}");
}
