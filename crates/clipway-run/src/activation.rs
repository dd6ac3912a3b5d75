//! Evidence on a model's activation, which no shape shows: both are run over pictures with their texts.
//!
//! It is evidence and no proof, and nothing is chosen by it: a small model may hardly differ between the two.

use clipway_model::config::{ModelConfig, VisionLayers};
use clipway_model::export::{ExportOptions, ModelChoice, Prepared, prepare};
use serde::Serialize;

use crate::clip::{Clip, ClipError};
use crate::encoder::normalize;
use crate::image::{DecodeLimits, Picture, Samples, decode};
use crate::load::LoadOptions;
use crate::verify::VerifyError;

/// Pictures of one sheet, and the texts of its pictures line by line: Microsoft's Fluent Emoji (MIT licence) with
/// their Unicode names.
const SHEET: &[u8] = include_bytes!("../data/pairs/pictures.webp");
const TEXTS: &str = include_str!("../data/pairs/texts.txt");

/// Side of a picture of the sheet, in pixels.
const SIDE: usize = 64;

/// What stands before a text.
const TEMPLATE: &str = "a picture of ";

/// Standard errors from which on a difference is told as clear, and as weak.
const CLEAR: f64 = 3.0;
const WEAK: f64 = 2.0;

/// Images and texts of one pass, which bounds the memory.
const PASS: usize = 32;

/// How well both activations of a model match pictures with their texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivationEvidence {
    /// Number of pairs.
    pub pairs: usize,
    /// The activation that the config has.
    pub taken: &'static str,
    /// Its mean loss: minus the logarithm of the share that the right partner has among all, in both directions.
    pub taken_loss: f64,
    /// The other activation.
    pub other: &'static str,
    /// Its mean loss.
    pub other_loss: f64,
    /// Standard error of the difference of the two, pair by pair.
    pub standard_error: f64,
    /// The one with the smaller loss.
    pub better: &'static str,
    /// How clearly.
    pub clarity: Clarity,
}

/// How clearly one activation fits better than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clarity {
    /// By 3 standard errors or more.
    Clear,
    /// By 2 to 3 standard errors.
    Weak,
    /// By less: the pairs do not tell.
    None,
}

/// What weighing gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Weighed {
    /// Both were run.
    Evidence(ActivationEvidence),
    /// Both cannot be run, and why.
    Nothing {
        /// Why.
        why: String,
    },
}

