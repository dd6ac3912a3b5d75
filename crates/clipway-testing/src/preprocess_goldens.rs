//! Checks preprocessing against a folder of images and the crops that open_clip makes of them.
//!
//! The folder holds `manifest.json` (`configs` by name, and `cases` of an image, a config and an expected file), the
//! images in `images/` and the expected RGB crops as PNG in `expected/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clipway_run::image::{
    ColorMode, DecodeLimits, Interpolation, Preprocess, ResizeMode, RgbImage, Samples, decode, to_pixels,
    transform,
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The outcome of one case of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct PreprocessCase {
    /// Image and config name, `image.config`.
    pub name: String,
    /// Whether every byte of the crop, the file's mode and the normalized means match.
    pub passed: bool,
    /// The largest difference between two bytes.
    pub largest: u8,
    /// The fraction of bytes that differ, 0 to 1.
    pub share: f64,
    /// Why the case failed; empty if it passed.
    pub reason: String,
}

/// Why a folder could not be checked at all.
#[derive(Debug, Error)]
pub enum PreprocessGoldensError {
    /// The manifest cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The manifest has an unexpected shape.
    #[error("`{path}`: {source}")]
    Manifest {
        /// The file.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The manifest lists no cases: comparing nothing is a failure.
    #[error("`{path}` lists no case")]
    Empty {
        /// The file.
        path: String,
    },
}

#[derive(Deserialize)]
struct Manifest {
    configs: Configs,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    image: String,
    config: String,
    /// The mode in which Pillow reads the file.
    mode: Option<String>,
    /// Width and height of the file.
    size: Option<[usize; 2]>,
    expected: String,
    /// The mean of each channel after normalization.
    mean: Option<[f64; 3]>,
}

/// Tolerance for the mean of normalized pixels against PyTorch, which sums in `f32`.
const MEAN_TOLERANCE: f64 = 1e-4;

/// Checks every case of a folder.
///
/// A case passes if every byte of the crop, the mode of the file and the mean of the normalized pixels match. A case or
/// config with an unknown key fails, and so does a file that cannot be read.
///
/// # Errors
/// [`PreprocessGoldensError`] if there is no manifest, or it has no cases.
pub fn check_preprocess_goldens(folder: &Path) -> Result<Vec<PreprocessCase>, PreprocessGoldensError> {
    let path = folder.join("manifest.json");
    let shown = path.display().to_string();
    let text =
        fs::read(&path).map_err(|source| PreprocessGoldensError::Read { path: shown.clone(), source })?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|source| PreprocessGoldensError::Manifest { path: shown.clone(), source })?;
    if manifest.cases.is_empty() {
        return Err(PreprocessGoldensError::Empty { path: shown });
    }
    Ok(manifest.cases.iter().map(|case| check_case(folder, &manifest.configs, case)).collect())
}

/// Configs by name, each with its values by key.
type Configs = BTreeMap<String, BTreeMap<String, Value>>;

fn check_case(folder: &Path, configs: &Configs, case: &Value) -> PreprocessCase {
    let said = |key: &str| case[key].as_str().unwrap_or("?").to_owned();
    let name = format!("{}.{}", said("image"), said("config"));
    let case = Case::deserialize(case).map_err(|error| format!("the case is not understood: {error}"));
    match case.and_then(|case| compare(folder, configs, &case)) {
        Ok(Difference { largest, share, reason }) => {
            PreprocessCase { name, passed: reason.is_empty(), largest, share, reason }
        }
        Err(reason) => PreprocessCase { name, passed: false, largest: u8::MAX, share: 1.0, reason },
    }
}

struct Difference {
    largest: u8,
    share: f64,
    reason: String,
}

