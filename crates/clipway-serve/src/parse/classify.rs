//! `/v1/classify`: images, labels and templates.

use clipway_formats::shown;
use clipway_run::DEFAULT_TEMPLATE;
use clipway_run::zero_shot::{TemplateError, fill_template};

use super::common::{Input, ParseLimits, many, word};
use super::image::image;
use crate::error::RequestError;

/// A request to classify images by labels.
#[derive(Debug, PartialEq)]
pub struct ClassifyRequest {
    /// The images.
    pub images: Vec<Input>,
    /// The labels.
    pub labels: Vec<String>,
    /// Number of templates.
    pub templates: usize,
    /// Every label in every template, label by label.
    pub prompts: Vec<Input>,
}

/// Parses a request: `image` or `images`, `labels`, and `template` or `templates`.
///
/// # Errors
/// [`RequestError`], with the path of what is wrong.
pub fn parse_classify(body: &[u8], limits: &ParseLimits) -> Result<ClassifyRequest, RequestError> {
    let json = limits.json(body)?;
    let root = json.root();
    root.only_keys(&["model", "image", "images", "labels", "template", "templates"])?;
    limits.check_model(word(&root, "model")?)?;
    let mut images = Vec::new();
    for key in ["image", "images"] {
        for one in many(&root, key)? {
            images.push(image(&one, true, limits)?);
        }
    }
    let mut labels = Vec::new();
    for label in root.require("labels")?.items()? {
        labels.push(label.string()?.to_owned());
    }
    let mut templates = Vec::new();
    for key in ["template", "templates"] {
        for one in many(&root, key)? {
            templates.push(one.string()?);
        }
    }
    if templates.is_empty() {
        templates.push(DEFAULT_TEMPLATE);
    }
    limits.check_count(images.len())?;
    limits.check_count(labels.len())?;
    limits.check_count(images.len() + labels.len().saturating_mul(templates.len()))?;
    let mut prompts = Vec::with_capacity(labels.len() * templates.len());
    for label in &labels {
        for template in &templates {
            // A template may name the label many times: its size is checked before it is made.
            let size = template.len() + template.matches("{}").count() * label.len();
            limits.check_text("$.labels", size)?;
            let filled = fill_template(template, label)
                .map_err(|error| TemplateError { template: shown(&error.template) })?;
            prompts.push(limits.text("$.labels", &filled)?);
        }
    }
    Ok(ClassifyRequest { images, labels, templates: templates.len(), prompts })
}
