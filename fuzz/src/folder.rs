//! A folder with a checkpoint, for readers that look at files beside the weights.

use std::fs;
use std::path::Path;

use clipway_formats::{SafetensorsLayout, TensorInfo};
use tempfile::TempDir;

/// A temporary folder that lives as long as the process.
pub struct Scratch(TempDir);

impl Scratch {
    /// Creates an empty folder.
    ///
    /// # Panics
    /// If the system refuses: the run cannot continue.
    pub fn new() -> Scratch {
        Scratch(TempDir::new().expect("a temporary folder"))
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a small file.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("a file can be written");
    }

    /// Writes `model.safetensors` with these tensors, all zeros, as a sparse file.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn write_zeros(&self, layout: &SafetensorsLayout) {
        let path = self.path().join("model.safetensors");
        fs::write(&path, layout.header_bytes()).expect("a file can be written");
        let file = fs::File::options().write(true).open(&path).expect("a file can be opened");
        file.set_len(layout.file_size()).expect("a file with holes");
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

/// Parses tensors from lines of text: a name, then the lengths of its dimensions.
pub fn infos_of(text: &str, dtype: clipway_formats::Dtype) -> Vec<TensorInfo> {
    let info = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let shape = words.map(|word| word.parse().ok()).collect::<Option<Vec<usize>>>()?;
        Some(TensorInfo { name, dtype, shape })
    };
    text.lines().filter_map(info).collect()
}