fn compare(folder: &Path, configs: &Configs, case: &Case) -> Result<Difference, String> {
    let config = configs.get(&case.config).ok_or("its config is not in the manifest")?;
    let preprocess = read_config(config)?;
    let read = |folder_name: &str, file: &str| {
        fs::read(folder.join(folder_name).join(file))
            .map_err(|error| format!("{folder_name}/{file}: {error}"))
    };
    let limits = DecodeLimits::default();
    let image = decode(&read("images", &case.image)?, &limits).map_err(|error| error.to_string())?;
    let found = transform(&image, &preprocess).map_err(|error| error.to_string())?;
    let expected = decode(&read("expected", &case.expected)?, &limits).map_err(|error| error.to_string())?;
    let Samples::Rgb(bytes) = &expected.samples else {
        return Err(format!("expected/{} is not RGB", case.expected));
    };
    if (found.width, found.height) != (expected.width, expected.height) {
        return Err(format!(
            "{} x {}, expected {} x {}",
            found.width, found.height, expected.width, expected.height
        ));
    }
    let differences = || found.data.iter().zip(bytes).map(|(a, b)| a.abs_diff(*b));
    let largest = differences().max().unwrap_or(0);
    let differing = differences().filter(|&difference| difference > 0).count();
    let share = differing as f64 / bytes.len() as f64;
    let mut reasons = Vec::new();
    if differing > 0 {
        reasons.push(format!("{differing} of {} bytes differ", bytes.len()));
    }
    if let Some(mode) = case.mode.as_deref().filter(|&mode| mode != image.mode()) {
        reasons.push(format!("read in mode {}, expected {mode}", image.mode()));
    }
    let size = [image.width, image.height];
    if let Some(expected) = case.size.filter(|&expected| expected != size) {
        reasons.push(format!("read as {size:?} pixels, expected {expected:?}"));
    }
    if let Some(mean) = case.mean {
        reasons.extend(check_mean(&found, &preprocess, mean)?);
    }
    Ok(Difference { largest, share, reason: reasons.join("; ") })
}

/// Compares the mean of each channel after normalization.
fn check_mean(
    image: &RgbImage,
    preprocess: &Preprocess,
    expected: [f64; 3],
) -> Result<Option<String>, String> {
    let mut pixels = vec![0.0; preprocess.pixel_values()];
    to_pixels(image, preprocess, &mut pixels).map_err(|error| error.to_string())?;
    let plane = pixels.len() / 3;
    let means: Vec<f64> = pixels
        .chunks_exact(plane)
        .map(|channel| channel.iter().copied().map(f64::from).sum::<f64>() / plane as f64)
        .collect();
    // Written so that NaN fails.
    let close =
        means.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= MEAN_TOLERANCE);
    Ok((!close).then(|| format!("normalized means {means:?}, expected {expected:?}")))
}

/// Reads a config in the form of open_clip's `preprocess_cfg`; an unknown key is an error.
fn read_config(config: &BTreeMap<String, Value>) -> Result<Preprocess, String> {
    let mut preprocess = Preprocess::default();
    for (key, value) in config {
        let wrong = || format!("config: `{key}`: {value} is not understood");
        let three = || {
            let values: [f32; 3] = serde_json::from_value(value.clone()).map_err(|_| wrong())?;
            Ok::<_, String>(values)
        };
        match key.as_str() {
            "size" => {
                preprocess.size = match value.as_u64() {
                    Some(side) => (side as usize, side as usize),
                    None => serde_json::from_value(value.clone()).map_err(|_| wrong())?,
                }
            }
            "mode" if value == "RGB" => preprocess.mode = ColorMode::Rgb,
            "mean" => preprocess.mean = three()?,
            "std" => preprocess.std = three()?,
            "interpolation" => {
                preprocess.interpolation = match value.as_str() {
                    Some("bicubic" | "random") => Interpolation::Bicubic,
                    Some("bilinear") => Interpolation::Bilinear,
                    _ => return Err(wrong()),
                }
            }
            "resize_mode" => {
                preprocess.resize_mode = match value.as_str() {
                    Some("shortest") => ResizeMode::Shortest,
                    Some("longest") => ResizeMode::Longest,
                    Some("squash") => ResizeMode::Squash,
                    _ => return Err(wrong()),
                }
            }
            "fill_color" => {
                preprocess.fill_color =
                    value.as_u64().and_then(|fill| fill.try_into().ok()).ok_or_else(wrong)?;
            }
            _ => return Err(wrong()),
        }
    }
    Ok(preprocess)
}
