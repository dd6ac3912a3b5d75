//! Features of queries, by the model of the index.

use clipway_formats::shown;
use clipway_model::plan::Towers;
use clipway_run::clip::Clip;
use clipway_run::encoder::normalize;
use clipway_run::image::preprocess;
use clipway_run::load::LoadOptions;
use clipway_run::zero_shot::fill_template;
use clipway_search::Index;

use super::index_failure;
use super::model::{BackendOption, IndexModel, load_model};
use super::space::check_space;
use super::terms::{Query, Term};
use crate::failure::{self, Failure, chain};
use crate::hints;
use crate::hub::{self, Reads};
use crate::images::ImageOptions;
use crate::source::{clip_failure, load_options};
use crate::source_name::SourceName;
use crate::texts::encode_texts;
use crate::ui::Ui;

/// Encodes queries.
pub struct Encoded<'a> {
    /// The index that is searched.
    pub index: &'a Index,
    /// The model; empty for the one that the index names.
    pub model: &'a SourceName,
    /// What runs it.
    pub backend: &'a BackendOption,
    /// How images are read.
    pub images: &'a ImageOptions,
    /// Templates that texts are put into; none for texts as they are.
    pub templates: &'a [String],
}

impl Encoded<'_> {
    /// The features of queries, `[queries, width]`. Only the towers that the terms need are loaded, and none if every term is
    /// a row of the index.
    ///
    /// # Errors
    /// A model that cannot be loaded or gives features of another space, and terms that it refuses.
    pub fn queries(&self, queries: &[Query], ui: &Ui) -> Result<Vec<f32>, Failure> {
        let terms = || queries.iter().flat_map(|query| &query.terms).map(|terms| &terms.term);
        let towers = match (
            terms().any(|term| matches!(term, Term::Text(_))),
            terms().any(|term| matches!(term, Term::Image(_))),
        ) {
            (true, true) => Some(Towers::Both),
            (true, false) => Some(Towers::Text),
            (false, true) => Some(Towers::Image),
            (false, false) => None,
        };
        let clip = towers.map(|towers| self.load(towers, ui)).transpose()?;
        let texts: Vec<&str> = terms()
            .filter_map(|term| if let Term::Text(text) = term { Some(text.as_str()) } else { None })
            .collect();
        let mut texts = self.texts(&texts, clip.as_ref(), ui)?.into_iter();
        let width = self.index.width();
        let mut features = Vec::with_capacity(queries.len() * width);
        for query in queries {
            let mut found = Vec::with_capacity(query.terms.len());
            for terms in &query.terms {
                let feature = match (&terms.term, &clip) {
                    (Term::Text(_), _) => texts.next().unwrap_or_default(),
                    (Term::Image(bytes), Some(clip)) => self.image(bytes, clip, &query.said)?,
                    (Term::Row(row), _) => self.index.feature(*row).map_err(|error| index_failure(&error))?,
                    (Term::Image(_), None) => unreachable!("images load the image tower"),
                };
                found.push((feature, terms.weight));
            }
            features.extend(weighted_sum(width, found));
        }
        Ok(features)
    }

    /// Features of texts, in order: the mean over the templates.
    fn texts(&self, texts: &[&str], clip: Option<&Clip>, ui: &Ui) -> Result<Vec<Vec<f32>>, Failure> {
        let Some(clip) = clip.filter(|_| !texts.is_empty()) else { return Ok(Vec::new()) };
        let templates: Vec<&str> = match self.templates {
            [] => vec!["{}"],
            templates => templates.iter().map(String::as_str).collect(),
        };
        let mut filled = Vec::with_capacity(texts.len() * templates.len());
        for text in texts {
            for template in &templates {
                let text = fill_template(template, text);
                filled.push(text.map_err(|error| Failure::could_not_run("bad-option", error))?);
            }
        }
        let width = clip.embed_dim();
        let mut features = encode_texts(&filled, clip, "queries", ui)?;
        normalize(&mut features, width);
        let mean = |features: &[f32]| {
            (0..width).map(|value| features.iter().skip(value).step_by(width).sum()).collect::<Vec<f32>>()
        };
        Ok(features.chunks_exact(width * templates.len()).map(mean).collect())
    }

    /// The feature of an image, of length 1 as those that a server passes on: scaling it once more can change its last bit.
    fn image(&self, bytes: &[u8], clip: &Clip, said: &str) -> Result<Vec<f32>, Failure> {
        let mut pixels = vec![0.0; clip.pixel_values()];
        preprocess(bytes, clip.preprocess(), &self.images.limits(), &mut pixels).map_err(|error| {
            let message = format!("`{}`: {}", shown(said), chain(&error));
            let hint = hints::of_image(&error).map(str::to_owned);
            Failure { exit_code: failure::exit_of(error.code()), hint, ..Failure::no(error.code(), message) }
        })?;
        let named = |_| format!("`{}`", shown(said));
        let mut feature = clip.encode_pixels(&pixels).map_err(|error| clip_failure(&error.naming(named)))?;
        normalize(&mut feature, clip.embed_dim());
        Ok(feature)
    }

    /// Loads towers of the model, and checks that their features lie in its space.
    fn load(&self, towers: Towers, ui: &Ui) -> Result<Clip, Failure> {
        let mut name = self.model.clone();
        if name.is_empty() {
            let Some(model) = self.index.model() else {
                let message = "the index does not say which model encodes queries";
                return Err(Failure::could_not_run("missing", message).hint("pass it with `--model`"));
            };
            name = SourceName::from(model.as_os_str().to_owned());
            hub::bring(&mut name, Reads::Weights, ui)?;
        }
        let load = LoadOptions {
            towers: Some(towers),
            apply_orientation: self.images.apply_orientation,
            ..load_options(ui)?
        };
        let IndexModel { clip, identity, .. } = load_model(&name, load, self.backend, ui)?;
        check_space(self.index, identity, &clip)?;
        Ok(clip)
    }
}

/// The sum of features, each scaled to length 1 and then counted with its weight: `[width]`.
pub fn weighted_sum(width: usize, terms: Vec<(Vec<f32>, f32)>) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for (mut feature, weight) in terms {
        normalize(&mut feature, width);
        for (sum, value) in sum.iter_mut().zip(feature) {
            *sum += weight * value;
        }
    }
    sum
}
