//! A hub by HTTPS: the certificate is checked, and the token stays with the hub. Its certificates are made by
//! `tests/tls/make.sh`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use clipway_hub::{Hub, Quiet, Settings};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fake::{TOKEN, sha256};
use crate::scene::{Scene, bytes, pull_with};

/// Says to the test that runs as a child where the hub is.
const ENDPOINT: &str = "CLIPWAY_TEST_ENDPOINT";

/// Requests by the port's name: their heads.
type Seen = Arc<Mutex<Vec<(&'static str, String)>>>;

/// What a server answers to a path.
type Answer = Arc<dyn Fn(&str) -> String + Send + Sync>;

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Serves each connection once, with TLS or without.
fn serve(listener: TcpListener, name: &'static str, is_safe: bool, seen: &Seen, answer: Answer) {
    let seen = Arc::clone(seen);
    let certificate = CertificateDer::from(&include_bytes!("../tls/server.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../tls/server.key.der")[..]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key.into()).unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = |stream: &mut dyn Stream| {
                let head = head(stream);
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push((name, head));
                let _ = stream.write_all(answer(&path).as_bytes());
                let _ = stream.flush();
            };
            match is_safe {
                true => {
                    let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                    let mut stream = StreamOwned::new(connection, stream);
                    answer(&mut stream);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
                false => answer(&mut { stream }),
            }
        }
    });
}

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for StreamOwned<ServerConnection, TcpStream> {}

/// Reads the head of a request; empty if the connection ends before.
fn head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// Runs the child with an authority to trust; returns what it printed.
fn child(endpoint: &str, authority: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["tls::pulls_as_a_child", "--exact", "--ignored", "--nocapture"]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/");
    command
        .env(ENDPOINT, endpoint)
        .env("SSL_CERT_FILE", format!("{folder}{authority}"))
        .env_remove("SSL_CERT_DIR");
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "a test of this file runs it as a process of its own"]
fn pulls_as_a_child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let scene = Scene::new(&[]);
    let hub = Hub::new(Settings { endpoint, ..scene.settings() }, Arc::new(Quiet)).unwrap();
    match pull_with(&hub) {
        Ok(pulled) => println!("pulled {}", pulled.files.len()),
        Err(error) => println!("refused {} {error} {error:?}", error.code()),
    }
}

#[test]
fn a_pull_by_https_keeps_the_token_with_the_hub() {
    let seen = Seen::default();
    let ((hub, hub_address), (cdn, cdn_address), (plain, plain_address)) = (listen(), listen(), listen());
    let content: String = bytes(9, 3000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let (oid, commit, git) = (sha256(content.as_bytes()), "a".repeat(40), "b".repeat(40));
    let listing = format!(
        r#"[{{"type":"file","path":"w.bin","size":3000,"oid":"{git}","lfs":{{"oid":"{oid}","size":3000}}}}]"#
    );
    let mode = Arc::new(Mutex::new("right"));
    let (wanted, away) = (Arc::clone(&mode), plain_address.clone());
    let hub_answer = move |path: &str| match (*wanted.lock().unwrap(), path) {
        ("unsafe hub", _) => reply("302 Found", &format!("Location: http://{away}{path}\r\n"), ""),
        (_, path) if path.contains("/revision/") => reply("200 OK", "", &format!(r#"{{"sha":"{commit}"}}"#)),
        (_, path) if path.contains("/tree/") => reply("200 OK", "", &listing),
        (mode, _) => {
            let target = match mode {
                "unsafe file" => format!("http://{away}/object"),
                _ => format!("https://{cdn_address}/object"),
            };
            let headers =
                format!("Location: {target}\r\nX-Repo-Commit: {commit}\r\nX-Linked-Etag: \"{oid}\"\r\n");
            reply("302 Found", &headers, "")
        }
    };
    serve(hub, "hub", true, &seen, Arc::new(hub_answer));
    serve(cdn, "cdn", true, &seen, Arc::new(move |_: &str| reply("200 OK", "", &content)));
    serve(plain, "plain", false, &seen, Arc::new(|_: &str| reply("200 OK", "", "")));
    let endpoint = format!("https://{hub_address}");
    let check = |mode_now: &'static str, expected: &str, asked: &[&str]| {
        *mode.lock().unwrap() = mode_now;
        seen.lock().unwrap().clear();
        let said = child(&endpoint, "authority.pem");
        assert!(said.contains(expected) && !said.contains(TOKEN), "{mode_now}: {said}");
        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().map(|(name, _)| *name).collect::<Vec<_>>(), asked, "{mode_now}");
        for (name, head) in &*seen {
            assert_eq!(head.contains(TOKEN), *name == "hub", "{mode_now}: {name} {head}");
        }
    };
    check("right", "pulled 1", &["hub", "hub", "hub", "cdn"]);
    check("unsafe hub", "refused hub-redirects", &["hub"]);
    check("unsafe file", "refused hub-redirects", &["hub", "hub", "hub"]);
    // A certificate of an authority that is not trusted: nothing is asked.
    seen.lock().unwrap().clear();
    let said = child(&endpoint, "make.sh");
    assert!(said.contains("refused hub-unreachable"), "{said}");
    assert!(seen.lock().unwrap().iter().all(|(_, head)| head.is_empty()), "{seen:?}");
    // The same hub by its plain address speaks no TLS.
    let said = child(&format!("https://{plain_address}"), "authority.pem");
    assert!(said.contains("refused hub-"), "{said}");
}
