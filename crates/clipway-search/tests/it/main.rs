//! Indices as a user of the library sees them.

// Tests damage files on purpose.
#![allow(clippy::disallowed_methods)]

mod checks;
mod crashes;
mod damage;
mod duplicates;
mod exchange;
mod items;
mod searches;

use std::path::{Path, PathBuf};

use clipway_run::engine::Processor;
use clipway_run::space::{SPACE_VERSION, Space, SpacePrecision};
use clipway_search::{Index, IndexError, Item, NewIndex, Writer};

/// A space without towers.
fn space(width: usize) -> Space {
    Space {
        version: SPACE_VERSION,
        fingerprint: "0123456789abcdef".to_owned(),
        width,
        model: Some("a-model".to_owned()),
        source: "a-model".to_owned(),
        precision: SpacePrecision::F32,
        image: None,
        text: None,
    }
}

/// A new, empty index in a temporary folder.
fn new_index(width: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index");
    Index::create(&path, NewIndex { space: space(width), model: None }).expect("created");
    (folder, path)
}

/// Numbers below 1 in a fixed sequence.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f32) as usize % bound
    }

    fn feature(&mut self, width: usize) -> Vec<f32> {
        (0..width).map(|_| self.next() + self.next() - 1.0).collect()
    }
}

/// The item of a readable file; its number gives the hash.
fn item(number: usize) -> Item {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    Item { hash, size: number as u64, width: 640, height: 480, ..Item::default() }
}

fn name(number: usize) -> PathBuf {
    PathBuf::from(format!("images/{number:06}.jpg"))
}

/// Adds files `0..features.len() / width`, and commits.
fn fill(path: &Path, features: &[f32]) {
    let mut writer = Writer::open(path).expect("opened");
    let width = writer.width();
    for (number, feature) in features.chunks_exact(width).enumerate() {
        let row = writer.put(&name(number), &item(number), Some(feature)).expect("put");
        assert_eq!(row, Some(number as u64));
    }
    writer.commit().expect("committed");
}

fn processor(threads: usize) -> Processor {
    Processor::with_threads(threads).expect("threads")
}

fn code<T>(result: Result<T, IndexError>) -> &'static str {
    match result {
        Ok(_) => "no error",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.code()
        }
    }
}
