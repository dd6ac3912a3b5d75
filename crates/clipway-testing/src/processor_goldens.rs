//! Checks transformers folders and images against the pixels that transformers computes, bit for bit.
//!
//! `scripts/compare_transformers_pixels.py` writes such a folder and describes its contents.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{SafetensorsFile, TensorFile};
use clipway_model::config::{Backend, PixelRule};
use clipway_model::source::{Source, SourceOptions};
use clipway_run::image::{DecodeLimits, Image, Preprocess, decode, to_pixels, transform};
use serde::Deserialize;

/// The outcome of one folder under one backend.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessorCase {
    /// The folder and the backend, `NAME.torchvision` or `NAME.pil`.
    pub name: String,
    /// Number of images whose pixels were compared.
    pub compared: usize,
    /// Number of images that transformers resizes to another size than the tower's, and clipway refuses.
    pub refused: usize,
    /// The problems, image by image; empty if there are none.
    pub problems: Vec<String>,
}

impl ProcessorCase {
    /// Returns whether anything was compared or refused, without problems.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.compared + self.refused > 0
    }
}

#[derive(Deserialize)]
struct Manifest {
    images: Vec<String>,
    /// Folders that the torchvision backend refuses.
    left_out: Vec<String>,
}

/// Checks every folder of `folder/folders` on the images of `images`.
///
/// # Errors
/// If a manifest, an image or a folder cannot be read, or a manifest has no images or folders: comparing nothing is a
/// failure.
pub fn check_processor_goldens(folder: &Path, images: &Path) -> Result<Vec<ProcessorCase>, String> {
    let said = |path: &Path, error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let path = folder.join("manifest.json");
    let text = fs::read(&path).map_err(|error| said(&path, &error))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| said(&path, &error))?;
    let mut decoded = Vec::new();
    for name in &manifest.images {
        let path = images.join(name);
        let bytes = fs::read(&path).map_err(|error| said(&path, &error))?;
        decoded.push((name.as_str(), decode(&bytes, &DecodeLimits::default()).map_err(|e| e.to_string())));
    }
    let path = folder.join("folders");
    let entries = fs::read_dir(&path).map_err(|error| said(&path, &error))?;
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|e| said(&path, &e))?;
    folders.sort();
    if folders.is_empty() || decoded.is_empty() {
        return Err(format!("`{}` holds no folders or no images", folder.display()));
    }
    let mut cases = Vec::new();
    for source in folders {
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (backend, suffix) in [(Backend::Torchvision, "torchvision"), (Backend::Pillow, "pil")] {
            if backend == Backend::Torchvision && manifest.left_out.contains(&name) {
                continue;
            }
            let expected = folder.join("expected").join(format!("{name}.safetensors"));
            let mut case = ProcessorCase {
                name: format!("{name}.{suffix}"),
                compared: 0,
                refused: 0,
                problems: Vec::new(),
            };
            if let Err(problem) = compare(&mut case, &source, &expected, (backend, suffix), &decoded) {
                case.problems.push(problem);
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

/// Compares the images of one folder under one backend.
fn compare(
    case: &mut ProcessorCase,
    source: &Path,
    expected: &Path,
    (backend, suffix): (Backend, &str),
    images: &[(&str, Result<Image, String>)],
) -> Result<(), String> {
    let source = Source::resolve(source, &SourceOptions::default()).map_err(|error| error.to_string())?;
    let mut preprocess = Preprocess::from(&source.config().preprocess());
    let PixelRule::Transformers(processor) = &mut preprocess.rule else {
        return Err("the folder's pixels differ from its processor's".to_owned());
    };
    processor.backend = backend;
    let expected = Expected::open(expected)?;
    let mut found = vec![0.0; preprocess.pixel_values()];
    for (number, (name, image)) in images.iter().enumerate() {
        let image = image.as_ref().map_err(|error| format!("{name}: {error}"))?;
        let result =
            transform(image, &preprocess).and_then(|image| to_pixels(&image, &preprocess, &mut found));
        match (result, expected.read(&format!("{number}.{suffix}"))?) {
            (Err(_), None) => case.refused += 1,
            (Ok(()), None) => {
                case.problems.push(format!("{name}: transformers has no pixels of the tower's size"))
            }
            (Err(error), Some(_)) => case.problems.push(format!("{name}: {error}")),
            (Ok(()), Some(pixels)) => {
                case.compared += 1;
                case.problems.extend(difference(&found, &pixels).map(|said| format!("{name}: {said}")));
            }
        }
    }
    Ok(())
}

/// The stored pixels of a folder.
struct Expected {
    file: SafetensorsFile,
}

impl Expected {
    fn open(path: &Path) -> Result<Expected, String> {
        let said = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
        let bytes: Vec<u8> = fs::read(path).map_err(|error| said(&error))?;
        let file = SafetensorsFile::open(Arc::new(bytes)).map_err(|error| said(&error))?;
        Ok(Expected { file })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        let Some(index) = self.file.tensors().iter().position(|tensor| tensor.name == name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.file.read(index, &mut bytes).map_err(|error| error.to_string())?;
        Ok(Some(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()))
    }
}

/// Describes a bitwise difference, if there is one.
fn difference(found: &[f32], expected: &[f32]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} values, expected {}", found.len(), expected.len()));
    }
    let pairs = || found.iter().zip(expected);
    let differing = pairs().filter(|(found, expected)| found.to_bits() != expected.to_bits()).count();
    // Compared by bits, so that NaN is noticed.
    let largest = pairs().map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    (differing > 0).then(|| format!("{differing} of {} values differ, by up to {largest}", found.len()))
}
