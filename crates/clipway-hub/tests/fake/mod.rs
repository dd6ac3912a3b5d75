//! A hub on two loopback ports, one of them its file server, with a plan of faults. It speaks the Hub's protocol as the
//! reference client expects it.

mod hub;
mod wire;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use sha1::{Digest, Sha1};
use sha2::Sha256;
use wire::Request;

/// The token that opens private repositories.
pub const TOKEN: &str = "hf_fakeTokenOfTests";

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The connection closes without an answer.
    Reset,
    /// A status with a text.
    Status(u16),
    /// 429 with this `RateLimit` time.
    RateLimit(u64),
    /// 429 with this `Retry-After`.
    RetryAfter(u64),
    /// Nothing happens for this many milliseconds, then the connection closes.
    Hang(u64),
    /// The body ends after this many bytes.
    Cut(usize),
    /// The body stops after this many bytes, and the connection stays open for this many milliseconds.
    Stall(usize, u64),
    /// The byte at this place of the body is flipped.
    Flip(usize),
    /// A page of HTML with status 200.
    Html,
    /// More bytes than there are, with a matching length.
    Long,
    /// Another `ETag` and `X-Linked-Etag`.
    Tag,
    /// A `Content-Range` that starts elsewhere.
    Range,
    /// A `Range` is ignored.
    Whole,
    /// A body of this many megabytes with status 500.
    Huge(usize),
    /// A redirect to this address.
    Redirect(String),
    /// This body instead, with status 200.
    Body(String),
    /// A page of a listing with these entries, and a link to the next one.
    Endless(String),
    /// A head with a header of this many bytes.
    Head(usize),
    /// The request is carried out, but its answer is lost.
    Lost,
    /// The answer comes after this many milliseconds.
    Slow(u64),
    /// A byte of the request's body is flipped before it is carried out.
    Spoil,
}

impl Fault {
    /// A corrupted download by number, as plans: a fault of the answers of the Hub or of the file server, for one
    /// request or for all.
    pub fn corruption(number: usize) -> Vec<Planned> {
        let on = if number.is_multiple_of(2) { "/object/" } else { "/resolve/" };
        let place = number.wrapping_mul(7919);
        let fault = match number / 2 % 7 {
            0 => Fault::Flip(place),
            1 => Fault::Cut(place % 200),
            2 => Fault::Long,
            3 => Fault::Html,
            4 => Fault::Tag,
            5 => Fault::Range,
            _ => Fault::Whole,
        };
        let plan = |times, fault| Planned { on: on.to_owned(), skip: 0, times, fault };
        // Faults of ranges need a part that is here already.
        let first = matches!(fault, Fault::Range | Fault::Whole).then(|| plan(1, Fault::Cut(100)));
        let times = if (number / 14).is_multiple_of(2) { usize::MAX } else { 1 };
        first.into_iter().chain([plan(times, fault)]).collect()
    }
}

/// A fault for requests whose `METHOD path` contains `on`: the first `skip` pass, the next `times` fail.
#[derive(Clone, Debug)]
pub struct Planned {
    pub on: String,
    pub skip: usize,
    pub times: usize,
    pub fault: Fault,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub is_cdn: bool,
    pub line: String,
    pub authorization: Option<String>,
    /// Bytes of the answer's body.
    pub sent: usize,
    pub range: Option<String>,
}

#[derive(Clone, Default)]
pub struct Commit {
    pub id: String,
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    /// Large files, with their SHA-256.
    pub lfs: BTreeMap<String, String>,
}

#[derive(Default)]
pub struct Repository {
    pub commits: Vec<Commit>,
    pub is_private: bool,
    pub is_gated: bool,
    pub is_disabled: bool,
}

#[derive(Default)]
pub struct State {
    pub repositories: BTreeMap<String, Repository>,
    pub objects: BTreeMap<String, Arc<Vec<u8>>>,
    pub parts: BTreeMap<(String, usize), Vec<u8>>,
    pub plan: Vec<Planned>,
    pub seen: Vec<Seen>,
    /// Listings that are sent page by page instead of the right one.
    pub pages: Vec<String>,
    /// Files from this size on are large ones.
    pub large: usize,
    /// A repository to which someone else commits before the next commit.
    pub other: Option<String>,
    /// Size of the parts of multipart uploads; 0 for single ones.
    pub chunk: usize,
    pub hub: String,
    pub cdn: String,
}

/// The two servers. They live as long as the process.
pub struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// Starts both servers.
    pub fn start() -> Fake {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, cdn) = (listen(), listen());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let state = State { hub: address(&hub), cdn: address(&cdn), large: 1000, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().filter_map(Result::ok) {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || wire::serve(stream, is_cdn, &state));
                }
            });
        }
        Fake { state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn endpoint(&self) -> String {
        self.state().hub.clone()
    }

    /// Adds a commit with exactly these files; returns its id.
    pub fn commit(&self, repo: &str, files: &[(&str, &[u8])]) -> String {
        let mut state = self.state();
        let large = state.large;
        let mut commit = Commit::default();
        for (path, bytes) in files {
            let bytes = Arc::new(bytes.to_vec());
            if bytes.len() >= large {
                let oid = sha256(&bytes);
                commit.lfs.insert((*path).to_owned(), oid.clone());
                state.objects.insert(oid, Arc::clone(&bytes));
            }
            commit.files.insert((*path).to_owned(), bytes);
        }
        state.add(repo, commit)
    }

    /// Plans a fault.
    pub fn fail(&self, on: &str, skip: usize, times: usize, fault: Fault) {
        self.state().plan.push(Planned { on: on.to_owned(), skip, times, fault });
    }

    /// Plans several.
    pub fn plan(&self, plans: Vec<Planned>) {
        self.state().plan.extend(plans);
    }

    /// Forgets requests and faults.
    pub fn calm(&self) {
        let mut state = self.state();
        state.plan.clear();
        state.seen.clear();
    }

    /// Requests that contain a text.
    pub fn count(&self, text: &str) -> usize {
        self.state().seen.iter().filter(|seen| seen.line.contains(text)).count()
    }
}

impl State {
    pub fn add(&mut self, repo: &str, mut commit: Commit) -> String {
        let repository = self.repositories.entry(repo.to_owned()).or_default();
        let mut hash = Sha1::new();
        hash.update(format!("{repo} {}", repository.commits.len()));
        for (path, bytes) in &commit.files {
            let content = commit.lfs.get(path).cloned().unwrap_or_else(|| sha256(bytes));
            hash.update(format!("{path} {content}"));
        }
        commit.id = hex(&hash.finalize());
        repository.commits.push(commit.clone());
        commit.id
    }

    /// The fault that this request meets, if any.
    fn fault(&mut self, line: &str) -> Option<Fault> {
        for planned in &mut self.plan {
            if !line.contains(&planned.on) {
                continue;
            }
            if planned.skip > 0 {
                planned.skip -= 1;
                continue;
            }
            if planned.times > 0 {
                planned.times -= 1;
                return Some(planned.fault.clone());
            }
        }
        None
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git_hash(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

pub fn pointer_hash(oid: &str, size: usize) -> String {
    git_hash(
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n").as_bytes(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
