//! `clipway serve` as a process: its address, its log, its options and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scene::{CLIPWAY, Scene, emoji};

/// A server.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Serves the demo model.
    fn start(options: &[&str]) -> Server {
        let model = emoji();
        let mut command = Command::new(CLIPWAY);
        command.arg("serve").arg(model.join("emoji-clip.pt"));
        command.arg("--model").arg(model.join("emoji-clip.json")).args(options);
        Server::spawn(command)
    }

    /// Runs a command that serves something, on a free port and under the name `demo`.
    pub fn spawn(mut command: Command) -> Server {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--json", "--name", "demo"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut text = String::new();
        while !text.ends_with("\n}\n") {
            text.push_str(&lines.next().expect("an address").expect("UTF-8"));
            text.push('\n');
        }
        let said: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(said["model"]["names"], json!(["demo"]));
        assert_eq!(said["model"]["fingerprint"].as_str().map(str::len), Some(16));
        let address = said["address"].as_str().expect("an address").trim_start_matches("http://").to_owned();
        Server { child, address }
    }

    /// Sends a request.
    pub fn send(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream.write_all(request.as_ref()).expect("a request");
        stream
    }

    /// Number of texts that were accepted.
    fn accepted(&self) -> f64 {
        let metrics =
            answer(self.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let name = "clipway_accepted_items_total{kind=\"text\"}";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a metric").trim().parse().expect("a number")
    }

    /// Sends a signal, and returns the exit status and stderr.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        let mut stderr = String::new();
        self.child.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("UTF-8");
        (self.child.wait().expect("an end").code(), stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn embeddings(count: usize) -> String {
    let body = json!({ "model": "demo", "input": vec!["a lion"; count] }).to_string();
    let length = body.len();
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[cfg(unix)]
#[test]
fn a_signal_under_load_loses_no_request() {
    for signal in ["-TERM", "-INT"] {
        let server = Server::start(&["--log", "json"]);
        let waiting: Vec<TcpStream> = (0..12).map(|_| server.send(embeddings(80))).collect();
        let started = Instant::now();
        while server.accepted() < 12.0 * 80.0 {
            assert!(started.elapsed() < Duration::from_secs(60), "they are not accepted");
            std::thread::sleep(Duration::from_millis(20));
        }
        let started = Instant::now();
        let readers: Vec<_> =
            waiting.into_iter().map(|stream| std::thread::spawn(|| answer(stream))).collect();
        let (status, stderr) = server.end(signal);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(started.elapsed() < Duration::from_secs(60));
        for reader in readers {
            let text = reader.join().expect("a reader");
            assert!(text.starts_with("HTTP/1.1 200 "), "{text:.300}");
        }
        let logged = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let logged: Vec<Value> = logged.filter(|line| line["route"] == "/v1/embeddings").collect();
        assert_eq!(logged.len(), 12, "{stderr}");
        assert!(logged.iter().all(|line| line["status"] == 200), "{stderr}");
    }
}

#[test]
fn images_by_address_are_fetched_from_allowed_hosts_that_are_public() {
    let server = Server::start(&["--log", "off", "--allow-image-host", "http://localhost:1"]);
    for (address, expected) in [
        ("http://localhost:1/image.png", "not public"),
        ("http://localhost/image.png", "are not fetched"),
        ("http://127.0.0.1:1/image.png", "no IP address"),
    ] {
        let body = json!({ "model": "demo", "modality": "image", "input": address }).to_string();
        let length = body.len();
        let text = answer(server.send(format!(
            "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )));
        assert!(
            text.starts_with("HTTP/1.1 400 ") && text.contains("serve-remote-image"),
            "{address}: {text}"
        );
        assert!(text.contains(expected), "{address}: {text}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let server = Server::start(&["--log", "json"]);
    let probe = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // More than a pipe takes: its reader is this test, which reads nothing yet.
    for _ in 0..2000 {
        let mut stream = server.send(probe.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer in time");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text:.200}");
    }
    let (status, stderr) = server.end("-TERM");
    assert_eq!(status, Some(0), "{stderr:.500}");
    assert!(stderr.lines().count() >= 200, "{}", stderr.lines().count());
}

#[test]
fn what_cannot_be_served_is_refused_with_a_hint() {
    let scene = Scene::new();
    let model = emoji();
    let checkpoint = model.join("emoji-clip.pt").to_string_lossy().into_owned();
    let config = model.join("emoji-clip.json").to_string_lossy().into_owned();
    let serve = |options: &[&str]| {
        let mut arguments = vec!["serve", &checkpoint, "--model", &config];
        arguments.extend(options);
        scene.run(&arguments)
    };
    let open = serve(&["--listen", "0.0.0.0:0"]).ended(2);
    assert!(
        open.stderr.contains("[serve-unprotected]") && open.stderr.contains("--api-key-file"),
        "{open:?}"
    );
    for host in
        ["127.0.0.1", "*.example", "https://images.example/a", "ftp://images.example", "bücher.example"]
    {
        let refused = serve(&["--allow-image-host", host]).ended(1);
        assert!(
            refused.stderr.contains("expected a name") && refused.stderr.contains("[bad-value]"),
            "{refused:?}"
        );
    }
    let alone = serve(&["--fetch-timeout", "5"]).ended(2);
    assert!(alone.stderr.contains("--allow-image-host"), "{alone:?}");
    std::fs::write(scene.path("short"), "short\n").expect("a file");
    let short = serve(&["--api-key-file", "short"]).ended(1);
    assert!(short.stderr.contains("line 1") && short.stderr.contains("[bad-value]"), "{short:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let taken = serve(&["--listen", &address]).ended(2);
    assert!(taken.stderr.contains("[serve-address]") && taken.stderr.contains("--listen"), "{taken:?}");
}
