//! `clipway index import`: an index of features that another program made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use clipway_formats::{shown, shown_path};
use clipway_model::input::{self, Kind};
use clipway_run::clip::Clip;
use clipway_run::encoder::normalize;
use clipway_run::image::preprocess;
use clipway_search::{Index, IndexError, Item, NewIndex, import};
use sha2::{Digest, Sha256};

use super::index::load_images;
use crate::failure::Failure;
use crate::images::ImageOptions;
use crate::options::RunArguments;
use crate::searching::{BackendOption, Columns, FeatureFiles, FeatureSource, index_failure, same_space};
use crate::source::clip_failure;
use crate::source_name::SourceName;
use crate::text::counted;
use crate::ui::Ui;

/// Most images that are embedded and compared.
const MOST_COMPARED: usize = 20;

/// Most rows that are looked at for such images.
const MOST_PROBED: usize = 1000;

/// Least cosine of an imported feature with the model's: that of a twin with int8 weights.
const LEAST_COSINE: f32 = 0.98;

/// Rows between two commits, which bound the memory of the database.
const COMMIT_ROWS: usize = 1 << 16;

/// Write a new index of features that another program made with the same model
#[derive(Args)]
pub struct ImportArguments {
    /// The features: a folder in clip-retrieval's layout or of Parquet tables, `.parquet`, `.npy`, or the `.safetensors` of
    /// `clipway embed` or `index export`
    #[arg(value_name = "SOURCE")]
    source: PathBuf,

    /// The new index
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The model that made the features: an exported folder or another source
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "",
        hide_default_value = true,
        required_unless_present = "space_of"
    )]
    model: SourceName,

    /// An index of the same model, instead of `--model`
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    space_of: Option<PathBuf>,

    /// The files of the rows, in order, instead of those that the source names: a path in each line, or in a `.jsonl` an
    /// object with `image_path`, `file` or `path`
    #[arg(long, value_name = "FILE")]
    paths: Option<PathBuf>,

    #[command(flatten)]
    columns: Columns,

    #[command(flatten)]
    images: ImageOptions,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    backend: BackendOption,
}

impl ImportArguments {
    /// The model, which may be on the Hub: the one that is given, or the one that the other index names.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        if let Some(other) = self.space_of.as_ref().filter(|_| self.model.is_empty()) {
            let index = Index::open(other).map_err(|error| index_failure(&error))?;
            let Some(model) = index.model() else {
                let message = format!("`{}` names no model", shown_path(other));
                return Err(Failure::could_not_run("missing", message).hint("pass `--model` instead"));
            };
            self.model = SourceName::from(model.as_os_str().to_owned());
        }
        Ok(vec![&mut self.model])
    }

    /// Writes the index.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let loaded = load_images(&self.model, &self.images, &self.run, &self.backend, ui)?;
        let files =
            FeatureFiles { source: &self.source, paths: self.paths.as_deref(), columns: &self.columns };
        let source = FeatureSource::open(&files, loaded.clip.embed_dim())?;
        let space = match &self.space_of {
            None => loaded.new_space()?,
            Some(path) => same_space(path, &loaded)?,
        };
        let samples = self.samples(&source.paths, &loaded.clip)?;
        if samples.is_empty() {
            ui.warn("none of the files can be read here, so no feature was compared with the model's");
        }
        let model = std::path::absolute(&*self.model).unwrap_or_else(|_| self.model.to_path_buf());
        let new = NewIndex { space, model: Some(model) };
        let from = std::path::absolute(&self.source).unwrap_or_else(|_| self.source.clone());
        let bar = ui.progress(source.paths.len() as u64, "rows", false);
        let mut worst = 1.0_f32;
        let filled = import(&self.out, new, from, |writer| {
            source
                .visit(|number, feature| {
                    if let Some(own) = samples.get(&number) {
                        let cosine = cosine(own, feature);
                        if !cosine.is_nan() && cosine < LEAST_COSINE {
                            return Err(not_the_models(&source.paths[number], cosine));
                        }
                        worst = worst.min(cosine);
                    }
                    let path = stored(&source.paths[number]);
                    let known = writer.item(&path).map_err(|error| index_failure(&error))?;
                    if known.is_some() {
                        let (path, reason) = (source.paths[number].clone(), "the path belongs to two rows");
                        return Err(index_failure(&IndexError::BadItem { path, reason }));
                    }
                    let item = clipway_index::describe(&path).unwrap_or_else(|| unseen(&path));
                    writer.put(&path, &item, Some(feature)).map_err(|error| index_failure(&error))?;
                    if (number + 1) % COMMIT_ROWS == 0 {
                        writer.commit().map_err(|error| index_failure(&error))?;
                    }
                    bar.inc(1);
                    Ok(())
                })
                .map_err(Refused)
        });
        bar.finish_and_clear();
        let info = filled.map_err(|Refused(failure)| failure)?;
        if ui.json() {
            let compared = (!samples.is_empty()).then_some(worst);
            ui.data_json(&serde_json::json!({
                "index": info.path, "rows": info.rows, "files": info.items,
                "compared": samples.len(), "worst_cosine": compared,
            }))?;
        } else {
            let mut text = format!("`{}`: {}\n", shown_path(&self.out), counted(info.items as usize, "file"));
            if !samples.is_empty() {
                let images = counted(samples.len(), "image");
                text.push_str(&format!("{images} compared with the model: worst cosine {worst:.6}\n"));
            }
            ui.data(&text)?;
        }
        Ok(true)
    }

    /// The model's features of some of the files, spread over the rows, by the number of the row.
    fn samples(&self, paths: &[String], clip: &Clip) -> Result<BTreeMap<usize, Vec<f32>>, Failure> {
        let (mut samples, mut probed) = (BTreeMap::new(), BTreeSet::new());
        for row in spread(paths.len()).take(MOST_PROBED).chain(0..paths.len().min(MOST_PROBED)) {
            if samples.len() == MOST_COMPARED {
                break;
            }
            if !probed.insert(row) {
                continue;
            }
            let Ok(bytes) = input::read(Path::new(&paths[row]), Kind::Image) else { continue };
            let mut pixels = vec![0.0; clip.pixel_values()];
            if preprocess(&bytes, clip.preprocess(), &self.images.limits(), &mut pixels).is_ok() {
                let feature = clip.encode_pixels(&pixels).map_err(|error| clip_failure(&error))?;
                samples.insert(row, feature);
            }
        }
        Ok(samples)
    }
}