impl ActivationEvidence {
    fn new([taken, other]: [&'static str; 2], losses: [&[f64]; 2]) -> ActivationEvidence {
        let pairs = losses[0].len();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let differences: Vec<f64> =
            losses[1].iter().zip(losses[0]).map(|(other, taken)| other - taken).collect();
        let difference = mean(&differences);
        let squares: Vec<f64> = differences.iter().map(|one| (one - difference).powi(2)).collect();
        let variance = squares.iter().sum::<f64>() / pairs.saturating_sub(1).max(1) as f64;
        let standard_error = (variance / pairs.max(1) as f64).sqrt();
        let errors = difference.abs() / standard_error;
        ActivationEvidence {
            pairs,
            taken,
            taken_loss: mean(losses[0]),
            other,
            other_loss: mean(losses[1]),
            standard_error,
            better: if difference >= 0.0 { taken } else { other },
            // A NaN is nothing clear.
            clarity: match () {
                () if errors >= CLEAR => Clarity::Clear,
                () if errors >= WEAK => Clarity::Weak,
                () => Clarity::None,
            },
        }
    }

    /// One line that says it.
    pub fn summary(&self) -> String {
        let ActivationEvidence { pairs, taken, taken_loss, other, other_loss, standard_error, .. } = self;
        let errors = (other_loss - taken_loss).abs() / standard_error;
        let how = match self.clarity {
            Clarity::Clear => "clearly",
            Clarity::Weak => "weakly",
            Clarity::None => "not clearly: these pairs do not tell",
        };
        format!(
            "over {pairs} built-in pictures with texts {} fits better, {how} ({taken} has a loss of {taken_loss:.4}, \
             {other} {other_loss:.4}, {errors:.1} standard errors apart)",
            self.better
        )
    }
}

impl Weighed {
    /// One line that says it.
    pub fn summary(&self) -> String {
        match self {
            Weighed::Evidence(evidence) => evidence.summary(),
            Weighed::Nothing { why } => format!("the activations were not weighed: {why}"),
        }
    }
}

/// Runs a prepared source with its activation and with the other.
///
/// # Errors
/// Weights that cannot be read or run.
pub fn weigh_activations(prepared: &Prepared<'_>, load: &LoadOptions) -> Result<Weighed, VerifyError> {
    let nothing = |why: &str| Ok(Weighed::Nothing { why: why.to_owned() });
    let model = &prepared.config().model;
    if !has_choice(model) {
        return nothing("no tower has an activation that `quick_gelu` chooses");
    }
    let mut other = prepared.config().clone();
    if other.model.set_quick_gelu(!model.quick_gelu).is_err() {
        return nothing("the config states arguments of the activation");
    }
    let losses = match losses(prepared, load)? {
        Ok(losses) => losses,
        Err(why) => return Ok(Weighed::Nothing { why }),
    };
    let options = ExportOptions {
        model: Some(ModelChoice::Config(Box::new(other))),
        weights: Some(prepared.weights().choice),
        ..ExportOptions::default()
    };
    let twin = prepare(prepared.checkpoint(), &options)?;
    let others = match self::losses(&twin, load)? {
        Ok(losses) => losses,
        Err(why) => return Ok(Weighed::Nothing { why }),
    };
    let name = |quick_gelu| if quick_gelu { "QuickGELU" } else { "GELU" };
    let names = [model.quick_gelu, !model.quick_gelu].map(name);
    Ok(Weighed::Evidence(ActivationEvidence::new(names, [&losses, &others])))
}

/// Whether a tower has the activation that `quick_gelu` chooses.
fn has_choice(model: &ModelConfig) -> bool {
    let image = model.vision.timm.is_none() && matches!(model.vision.layers, VisionLayers::Blocks(_));
    image || model.text.hugging_face.is_none()
}

/// The loss of each pair, or why there is none.
fn losses(prepared: &Prepared<'_>, load: &LoadOptions) -> Result<Result<Vec<f64>, String>, VerifyError> {
    let clip = Clip::load(prepared, load)?;
    if !(clip.has_image_tower() && clip.has_text_tower()) {
        return Ok(Err("it has one tower only".to_owned()));
    }
    if !clip.has_tokenizer() {
        return Ok(Err("the tokeniser's files are not there".to_owned()));
    }
    let texts: Vec<String> = TEXTS.lines().map(|text| format!("{TEMPLATE}{text}")).collect();
    let ids = clip.tokens(&texts)?.ids;
    let [context, vocabulary] = clip.text_input()?;
    if ids.iter().any(|id| *id >= vocabulary as i64) {
        return Ok(Err(format!("the tokeniser gives ids that the model, with {vocabulary}, does not have")));
    }
    let width = clip.embed_dim();
    let mut text = Vec::with_capacity(texts.len() * width);
    for pass in ids.chunks(PASS * context) {
        text.extend(clip.encode_tokens(pass)?);
    }
    let mut image = Vec::with_capacity(texts.len() * width);
    for pass in pictures()?.chunks(PASS) {
        let mut pixels = Vec::new();
        for picture in pass {
            pixels.extend(clip.pixels("a built-in picture", picture)?);
        }
        image.extend(clip.encode_pixels(&pixels)?);
    }
    normalize(&mut image, width);
    normalize(&mut text, width);
    Ok(Ok(contrastive(&image, &text, width, f64::from(clip.logit_scale()))))
}

/// The pictures of the sheet, row after row.
fn pictures() -> Result<Vec<Picture>, ClipError> {
    let sheet = decode(SHEET, &DecodeLimits::default())
        .map_err(|cause| ClipError::Image { name: "the built-in pictures".to_owned(), cause })?;
    let Samples::Rgb(data) = &sheet.samples else { return Ok(Vec::new()) };
    let columns = sheet.width / SIDE;
    let piece = |index: usize| {
        let (left, top) = (index % columns * SIDE, index / columns * SIDE);
        let line = |y: usize| &data[((top + y) * sheet.width + left) * 3..][..SIDE * 3];
        let samples = Samples::Rgb((0..SIDE).flat_map(line).copied().collect());
        Picture { width: SIDE, height: SIDE, orientation: None, samples }
    };
    Ok((0..columns * (sheet.height / SIDE)).map(piece).collect())
}

/// For each pair, minus the logarithm of the share of the right partner, the mean of both directions.
fn contrastive(image: &[f32], text: &[f32], width: usize, scale: f64) -> Vec<f64> {
    let rows = |values: &[f32]| values.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let (images, texts) = (rows(image), rows(text));
    let logit = |image: &[f32], text: &[f32]| {
        scale * image.iter().zip(text).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let share = |logits: Vec<f64>, right: usize| {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        largest + sum.ln() - logits[right]
    };
    let pair = |index: usize| {
        let of_image = texts.iter().map(|text| logit(&images[index], text)).collect();
        let of_text = images.iter().map(|image| logit(image, &texts[index])).collect();
        (share(of_image, index) + share(of_text, index)) / 2.0
    };
    (0..images.len().min(texts.len())).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_belong_together_and_are_pictures() {
        let pictures = pictures().unwrap();
        assert_eq!((pictures.len(), TEXTS.lines().count()), (200, 200));
        for (index, picture) in pictures.iter().enumerate() {
            let Samples::Rgb(data) = &picture.samples else { panic!("not RGB") };
            let coloured = data.iter().filter(|value| **value < 200).count();
            assert!(coloured > 200, "picture {index} is nearly white");
        }
    }

    #[test]
    fn losses_are_cross_entropies() {
        // Two pairs, scale 2: logits [[2, 0], [0, 2]], so each loss is ln(1 + e^-2).
        let features = [1.0, 0.0, 0.0, 1.0];
        let losses = contrastive(&features, &features, 2, 2.0);
        let expected = (1.0 + (-2.0f64).exp()).ln();
        assert!(losses.iter().all(|loss| (loss - expected).abs() < 1e-12), "{losses:?}");
    }

    #[test]
    fn clarity_is_counted_in_standard_errors() {
        let check = |differences: &[f64], better: &str, clarity: Clarity| {
            let zeros = vec![1.0; differences.len()];
            let others: Vec<f64> = differences.iter().map(|difference| 1.0 + difference).collect();
            let evidence = ActivationEvidence::new(["GELU", "QuickGELU"], [&zeros, &others]);
            assert_eq!((evidence.better, evidence.clarity), (better, clarity), "{evidence:?}");
        };
        // Standard deviation 1, 4 values: the standard error is 0.5 · sqrt(4 / 3).
        check(&[3.0, 1.0, 3.0, 1.0], "GELU", Clarity::Clear);
        check(&[-3.0, -1.0, -3.0, -1.0], "QuickGELU", Clarity::Clear);
        check(&[2.4, 0.4, 2.4, 0.4], "GELU", Clarity::Weak);
        check(&[1.4, -0.6, 1.4, -0.6], "GELU", Clarity::None);
        check(&[f64::NAN, 1.0, 1.0, 1.0], "QuickGELU", Clarity::None);
    }
}
