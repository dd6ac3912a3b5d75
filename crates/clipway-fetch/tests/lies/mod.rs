//! A network that lies, and a server of images that misbehaves: for the tests of this crate and of `clipway-serve`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clipway_fetch::{Later, Network};

/// What a name that is not in the table resolves to: a public address.
pub const PUBLIC: &str = "93.184.215.14";

/// Names with the addresses that each lookup gives, the last one again and again; and what was asked of the network.
#[derive(Default)]
pub struct Lies {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    /// Where a connection to a port leads, whatever its IP address.
    ports: Mutex<HashMap<u16, SocketAddr>>,
    pub resolved: Mutex<Vec<String>>,
    pub connected: Mutex<Vec<SocketAddr>>,
}

impl Lies {
    /// Says what the next lookups of a name give.
    pub fn say(&self, name: &str, lookups: &[&[&str]]) {
        let parsed = lookups.iter().map(|ips| ips.iter().map(|ip| ip.parse().expect("an IP")).collect());
        self.names.lock().unwrap().insert(name.to_owned(), parsed.collect());
    }

    /// Leads connections to a port to a server.
    pub fn lead(&self, port: u16, server: SocketAddr) {
        self.ports.lock().unwrap().insert(port, server);
    }
}

impl Network for Lies {
    fn resolve(&self, host: &str) -> Later<Vec<IpAddr>> {
        self.resolved.lock().unwrap().push(host.to_owned());
        let mut names = self.names.lock().unwrap();
        let found = match names.get_mut(host) {
            Some(lookups) if lookups.len() > 1 => lookups.remove(0),
            Some(lookups) => lookups[0].clone(),
            None => vec![PUBLIC.parse().expect("an IP")],
        };
        Box::pin(async move { Ok(found) })
    }

    fn connect(&self, address: SocketAddr) -> Later<tokio::net::TcpStream> {
        self.connected.lock().unwrap().push(address);
        let server = self.ports.lock().unwrap().get(&address.port()).copied();
        Box::pin(async move {
            let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
            tokio::net::TcpStream::connect(server).await
        })
    }
}

/// What a server speaks through.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A server of images, for as long as the process lives.
pub struct Origin {
    pub address: SocketAddr,
    /// Heads of requests.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// Where `/to/0`, `/to/1` and so on redirect to.
    pub locations: Arc<Mutex<Vec<String>>>,
}

/// What no answer to a client may repeat.
pub const SECRET: &str = "the-secret-of-the-machine";

impl Origin {
    /// Serves an image at `/image`, and answers that no server should give; `speak` makes a connection of a stream.
    pub fn start(
        image: Vec<u8>,
        speak: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = Origin {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
            locations: Arc::default(),
        };
        let (seen, locations) = (Arc::clone(&origin.seen), Arc::clone(&origin.locations));
        let (speak, image) = (Arc::new(speak), Arc::new(image));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, locations) = (Arc::clone(&seen), Arc::clone(&locations));
                let (speak, image) = (Arc::clone(&speak), Arc::clone(&image));
                std::thread::spawn(move || {
                    let mut stream = speak(stream);
                    let Some(head) = head(&mut *stream) else { return };
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    seen.lock().unwrap().push(head);
                    let location = path.strip_prefix("/to/").and_then(|index| index.parse::<usize>().ok());
                    let location = location.map(|index| locations.lock().unwrap()[index].clone());
                    // A client that has enough ends the connection.
                    let _ = answer(&mut *stream, &path, location, &image);
                    let _ = stream.flush();
                });
            }
        });
        origin
    }
}

fn head(stream: &mut dyn Stream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn answer(stream: &mut dyn Stream, path: &str, location: Option<String>, image: &[u8]) -> io::Result<()> {
    let whole = |status: &str, fields: &str, body: &[u8]| {
        let length = body.len();
        let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        bytes
    };
    let secret = SECRET.as_bytes();
    let png = "Content-Type: image/png\r\n";
    if let Some(location) = location {
        return stream.write_all(&whole("302 Found", &format!("Location: {location}\r\n"), secret));
    }
    let bytes = match path {
        "/image" => whole("200 OK", png, image),
        "/octets" => whole("200 OK", "Content-Type: application/octet-stream\r\n", image),
        "/early" => {
            [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec(), whole("200 OK", png, image)].concat()
        }
        "/loop" => whole("302 Found", "Location: /loop\r\n", secret),
        "/nowhere" => whole("302 Found", "", secret),
        "/html" => whole("200 OK", "Content-Type: text/html\r\n", secret),
        "/untyped" => whole("200 OK", "", image),
        "/gzip" => whole("200 OK", &format!("{png}Content-Encoding: gzip\r\n"), secret),
        "/status" => whole("500 Internal Server Error", png, secret),
        "/text" => whole("200 OK", png, secret),
        "/ssh" => format!("SSH-2.0-{SECRET}\r\n").into_bytes(),
        "/announced" => format!("HTTP/1.1 200 OK\r\n{png}Content-Length: 99999999999\r\n\r\n").into_bytes(),
        "/cut" => format!("HTTP/1.1 200 OK\r\n{png}Content-Length: 1000\r\n\r\n{SECRET}").into_bytes(),
        "/two" => {
            format!("HTTP/1.1 200 OK\r\n{png}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").into_bytes()
        }
        "/chunks" => {
            stream.write_all(
                format!("HTTP/1.1 200 OK\r\n{png}Transfer-Encoding: chunked\r\n\r\n").as_bytes(),
            )?;
            loop {
                stream.write_all(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes())?;
            }
        }
        "/head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(format!("X-Long: {}\r\n", "x".repeat(1000)).as_bytes())?;
            }
        }
        "/drip" => {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{png}Content-Length: 1000\r\n\r\n").as_bytes())?;
            loop {
                std::thread::sleep(Duration::from_millis(20));
                stream.write_all(b"x")?;
                stream.flush()?;
            }
        }
        "/silent" => {
            let _ = stream.read(&mut [0]);
            return Ok(());
        }
        _ => whole("404 Not Found", "", secret),
    };
    stream.write_all(&bytes)
}
