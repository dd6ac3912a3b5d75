//! Health, metrics, the page, ids and logs.

use crate::client::request;
use crate::scene::{NAME, Scene, post};
use serde_json::json;

#[test]
fn health_comes_from_the_engine() {
    let scene = Scene::new();
    assert_eq!(scene.get("/livez").with_status(200).text(), "live");
    for path in ["/readyz", "/health"] {
        let ready = scene.get(path).with_status(200).json();
        assert_eq!(ready["status"], "ready");
        assert_eq!(ready["self_test"]["compared_with"], "this run's first result");
    }
    let head = scene.connect().answered(request("HEAD", "/readyz", &[], b""));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn what_happens_is_counted_and_logged() {
    let scene = Scene::new();
    let body = post("/v1/embeddings", &json!({ "model": NAME, "input": ["lion", "avocado"] }));
    scene.raw(&body).with_status(200);
    scene.raw(&body).with_status(200);
    scene.get("/v1/embeddings").with_status(405);
    let route = "route=\"/v1/embeddings\"";
    assert_eq!(scene.metric(&format!("clipway_requests_total{{{route},code=\"200\"}}")), 2.0);
    assert_eq!(scene.metric(&format!("clipway_requests_total{{{route},code=\"405\"}}")), 1.0);
    assert_eq!(scene.metric("clipway_batch_items_sum{kind=\"text\"}"), 4.0);
    assert_eq!(scene.metric("clipway_accepted_items_total{kind=\"text\"}"), 4.0);
    assert_eq!(scene.metric("clipway_queue_items{kind=\"text\"}"), 0.0);
    let info = format!("clipway_model_info{{name=\"{NAME}\",fingerprint=\"\",dims=\"128\"}}");
    assert_eq!(scene.metric(&info), 1.0);
    assert_eq!(scene.log.lock().expect("the log")[..2], ["POST /v1/embeddings 200"; 2]);
}

#[test]
fn ids_are_kept_or_made() {
    let scene = Scene::new();
    let with = |name, value| scene.raw(request("GET", "/livez", &[(name, value)], b""));
    assert_eq!(with("X-Request-Id", "abc-1").header("x-request-id"), Some("abc-1"));
    let made = with("X-Request-Id", "a b<script>").header("x-request-id").expect("an id").to_owned();
    assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    let trace = with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(trace.header("x-trace-id"), Some("0af7651916cd43dd8448eb211c80319c"));
}

#[test]
fn browsers_get_a_page_that_may_run_nothing_else() {
    let scene = Scene::new();
    let page = scene.raw(request("GET", "/", &[("Accept", "text/html,*/*")], b"")).with_status(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!page.text().contains(NAME) && !page.text().contains("{{"));
    assert_eq!(scene.get("/readyz").json()["model"]["names"][0], NAME);
    for outside in ["http://", "https://", "//cdn", "@import", " style=", " onclick="] {
        assert!(!page.text().contains(outside), "{outside}");
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(policy.matches("'sha256-").count(), 2);
    // The hashes belong to what is between the tags.
    let text = page.text();
    for tag in ["style", "script"] {
        let start = text.find(&format!("<{tag}>")).expect("a tag") + tag.len() + 2;
        let end = text.find(&format!("</{tag}>")).expect("its end");
        let hash = sha256(&text.as_bytes()[start..end]);
        assert!(policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}: {hash}");
    }
}

fn sha256(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes))
}
