//! `clipway classify`: zero-shot classification of images.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use clipway_formats::{shown, shown_path};
use clipway_model::input;
use clipway_model::output::Staging;
use clipway_model::plan::Towers;
use clipway_run::clip::Clip;
use clipway_run::head::{Head, HeadError};
use clipway_run::zero_shot::{Classifier, ProbabilityRule, Score, fill_template, imagenet_templates};
use serde::Serialize;

use crate::collect;
use crate::failure::{self, Failure, chain};
use crate::images::Image;
use crate::output;
use crate::running::ModelArguments;
use crate::source::clip_failure;
use crate::source_name::SourceName;
use crate::text::read_labels;
use crate::texts::encode_texts;
use crate::ui::Ui;

/// Classify images by labels of your choice (zero-shot)
#[derive(Args)]
pub struct Classify {
    /// An exported folder, or any source with its config; with `--pretrained`, images only
    #[arg(required_unless_present = "pretrained", default_value = "", hide_default_value = true)]
    model_folder: SourceName,

    /// Image files, folders and patterns; a folder stands for the images below it
    #[arg(required_unless_present_any = ["save_head", "pretrained"])]
    images: Vec<PathBuf>,

    /// Labels, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        required_unless_present_any = ["labels_file", "head"],
        conflicts_with = "labels_file"
    )]
    labels: Vec<String>,

    /// A file with one label per line
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,

    /// Prompt template, {} stands for the label; the features of several templates are averaged
    #[arg(long, default_value = "a photo of a {}")]
    template: Vec<String>,

    /// Built-in templates instead
    #[arg(long, value_enum, conflicts_with = "template")]
    prompts: Option<Prompts>,

    /// A head that `--save-head` wrote for this model, instead of labels: the text tower is not needed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["labels", "labels_file", "template", "prompts"])]
    head: Option<PathBuf>,

    /// Write the labels' embeddings to this file, for `--head`
    #[arg(long, value_name = "FILE", conflicts_with = "head")]
    save_head: Option<PathBuf>,

    /// Replace an existing file
    #[arg(long, requires = "save_head")]
    force: bool,

    /// Number of labels to print for each image
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,

    #[command(flatten)]
    model: ModelArguments,
}

/// Built-in prompt templates.
#[derive(Clone, Copy, ValueEnum)]
enum Prompts {
    /// The 80 that CLIP was evaluated with on ImageNet
    Imagenet,
    /// 7 of them that together do nearly as well
    ImagenetShort,
}

/// One image's result, as JSON.
#[derive(Serialize)]
struct Classified {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    labels: Vec<Labeled>,
}

/// One label of an image.
#[derive(Serialize)]
struct Labeled {
    label: String,
    probability: f32,
    cosine: f32,
}

/// Everything, as JSON.
#[derive(Serialize)]
struct Results {
    templates: Vec<String>,
    labels: usize,
    probability_rule: ProbabilityRule,
    /// Whether images were rotated by their EXIF orientation.
    apply_orientation: bool,
    images: Vec<Classified>,
}

/// Reads a head for a model from a file.
fn read_head(path: &Path, clip: &Clip) -> Result<Head, Failure> {
    let source = input::open(path, input::Kind::Weights).map_err(|error| failure::input(&error))?;
    Head::read(Arc::new(source), clip).map_err(|error| {
        let failure = head_failure(&error);
        let message = format!("`{}`: {}", shown_path(path), failure.message);
        Failure { message, ..failure }
    })
}

/// Failure, with its exit status, for a head that cannot be read or written.
fn head_failure(error: &HeadError) -> Failure {
    let failure = match error {
        HeadError::Clip(error) => return clip_failure(error),
        _ => Failure { exit_code: failure::exit_of(error.code()), ..Failure::no(error.code(), chain(error)) },
    };
    match error {
        HeadError::OtherModel { .. } => {
            failure.hint("write the head of this model with `--labels … --save-head FILE`")
        }
        _ => failure,
    }
}