/// A failure within an import.
struct Refused(Failure);

impl From<IndexError> for Refused {
    fn from(error: IndexError) -> Refused {
        Refused(index_failure(&error))
    }
}

/// Rows from all over a table, each start of the sequence evenly: multiples of the golden ratio.
fn spread(rows: usize) -> impl Iterator<Item = usize> {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    (0..).map(move |number: u64| ((u128::from(number.wrapping_mul(STEP)) * rows as u128) >> 64) as usize)
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let (mut one, mut other) = (one.to_vec(), other.to_vec());
    let width = one.len();
    normalize(&mut one, width);
    normalize(&mut other, width);
    one.iter().zip(&other).map(|(one, other)| one * other).sum()
}

fn not_the_models(path: &str, cosine: f32) -> Failure {
    let message = format!(
        "the imported feature of `{}` is not the model's: expected a cosine of at least {LEAST_COSINE}, found {cosine:.4}",
        shown(path)
    );
    Failure::no("other-space", message).hint(
        "pass the model that the features were made with; check that the paths are in the order of the rows",
    )
}

/// The path in the index: absolute if the file is here, else as it was given.
fn stored(path: &str) -> PathBuf {
    let given = Path::new(path);
    match std::path::absolute(given) {
        Ok(absolute) if given.is_file() => absolute,
        _ => given.to_owned(),
    }
}

/// What is known of a file that is not here. Its hash is one of its path, so that it has a row of its own.
fn unseen(path: &Path) -> Item {
    let named = format!("path of an imported feature: {}", path.to_string_lossy());
    Item { hash: Sha256::digest(named).into(), ..Item::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_from_the_start() {
        let first: BTreeSet<usize> = spread(1000).take(20).map(|row| row / 100).collect();
        assert_eq!(first.len(), 10, "each tenth of the table");
        assert!(spread(3).take(1000).all(|row| row < 3));
    }

    #[test]
    fn cosines_do_not_depend_on_lengths() {
        assert!((cosine(&[3.0, 4.0], &[6.0, 8.0]) - 1.0).abs() < 1e-6);
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5_f32.sqrt()).abs() < 1e-6);
    }
}
