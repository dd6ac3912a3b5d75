//! HTTP on a socket, and what faults do to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Fault, Seen, State, hub};

pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_cdn: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Arc<Vec<u8>>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: Arc::new(body.into()) }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply::new(status, value.to_string()).with("Content-Type", "application/json")
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

pub fn serve(stream: TcpStream, is_cdn: bool, state: &Mutex<State>) {
    let Ok(clone) = stream.try_clone() else { return };
    let mut reader = BufReader::new(clone);
    let Some(request) = read(&mut reader, is_cdn) else { return };
    let line = format!("{} {}", request.method, request.target);
    let lock = || state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let authorization = request.header("authorization").map(str::to_owned);
    let range = request.header("range").map(str::to_owned);
    let (fault, at) = {
        let mut state = lock();
        state.seen.push(Seen { is_cdn, line: line.clone(), authorization, sent: 0, range });
        (state.fault(&line), state.seen.len() - 1)
    };
    let reply = match &fault {
        Some(Fault::Reset) => return,
        Some(Fault::Hang(time)) => return std::thread::sleep(Duration::from_millis(*time)),
        Some(Fault::Status(status)) => Reply::new(*status, "it did not work"),
        Some(Fault::RateLimit(time)) => {
            Reply::new(429, "").with("RateLimit", format!("\"api\";r=0;t={time}"))
        }
        Some(Fault::RetryAfter(time)) => Reply::new(429, "").with("Retry-After", time.to_string()),
        Some(Fault::Html) => Reply::new(200, "<html><body>Log in to this network</body></html>"),
        Some(Fault::Huge(megabytes)) => Reply::new(500, vec![b'x'; megabytes << 20]),
        Some(Fault::Redirect(target)) => Reply::new(302, "").with("Location", target.clone()),
        Some(Fault::Body(text)) => Reply::new(200, text.clone()),
        Some(Fault::Endless(entries)) => {
            let next = format!("<{}{}>; rel=\"next\"", lock().hub, request.target);
            // `#` stands for a number that no other page has.
            let entries = entries.replace('#', &at.to_string());
            Reply::new(200, format!("[{entries}]")).with("Link", next)
        }
        Some(Fault::Head(size)) => Reply::new(200, "{}").with("X-Large", "x".repeat(*size)),
        Some(Fault::Slow(time)) => {
            std::thread::sleep(Duration::from_millis(*time));
            hub::answer(&mut lock(), &request)
        }
        Some(Fault::Whole) => {
            let mut request = request;
            request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("range"));
            // The guard must be gone before the answer is written, which counts what was sent.
            let reply = hub::answer(&mut lock(), &request);
            return write(stream, reply, false, usize::MAX, &lock, at);
        }
        Some(Fault::Spoil) => {
            let mut request = request;
            if let Some(byte) = request.body.last_mut() {
                *byte ^= 0x40;
            }
            hub::answer(&mut lock(), &request)
        }
        Some(Fault::Lost) => {
            hub::answer(&mut lock(), &request);
            return;
        }
        _ => {
            let mut reply = hub::answer(&mut lock(), &request);
            spoil(&mut reply, fault.as_ref());
            reply
        }
    };
    let (most, stall) = match fault {
        Some(Fault::Cut(at)) => (at, 0),
        Some(Fault::Stall(at, time)) => (at, time),
        _ => (usize::MAX, 0),
    };
    let open = stream.try_clone();
    write(stream, reply, request_is_head(&line), most, &lock, at);
    std::thread::sleep(Duration::from_millis(stall));
    drop(open);
}

fn request_is_head(line: &str) -> bool {
    line.starts_with("HEAD ")
}

fn spoil(reply: &mut Reply, fault: Option<&Fault>) {
    match fault {
        Some(Fault::Flip(at)) if !reply.body.is_empty() && reply.status < 300 => {
            let body = Arc::make_mut(&mut reply.body);
            let at = at % body.len();
            body[at] ^= 0x40;
        }
        Some(Fault::Long) => Arc::make_mut(&mut reply.body).extend_from_slice(&[7; 100]),
        Some(Fault::Tag) => {
            for (name, value) in &mut reply.headers {
                if name.eq_ignore_ascii_case("etag") || name.eq_ignore_ascii_case("x-linked-etag") {
                    *value = value
                        .chars()
                        .map(|c| {
                            if c == '1' {
                                '2'
                            } else if c == '2' {
                                '1'
                            } else {
                                c
                            }
                        })
                        .collect();
                }
            }
        }
        Some(Fault::Range) => {
            for (name, value) in &mut reply.headers {
                if name.eq_ignore_ascii_case("content-range") {
                    *value = value.replacen("bytes ", "bytes 1", 1);
                }
            }
        }
        _ => {}
    }
}

fn read(reader: &mut BufReader<TcpStream>, is_cdn: bool) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request { method, target, headers: Vec::new(), body: Vec::new(), is_cdn };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => request.headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let length: usize = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn write<'a>(
    mut stream: TcpStream,
    reply: Reply,
    is_head: bool,
    most: usize,
    lock: &dyn Fn() -> std::sync::MutexGuard<'a, State>,
    at: usize,
) {
    let mut head = format!("HTTP/1.1 {} Fake\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if is_head {
        return;
    }
    let end = reply.body.len().min(most);
    for part in reply.body[..end].chunks(1 << 20) {
        if stream.write_all(part).is_err() {
            break;
        }
        if let Some(seen) = lock().seen.get_mut(at) {
            seen.sent += part.len();
        }
    }
}