impl Classify {
    /// The sources, which may be on the Hub. Where `--pretrained` names the model, the first path is an image.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        self.model.source.name_before(&mut self.model_folder, &mut self.images)?;
        if self.images.is_empty() && self.save_head.is_none() {
            return Err(Failure::could_not_run("bad-option", "there are no images"));
        }
        Ok(self.model.source.with_base(&mut self.model_folder))
    }

    /// Classifies images. An unreadable image is reported, and the rest are still classified.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let images = match self.images.is_empty() {
            true => Vec::new(),
            false => collect::images(&self.images, ui)?,
        };
        let staging = self.output()?;
        let words = match self.head {
            Some(_) => None,
            None => Some((self.labels(ui)?, self.templates())),
        };
        let clip = self.load(ui)?;
        let head = match (words, &self.head) {
            (Some((labels, templates)), _) => {
                Head { classifier: classifier(&clip, &labels, &templates, ui)?, labels, templates }
            }
            (None, Some(path)) => read_head(path, &clip)?,
            (None, None) => unreachable!("without a head there are labels"),
        };
        if let Some(staging) = staging {
            let mut bytes = Vec::new();
            head.write(&mut bytes, &clip).map_err(|error| head_failure(&error))?;
            output::put(staging, |mut file| file.write_all(&bytes))?;
            if self.images.is_empty() {
                return Ok(true);
            }
        }
        let Head { classifier, labels, templates } = head;
        let decoded = self.model.images.encode(&images, &clip, ui)?;
        let all_read = decoded.is_whole();
        let mut rows = decoded.features.chunks_exact(clip.embed_dim());
        let classified = |Image { file, error }| {
            let features = if error.is_none() { rows.next() } else { None };
            let scores = features.map(|features| classifier.scores(features)).unwrap_or_default();
            let best = scores.into_iter().take(self.top as usize);
            let labels = best.map(|score| labeled(score, &labels)).collect();
            Classified { file, error, labels }
        };
        let results: Vec<Classified> = decoded.images.into_iter().map(classified).collect();
        if ui.json() {
            ui.data_json(&Results {
                templates,
                labels: labels.len(),
                probability_rule: classifier.rule(),
                apply_orientation: self.model.images.apply_orientation,
                images: results,
            })?;
        } else {
            ui.data(&table(&results))?;
        }
        Ok(all_read)
    }

    /// Opens the file for the head. An existing one, or one of the inputs, is refused before anything is computed.
    fn output(&self) -> Result<Option<Staging>, Failure> {
        let Some(out) = &self.save_head else { return Ok(None) };
        let given = self.images.iter().chain(&self.labels_file);
        let given = given.map(PathBuf::as_path).chain([&*self.model_folder]);
        let inputs: Vec<&Path> = given.collect();
        output::file(out, self.force, &inputs).map(Some)
    }

    fn templates(&self) -> Vec<String> {
        match self.prompts {
            None => self.template.clone(),
            Some(prompts) => {
                let short = matches!(prompts, Prompts::ImagenetShort);
                imagenet_templates(short).map(str::to_owned).collect()
            }
        }
    }

    fn labels(&self, ui: &Ui) -> Result<Vec<String>, Failure> {
        let labels: Vec<String> = match &self.labels_file {
            None => self.labels.iter().map(|label| label.trim().to_owned()).collect(),
            Some(path) => read_labels(path)?,
        };
        let labels: Vec<String> = labels.into_iter().filter(|label| !label.is_empty()).collect();
        if labels.is_empty() {
            return Err(Failure::could_not_run("bad-option", "there are no labels"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = labels.iter().find(|label| !seen.insert(label.as_str())) {
            ui.warn(&format!("label `{}` is given more than once, and shares its probability", shown(twice)));
        }
        if labels.len() == 1 {
            ui.warn("there is only one label: under the softmax rule every image gets 100 %");
        }
        Ok(labels)
    }

    fn load(&self, ui: &Ui) -> Result<Clip, Failure> {
        let towers = if self.head.is_some() { Towers::Image } else { Towers::Both };
        let (clip, _) = self.model.load(&self.model_folder, towers, ui)?;
        if !clip.has_image_tower() || self.head.is_none() && !clip.has_text_tower() {
            let folder = shown_path(&self.model_folder);
            return Err(Failure::no(
                "missing",
                format!(
                    "`{folder}` has only one tower; classification needs both, or the image tower and a head"
                ),
            )
            .hint("export it again with `--tower both`"));
        }
        Ok(clip)
    }
}

fn classifier(clip: &Clip, labels: &[String], templates: &[String], ui: &Ui) -> Result<Classifier, Failure> {
    let mut texts = Vec::with_capacity(labels.len() * templates.len());
    for label in labels {
        for template in templates {
            texts.push(
                fill_template(template, label)
                    .map_err(|error| Failure::could_not_run("bad-option", error))?,
            );
        }
    }
    let features = encode_texts(&texts, clip, "reading labels", ui)?;
    let scale = clip.logit_scale();
    Ok(Classifier::new(&features, templates.len(), clip.embed_dim(), scale, clip.logit_bias()))
}

fn labeled(score: Score, labels: &[String]) -> Labeled {
    Labeled { label: labels[score.label].clone(), probability: score.probability, cosine: score.cosine }
}

fn table(results: &[Classified]) -> String {
    let mut text = String::new();
    for result in results.iter().filter(|result| result.error.is_none()) {
        text.push_str(&shown_path(Path::new(&result.file)));
        text.push('\n');
        for label in &result.labels {
            text.push_str(&format!("  {:5.1} %  {}\n", 100.0 * label.probability, shown(&label.label)));
        }
    }
    text
}
