//! Measures the effect of two libraries' different preprocessing rules.

use std::fmt;

use clipway_formats::shown;

use super::compare::cosine;
use super::outputs::Inputs;
use crate::clip::{Clip, ClipError};
use crate::image::{PixelDifference, PixelRule, Preprocess};

/// The image on which two rules differ most, as a model sees it. `Display` is a note for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleDifference {
    /// The rules: the source's, and the folder's.
    pub rules: [PixelRule; 2],
    /// Number of images compared.
    pub images: usize,
    /// Name of the worst image.
    pub worst: String,
    /// Cosine of its features under both rules.
    pub cosine: f64,
    /// The largest difference between two of its normalized pixels.
    pub largest: f32,
}

impl RuleDifference {
    /// Runs a model on images under two rules; `None` if the rules are the same, the model has no image tower, or no
    /// image can be compared. An image that one of the rules refuses is skipped.
    ///
    /// # Errors
    /// Inputs that the engine refuses.
    pub fn of(
        clip: &Clip,
        inputs: &Inputs,
        rules: [PixelRule; 2],
    ) -> Result<Option<RuleDifference>, ClipError> {
        if rules[0] == rules[1] || !clip.has_image_tower() {
            return Ok(None);
        }
        let settings = rules.clone().map(|rule| Preprocess { rule, ..clip.preprocess().clone() });
        let mut worst: Option<RuleDifference> = None;
        let mut images = 0;
        for (name, image) in &inputs.images {
            let Ok(found) = PixelDifference::of(image, [&settings[0], &settings[1]]) else { continue };
            let features = clip.encode_pixels(&found.pixels.concat())?;
            let (one, other) = features.split_at(clip.embed_dim());
            let cosine = cosine(one, other);
            images += 1;
            if worst.as_ref().is_none_or(|worst| cosine < worst.cosine) {
                let (rules, worst_name) = (rules.clone(), name.clone());
                worst =
                    Some(RuleDifference { rules, images, worst: worst_name, cosine, largest: found.largest });
            }
        }
        Ok(worst.map(|worst| RuleDifference { images, ..worst }))
    }
}

impl fmt::Display for RuleDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [source, folder] = &self.rules;
        write!(
            f,
            "the source preprocesses images like {source}, this folder like {folder}: of {} images, {} \
             differs most, by up to {:.2e} a pixel, and the cosine of its features is {:.6}",
            self.images,
            shown(&self.worst),
            self.largest,
            self.cosine
        )
    }
}
