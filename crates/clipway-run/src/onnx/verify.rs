//! Verification of ONNX graphs: run from their files, by a runtime that is not the engine.

use std::path::Path;

use clipway_formats::{Dtype, shown_path};
use clipway_model::artifact::{QuantizationLoss, Report, Stage, Tolerance};
use clipway_model::plan::Towers;
use clipway_model::source::Source;
use clipway_model::spelling::onnx::Classifier;

use super::error::OnnxFolderError;
use super::folder::OnnxFolder;
use super::runtime::OnnxRuntime;
use super::watch::{LIMIT, NEAR, Peak};
use crate::clip::Clip;
use crate::encoder::normalize;
use crate::load::LoadOptions;
use crate::quantize::loss;
use crate::verify::{Inputs, Outputs, Rows, RuleDifference, TextDifference, compare_rows, probes, report};
use crate::zero_shot::Classifier as Scores;

/// Images, and texts, on which activations in f16 are watched.
const WATCHED: usize = 4;

/// Lengths that are this near 1 are 1.
const UNIT: f32 = 2e-3;

/// How graphs are compared with the source that they were made of.
pub struct OnnxVerification<'a> {
    /// Images and texts.
    pub inputs: &'a Inputs,
    /// How the source is loaded.
    pub load: LoadOptions,
}

impl OnnxVerification<'_> {
    /// Runs the source by the engine and the graphs by the other runtime, at batch 1, 2 and 7 in turn, and compares
    /// them. Each side reads images and texts by its own files.
    ///
    /// # Errors
    /// A side that cannot be loaded or run. Differences are no errors: they are in the report.
    pub fn run(&self, folder: &OnnxFolder, source: &Source) -> Result<Report, OnnxFolderError> {
        let name = source.path().file_name().unwrap_or(source.path().as_os_str()).to_string_lossy();
        let blocks = self.load.blocks
            && folder.graphs.iter().any(|graph| graph.towers.iter().any(|ports| !ports.blocks.is_empty()));
        let rule = source.config().preprocess().rule;
        let own = folder.contract.as_ref().map_or(rule.clone(), |contract| contract.config.preprocess().rule);
        // One side after the other, so that their weights are not in memory at once.
        let (mut expected, differences, logits) = {
            let towers = Some(folder.towers()).filter(|towers| *towers != Towers::Both);
            let clip = Clip::load(source, &LoadOptions { towers, blocks, ..self.load.clone() })?;
            // What the rules cost is no fault of the graphs, and their user must know it.
            let pixels = RuleDifference::of(&clip, self.inputs, [rule.clone(), own])?;
            let library =
                folder.contract.as_ref().map(|contract| contract.tokenizer()).transpose()?.flatten();
            let texts = match library.filter(|_| clip.has_text_tower()) {
                Some(library) => TextDifference::of(&clip, self.inputs, &library)?,
                None => None,
            };
            let differences = [pixels.map(|pixels| pixels.to_string()), texts.map(|texts| texts.to_string())];
            let logits = (clip.logit_scale(), clip.logit_bias());
            let outputs = Outputs::compute(&format!("`{name}`"), &clip, self.inputs, blocks)?;
            (outputs, differences, logits)
        };
        let clip = folder.load_with(source.tower(), logits)?.with_pixel_rule(rule);
        let found = Outputs::compute(&subject(folder), &clip, self.inputs, blocks)?;
        expected.inputs.push_str(&format!(", run by {} at batch 1, 2 and 7", folder.runtime.describe()));
        let pairs = [
            (&mut expected.image_features, &found.image_features),
            (&mut expected.text_features, &found.text_features),
        ];
        for (expected, found) in pairs {
            if let (Some(expected), Some(found)) = (expected, found)
                && is_unit(found)
            {
                normalize(&mut expected.values, expected.width);
            }
        }
        let mut report = report(&expected, &found, &tolerance(folder));
        report.notes.extend(differences.into_iter().flatten());
        if folder.has(Dtype::F16) {
            report.notes.extend(self.watched(folder, &clip)?);
        }
        Ok(report)
    }

    /// Runs the graphs in f16 again and looks at every value that they compute; notes where one comes near the largest
    /// f16.
    fn watched(&self, folder: &OnnxFolder, clip: &Clip) -> Result<Vec<String>, OnnxFolderError> {
        let (mut pixels, mut ids) = (Vec::new(), Vec::new());
        if clip.has_image_tower() {
            for (name, image) in self.inputs.images.iter().take(WATCHED) {
                pixels.extend(clip.pixels(name, image)?);
            }
        }
        if clip.has_text_tower() {
            let texts = &self.inputs.texts[..self.inputs.texts.len().min(WATCHED)];
            ids = match clip.has_tokenizer() {
                true => clip.tokens(texts)?.ids,
                false => probes::token_ids(texts.len(), clip.text_input()?),
            };
        }
        let mut notes = Vec::new();
        for Peak { path, node, largest } in folder.peaks(&pixels, &ids)? {
            if largest > LIMIT {
                return Err(OnnxFolderError::Overflow { path, node, largest });
            }
            if largest > NEAR {
                notes.push(format!(
                    "node `{node}` of `{}` computes up to {largest} on the verification's inputs, and the largest f16 is \
                     {LIMIT}",
                    shown_path(path.file_name().map(Path::new).unwrap_or(&path))
                ));
            }
        }
        Ok(notes)
    }

    /// What graphs in int8 cost beside the source, on other inputs than those of the comparison.
    ///
    /// # Errors
    /// A side that cannot be loaded or run.
    pub fn loss(
        &self,
        folder: &OnnxFolder,
        source: &Source,
        inputs: &Inputs,
    ) -> Result<QuantizationLoss, OnnxFolderError> {
        let rule = source.config().preprocess().rule;
        let (expected, logits) = {
            let towers = Some(folder.towers()).filter(|towers| *towers != Towers::Both);
            let clip = Clip::load(source, &LoadOptions { towers, blocks: false, ..self.load.clone() })?;
            let logits = (clip.logit_scale(), clip.logit_bias());
            (Outputs::compute("the source", &clip, inputs, false)?, logits)
        };
        let clip = folder.load_with(source.tower(), logits)?.with_pixel_rule(rule);
        Ok(loss(&expected, &Outputs::compute("the graphs", &clip, inputs, false)?))
    }

    /// Compares each classifier of a folder with what the source makes of the labels and prompts that the graph states.
    ///
    /// # Errors
    /// A side that cannot be loaded or run, and a graph that does not state its labels and prompts.
    pub fn classifiers(&self, folder: &OnnxFolder, source: &Source) -> Result<Vec<Stage>, OnnxFolderError> {
        let graphs = folder.classifiers()?;
        if graphs.is_empty() {
            return Ok(Vec::new());
        }
        let clip = Clip::load(source, &LoadOptions { blocks: false, ..self.load.clone() })?;
        let made = graphs.iter().map(|graph| {
            let [labels, templates] = ["labels", "templates"].map(|key| texts_of(graph, key));
            classifier_of(&clip, labels?, templates?)
        });
        let made = made.collect::<Result<Vec<_>, OnnxFolderError>>()?;
        drop(clip);
        graphs.iter().zip(&made).map(|(graph, made)| self.classifier(graph, source, made)).collect()
    }

    /// Runs a classifier's graph, and compares its logits of the images with those of the engine's features; gives the
    /// stage.
    ///
    /// # Errors
    /// A side that cannot be loaded or run.
    pub fn classifier(
        &self,
        graph: &OnnxFolder,
        source: &Source,
        classifier: &Classifier,
    ) -> Result<Stage, OnnxFolderError> {
        let clip = Clip::load(source, &LoadOptions { towers: Some(Towers::Image), ..self.load.clone() })?;
        let mut pixels = Vec::new();
        for (name, image) in &self.inputs.images {
            pixels.extend(clip.pixels(name, image)?);
        }
        let features = clip.encode_pixels(&pixels)?;
        let Classifier { features: classes, scale, bias, .. } = classifier;
        let classifier = Scores::new(classes, 1, clip.embed_dim(), *scale, Some(*bias));
        let expected: Vec<f32> =
            features.chunks_exact(clip.embed_dim()).flat_map(|image| classifier.logits(image)).collect();
        let graphs = graph.load(Towers::Image)?;
        let found = graphs.encode_pixels(&pixels)?;
        let width = graphs.embed_dim();
        let rows = |values| Rows { values, width };
        Ok(compare_rows("classifier's logits", &rows(expected), &rows(found), &tolerance(graph)))
    }
}

