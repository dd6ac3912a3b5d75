//! Servers that mean harm: bounded memory and time, and a clear error.

use std::time::{Duration, Instant};

use crate::fake::Fault;
use crate::scene::Scene;

fn check(fault: Fault, on: &str, code: &str) {
    let scene = Scene::new(&[("a.json", b"{}")]);
    scene.fake.fail(on, 0, usize::MAX, fault.clone());
    let start = Instant::now();
    let error = scene.pull().unwrap_err();
    assert_eq!(error.code(), code, "{fault:?}: {error}");
    assert!(error.to_string().len() < 2000, "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{fault:?}");
}

fn listing(path: &str, size: &str) -> Fault {
    let oid = "1".repeat(40);
    Fault::Body(format!(r#"[{{"type":"file","path":"{path}","size":{size},"oid":"{oid}"}}]"#))
}

#[test]
fn hostile_names_are_refused() {
    for path in ["../a", "a/../../b", "/etc/passwd", "C:/a", r"\\\\host\\a", r"a\\b", "a:b", "", "nul"] {
        check(listing(path, "1"), "/tree/", "hub-hostile-name");
    }
}

#[test]
fn hostile_sizes_and_shapes_are_refused() {
    check(listing("a", "9223372036854775808"), "/tree/", "hub-too-large");
    check(listing("a", "5000000000000"), "/tree/", "hub-too-large");
    check(listing("a", "-1"), "/tree/", "hub-answer");
    check(listing("a", "1e3"), "/tree/", "hub-answer");
    check(Fault::Body("[".repeat(100_000)), "/tree/", "hub-answer");
    check(Fault::Body(r#"{"sha":"main"}"#.to_owned()), "/revision/", "hub-answer");
    check(Fault::Html, "/revision/", "hub-answer");
    let oid = "1".repeat(40);
    let one = |path: &str| format!(r#"{{"type":"file","path":"{path}","size":1,"oid":"{oid}"}}"#);
    check(Fault::Body(format!("[{},{}]", one("a"), one("a"))), "/tree/", "hub-answer");
    check(Fault::Body(format!("[{},{}]", one("a"), one("a/b"))), "/tree/", "hub-hostile-name");
    let many: Vec<String> = (0..60_000).map(|number| one(&format!("f{number}"))).collect();
    check(Fault::Body(format!("[{}]", many.join(","))), "/tree/", "hub-answer");
}

#[test]
fn endless_answers_end() {
    check(Fault::Huge(100), "/revision/", "hub-unavailable");
    check(Fault::Body(" ".repeat(20 << 20)), "/revision/", "hub-too-large");
    let scene = Scene::new(&[("a.json", b"{}")]);
    let here = format!("{}/api/models/me/model/revision/main", scene.fake.endpoint());
    scene.fake.fail("/revision/", 0, usize::MAX, Fault::Redirect(here));
    assert_eq!(scene.pull().unwrap_err().code(), "hub-redirects");
    assert_eq!(scene.fake.count("/revision/"), 21);
    let away = scene.fake.state().cdn.clone();
    scene.fake.calm();
    scene.fake.fail("/revision/", 0, usize::MAX, Fault::Redirect(away));
    assert!(scene.pull().is_err());
    assert!(scene.fake.state().seen.iter().all(|seen| !seen.is_cdn || seen.authorization.is_none()));
    check(Fault::RateLimit(86_400), "/revision/", "hub-rate-limit");
    check(Fault::Hang(3000), "/revision/", "hub-timeout");
}

#[test]
fn a_repository_of_a_million_files_is_refused_early() {
    let scene = Scene::new(&[("a.json", b"{}")]);
    let oid = "1".repeat(40);
    for page in 0..60 {
        let one = |n: usize| format!(r#"{{"type":"file","path":"f{page}-{n}","size":1,"oid":"{oid}"}}"#);
        let page: Vec<String> = (0..1000).map(one).collect();
        scene.fake.state().pages.push(format!("[{}]", page.join(",")));
    }
    assert_eq!(scene.pull().unwrap_err().code(), "hub-too-large");
    assert!(scene.fake.count("/tree/") <= 51);
}
