//! More requests than the model can take, clients that go away, and the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::request;
use crate::scene::{NAME, Scene, data_uri, image, image_vector, post, text_vector, vector, wait_for};

/// A request for the vectors of `count` images.
fn images(count: usize) -> Vec<u8> {
    let input = vec![data_uri(&image("lion")); count];
    post("/v1/embeddings", &json!({ "model": NAME, "modality": "image", "input": input }))
}

#[test]
fn many_clients_get_their_own_vectors() {
    let scene = Scene::new();
    let names = ["lion", "avocado", "scissors", "tiger"];
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (scene, name) = (&scene, names[client % names.len()]);
            scope.spawn(move || {
                for _ in 0..4 {
                    let body = json!({ "model": NAME, "input": [{ "image": data_uri(&image(name)) }, name] });
                    let answer = scene.post("/v1/embeddings", &body).with_status(200).json();
                    assert_eq!(vector(&answer["data"][0]["embedding"]), image_vector(name));
                    assert_eq!(vector(&answer["data"][1]["embedding"]), text_vector(name));
                }
            });
        }
    });
    // They shared batches.
    let items = scene.metric("clipway_batch_items_sum{kind=\"image\"}");
    let batches = scene.metric("clipway_batch_items_count{kind=\"image\"}");
    assert_eq!(items, 64.0);
    assert!(batches < 64.0, "{batches}");
}

#[test]
fn an_overloaded_server_refuses_and_recovers() {
    let scene = Scene::limited(|limits| {
        limits.max_wait = Duration::from_millis(20);
        limits.queue_items = 40;
    });
    let (refused, full, answered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let answer = scene.raw(images(12));
                    match answer.status {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            assert!(
                                answer
                                    .header("retry-after")
                                    .is_some_and(|value| value.parse::<u64>().is_ok())
                            );
                            assert_eq!(answer.json()["error"]["code"], "serve-overloaded");
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        503 => {
                            assert_eq!(answer.json()["error"]["code"], "serve-full");
                            full.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert!(
        answered.load(Ordering::Relaxed) > 0 && refused.load(Ordering::Relaxed) > 0,
        "{refused:?} {answered:?}"
    );
    let rejected = scene.metric("clipway_rejected_total{reason=\"serve-overloaded\"}");
    assert_eq!(rejected, refused.load(Ordering::Relaxed) as f64);
    scene.raw(images(1)).with_status(200);
    assert_eq!(scene.metric("clipway_queue_items{kind=\"image\"}"), 0.0);
}

/// Refuses a request of which only this has arrived, while others are being answered.
fn refused_at_once(scene: &Scene, sent: &[u8]) -> u16 {
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| scene.raw(images(200)).with_status(200));
        wait_for(|| scene.metric("clipway_queue_items{kind=\"image\"}") > 100.0);
        let mut early = scene.connect();
        early.send(sent);
        let answer = early.read().expect("an answer");
        assert!(!busy.is_finished(), "the server was busy meanwhile");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.header("retry-after").is_some());
        busy.join().expect("an answer");
        answer.status
    })
}

#[test]
fn images_that_would_wait_too_long_are_refused_by_the_start_of_their_body() {
    let scene = Scene::limited(|limits| limits.max_wait = Duration::from_nanos(1));
    let whole = images(16);
    let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(whole.len() > 100_000);
    assert_eq!(refused_at_once(&scene, &whole[..head + 1024]), 429);
}

#[test]
fn a_queue_that_is_nearly_full_refuses_before_the_body() {
    let scene = Scene::limited(|limits| limits.queue_items = 100);
    let head = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(refused_at_once(&scene, head.as_bytes()), 503);
    // What asks for no input is answered whatever waits.
    scene.get("/livez").with_status(200);
}