/// The classifier of labels that a model's texts make.
///
/// # Errors
/// A prompt without a place for the label, and texts that the model refuses.
pub fn classifier_of(
    clip: &Clip,
    labels: Vec<String>,
    templates: Vec<String>,
) -> Result<Classifier, OnnxFolderError> {
    let features = clip.classifier(&labels, &templates)?.classes().to_vec();
    let (scale, bias) = (clip.logit_scale(), clip.logit_bias().unwrap_or(0.0));
    Ok(Classifier { labels, templates, features, scale, bias })
}

/// The texts that a classifier's graph states.
fn texts_of(graph: &OnnxFolder, key: &str) -> Result<Vec<String>, OnnxFolderError> {
    let stated = graph.graphs.iter().find_map(|graph| graph.said(key));
    let texts = stated.and_then(|text| serde_json::from_str(text).ok());
    texts.ok_or_else(|| OnnxFolderError::Config {
        path: graph.path.clone(),
        cause: format!("it is a classifier, and its metadata has no list of texts `clipway.{key}`"),
    })
}

/// How a report names the graphs.
fn subject(folder: &OnnxFolder) -> String {
    let is_widened = folder.has(Dtype::F16) && folder.runtime == OnnxRuntime::Rten;
    let widened = if is_widened { ", with f16 weights in f32 arithmetic" } else { "" };
    format!("the graphs, run by {} from their files{widened},", folder.runtime.describe())
}

/// Whether every row has the length 1.
fn is_unit(rows: &Rows) -> bool {
    rows.values.chunks_exact(rows.width.max(1)).all(|row| {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        (length - 1.0).abs() < UNIT
    })
}

/// What rounding to the dtypes of the graphs may cost.
fn tolerance(folder: &OnnxFolder) -> Tolerance {
    match () {
        () if folder.has(Dtype::I8) || folder.has(Dtype::U8) => Tolerance::int8(),
        () if folder.has(Dtype::F16) => Tolerance::fp16(),
        () => Tolerance::f32(),
    }
}
