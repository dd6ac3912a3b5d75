//! A fake hub, and a client with an empty cache.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clipway_hub::{Hub, HubError, Pulled, Quiet, RepoName, Settings, Token};
use tempfile::TempDir;

use crate::fake::{Fake, TOKEN};

/// Name of the repository in these tests.
pub const REPO: &str = "me/model";

pub struct Scene {
    pub fake: Fake,
    pub folder: TempDir,
}

impl Scene {
    pub fn new(files: &[(&str, &[u8])]) -> Scene {
        let scene = Scene { fake: Fake::start(), folder: tempfile::tempdir().unwrap() };
        scene.fake.commit(REPO, files);
        scene
    }

    pub fn settings(&self) -> Settings {
        Settings {
            endpoint: self.fake.endpoint(),
            cache: self.folder.path().join("cache"),
            token: Token::new(TOKEN).unwrap(),
            offline: false,
            timeout: Duration::from_millis(1500),
            pause: Duration::from_millis(2),
            second: Duration::from_millis(1),
            agent: "test".to_owned(),
        }
    }

    pub fn hub(&self) -> Hub {
        Hub::new(self.settings(), Arc::new(Quiet)).unwrap()
    }

    pub fn offline(&self) -> Hub {
        Hub::new(Settings { offline: true, ..self.settings() }, Arc::new(Quiet)).unwrap()
    }

    /// Pulls every file.
    pub fn pull(&self) -> Result<Pulled, HubError> {
        pull_with(&self.hub())
    }

    /// Pulls every file, and waits no longer than this for a byte.
    pub fn pull_within(&self, timeout: Duration) -> Result<Pulled, HubError> {
        pull_with(&Hub::new(Settings { timeout, ..self.settings() }, Arc::new(Quiet)).unwrap())
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("cache/models--me--model")
    }

    /// Asserts that every blob in the cache has the content that its name says.
    pub fn check_cache(&self) {
        let damaged = self.hub().cache().damaged(&repo()).unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
    }
}

pub fn repo() -> RepoName {
    RepoName::parse(REPO).unwrap()
}

pub fn pull_with(hub: &Hub) -> Result<Pulled, HubError> {
    let tree = hub.tree(&repo(), "main")?;
    let paths: Vec<&str> = tree.files.keys().map(String::as_str).collect();
    hub.pull(&repo(), &tree, &paths)
}

/// Bytes that depend on `seed`, never compressible into a pattern.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}