#[test]
fn immich_waits_where_others_are_refused() {
    let scene = Scene::limited(|limits| {
        limits.max_wait = Duration::from_millis(1);
        limits.queue_items = 2;
    });
    let entries = br#"{"clip":{"visual":{"modelName":"Emoji__demo"}}}"#;
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n".to_vec();
    body.extend_from_slice(entries);
    body.extend_from_slice(
        b"\r\n--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"blob\"\r\n\r\n",
    );
    body.extend_from_slice(&image("tiger"));
    body.extend_from_slice(b"\r\n--b--\r\n");
    let predict = request("POST", "/predict", &[("Content-Type", "multipart/form-data; boundary=b")], &body);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| (0..3).for_each(|_| drop(scene.raw(&predict).with_status(200))));
        }
        // Probes are answered meanwhile.
        for _ in 0..20 {
            let started = Instant::now();
            scene.get("/ping").with_status(200);
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        }
    });
    assert_eq!(scene.metric("clipway_batch_items_sum{kind=\"image\"}"), 60.0);
}

#[test]
fn a_client_that_goes_away_costs_nothing() {
    let scene = Scene::new();
    let cancelled = || scene.metric("clipway_cancelled_items_total");
    let mut sent = 0.0;
    // How soon inputs are queued depends on the machine, so clients go away later and later.
    for round in 0..30 {
        let mut busy = scene.connect();
        busy.send(images(256));
        let gone: Vec<_> = (0..4)
            .map(|_| {
                let mut connection = scene.connect();
                connection.send(images(128));
                connection
            })
            .collect();
        sent += 256.0 + 4.0 * 128.0;
        std::thread::sleep(Duration::from_millis(20 * round));
        drop(gone);
        busy.read().expect("an answer").with_status(200);
        wait_for(|| scene.metric("clipway_queue_items{kind=\"image\"}") == 0.0);
        if cancelled() > 0.0 {
            break;
        }
    }
    let ran = scene.metric("clipway_batch_items_sum{kind=\"image\"}");
    assert!(cancelled() > 0.0 && ran + cancelled() <= sent, "{ran} {}", cancelled());
}

#[test]
fn what_was_accepted_is_answered_when_the_server_stops() {
    let scene = Scene::new();
    let mut late = scene.connect();
    late.send(request("GET", "/livez", &[], b""));
    late.read().expect("an answer").with_status(200);
    let working: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = scene.connect();
            connection.send(images(8));
            connection
        })
        .collect();
    wait_for(|| scene.metric("clipway_accepted_items_total{kind=\"image\"}") == 64.0);
    scene.stopper().stop();
    // New work is refused, and a probe sees why.
    let mut probe = scene.connect();
    probe.send(request("GET", "/readyz", &[], b""));
    if let Some(answer) = probe.read() {
        assert_eq!(answer.with_status(503).json()["error"]["code"], "serve-not-ready");
    }
    for mut connection in working {
        let answer = connection.read().expect("an answer").with_status(200).json();
        assert_eq!(vector(&answer["data"][7]["embedding"]), image_vector("lion"));
    }
    assert!(late.is_closed_within(Duration::from_secs(5)));
    assert!(scene.stop());
}

#[test]
fn what_was_sent_before_the_server_stops_gets_an_answer() {
    let scene = Scene::new();
    let idle = || {
        let mut connection = scene.connect();
        connection.send(request("GET", "/livez", &[], b""));
        connection.read().expect("an answer").with_status(200);
        connection
    };
    let mut connections: Vec<_> = (0..40).map(|_| idle()).collect();
    for connection in &mut connections {
        connection.send(post("/embed", &json!({ "inputs": "lion" })));
    }
    scene.stopper().stop();
    let mut statuses = Vec::new();
    for mut connection in connections {
        let answer = connection.read().expect("an answer, and no closed connection");
        assert!([200, 503].contains(&answer.status), "{}", answer.status);
        statuses.push(answer.status);
        assert!(connection.is_closed_within(Duration::from_secs(5)));
    }
    assert!(scene.stop(), "{statuses:?}");
}

#[test]
fn what_takes_too_long_to_finish_is_refused() {
    let scene = Scene::limited(|limits| limits.drain = Duration::from_millis(100));
    let mut connection = scene.connect();
    // A body that is never finished.
    connection.send("POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    wait_for(|| scene.metrics.open_connections() == 1);
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    assert!(!scene.stop());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(connection.read().expect("an answer").with_status(503).json()["code"], "serve-stopping");
}
