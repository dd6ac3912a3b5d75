//! A fake hub with one large file, and the program as a process.
#![expect(clippy::disallowed_methods, reason = "files of a proof")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fake::{Fake, TOKEN};

pub const REPO: &str = "me/model";
pub const FILE: &str = "model.safetensors";

pub struct Bench {
    pub fake: Fake,
    pub bytes: Arc<Vec<u8>>,
    program: PathBuf,
    folder: TempDir,
}

/// How a process ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub time: Duration,
    /// Most memory that it had, in bytes.
    pub memory: u64,
}

impl Bench {
    pub fn new(program: &str, size: usize) -> Result<Bench, String> {
        let program = Path::new(program).canonicalize().map_err(|error| format!("{program}: {error}"))?;
        let fake = Fake::start();
        let bytes = random(size);
        fake.commit(REPO, &[(FILE, &bytes)]);
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Bench { fake, bytes: Arc::new(bytes), program, folder })
    }

    /// The repository's folder in the cache.
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("hub/models--me--model")
    }

    /// A file beside the cache.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Forgets the cache and what was asked.
    pub fn fresh(&self) {
        let _ = fs::remove_dir_all(self.folder.path().join("hub"));
        self.fake.calm();
    }

    /// Starts a pull; its output is read when it ended.
    pub fn pull(&self) -> Result<Child, String> {
        let mut command = Command::new(&self.program);
        command.args(["pull", REPO, "--json"]).env("HF_ENDPOINT", self.fake.endpoint());
        command.env("HF_HUB_CACHE", self.folder.path().join("hub")).env("HF_TOKEN", TOKEN);
        for name in ["HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| error.to_string())
    }

    /// Waits for a process, and watches its memory.
    pub fn end(&self, mut child: Child) -> Result<Ended, String> {
        let start = Instant::now();
        let status = PathBuf::from(format!("/proc/{}/status", child.id()));
        let mut memory = 0;
        let code = loop {
            memory = memory.max(peak(&status));
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status.code(),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
            if start.elapsed() > Duration::from_secs(300) {
                let _ = child.kill();
            }
        };
        let time = start.elapsed();
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended { code, stdout: text(output.stdout), stderr: text(output.stderr), time, memory })
    }

    /// Bytes of files that were sent since the last calm.
    pub fn sent(&self) -> usize {
        let state = self.fake.state();
        state.seen.iter().filter(|seen| seen.line.contains("/object/")).map(|seen| seen.sent).sum()
    }

    /// Bytes of partial files in the cache.
    pub fn partial(&self) -> usize {
        let entries = fs::read_dir(self.repository().join("blobs")).into_iter().flatten().flatten();
        let partial = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".incomplete"));
        partial.filter_map(|entry| entry.metadata().ok()).map(|data| data.len() as usize).sum()
    }

    /// Checks that a pull that ended left the right file, and nothing partial.
    pub fn check_whole(&self, ended: &Ended) -> Result<(), String> {
        if ended.code != Some(0) {
            return Err(format!("a pull ended with {:?}: {}", ended.code, ended.stderr));
        }
        let json: serde_json::Value =
            serde_json::from_str(&ended.stdout).map_err(|error| error.to_string())?;
        let file = Path::new(json["folder"].as_str().unwrap_or_default()).join(FILE);
        let found = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        if found != **self.bytes || self.partial() != 0 {
            return Err(format!("another file, or {} bytes of partial ones left", self.partial()));
        }
        Ok(())
    }
}

/// The most memory that a process had so far, in bytes.
fn peak(status: &Path) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes without a pattern.
pub fn random(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
