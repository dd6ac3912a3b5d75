//! Built-in images with their texts, and a model's features for them.

use super::evidence::Features;
use crate::clip::{Clip, ClipError};
use crate::encoder::normalize;
use crate::image::{DecodeLimits, Image, Samples, decode};
use crate::verify::Inputs;

/// One sheet of images, and their texts line by line: Microsoft's Fluent Emoji (MIT license) with their Unicode names.
const SHEET: &[u8] = include_bytes!("../../data/pairs/pictures.webp");
const TEXTS: &str = include_str!("../../data/pairs/texts.txt");

/// Side of an image on the sheet, in pixels.
const SIDE: usize = 64;

/// Prefix of each text.
const TEMPLATE: &str = "a picture of ";

/// Number of images and texts per pass, to limit memory: pixels are computed again for each model.
const PASS: usize = 32;

/// Images and the token ids of their texts.
pub(super) struct Pairs {
    images: Vec<Image>,
    /// `[pairs, context]`.
    ids: Vec<i64>,
}

impl Pairs {
    /// The pairs for a model's tokenizer, or the reason why it cannot process them.
    pub(super) fn of(clip: &Clip) -> Result<Result<Pairs, String>, ClipError> {
        if !clip.has_tokenizer() {
            return Ok(Err("the tokenizer's files are missing".to_owned()));
        }
        let texts: Vec<String> = TEXTS.lines().map(|text| format!("{TEMPLATE}{text}")).collect();
        let ids = clip.tokens(&texts)?.ids;
        let [_, vocabulary] = clip.text_input()?;
        let highest = ids.iter().copied().max().unwrap_or(0);
        if highest >= vocabulary as i64 {
            return Ok(Err(format!(
                "the tokenizer produces ids up to {highest}, but the model has only {vocabulary}"
            )));
        }
        Ok(Ok(Pairs { images: images()?, ids }))
    }

    /// Features of both towers.
    pub(super) fn features(&self, clip: &Clip) -> Result<Features, ClipError> {
        let (width, scale) = (clip.embed_dim(), f64::from(clip.logit_scale()));
        Ok(Features { image: self.images(clip)?, text: self.texts(clip)?, width, scale })
    }

    /// Normalized features of the images, `[pairs, width]`.
    pub(super) fn images(&self, clip: &Clip) -> Result<Vec<f32>, ClipError> {
        let mut features = Vec::new();
        for pass in self.images.chunks(PASS) {
            let mut pixels = Vec::with_capacity(pass.len() * clip.pixel_values());
            for image in pass {
                pixels.extend(clip.pixels("a built-in image", image)?);
            }
            features.extend(clip.encode_pixels(&pixels)?);
        }
        normalize(&mut features, clip.embed_dim());
        Ok(features)
    }

    /// Normalized features of the texts, `[pairs, width]`.
    pub(super) fn texts(&self, clip: &Clip) -> Result<Vec<f32>, ClipError> {
        let mut features = Vec::new();
        for pass in self.ids.chunks(PASS * clip.text_input()?[0]) {
            features.extend(clip.encode_tokens(pass)?);
        }
        normalize(&mut features, clip.embed_dim());
        Ok(features)
    }
}

/// Built-in images with their texts, 200 of each.
///
/// # Errors
/// None of the sheet that is built in.
pub fn built_in_pairs() -> Result<Inputs, ClipError> {
    let texts = TEXTS.lines().map(|text| format!("{TEMPLATE}{text}")).collect();
    let images = images()?.into_iter().zip(TEXTS.lines()).map(|(image, text)| (text.to_owned(), image));
    Ok(Inputs { name: "built-in pairs".to_owned(), images: images.collect(), texts })
}

/// The images of the sheet, row by row.
fn images() -> Result<Vec<Image>, ClipError> {
    let sheet = decode(SHEET, &DecodeLimits::default())
        .map_err(|cause| ClipError::Image { name: "the built-in images".to_owned(), cause })?;
    let Samples::Rgb(data) = &sheet.samples else { return Ok(Vec::new()) };
    let columns = sheet.width / SIDE;
    let piece = |index: usize| {
        let (left, top) = (index % columns * SIDE, index / columns * SIDE);
        let line = |y: usize| &data[((top + y) * sheet.width + left) * 3..][..SIDE * 3];
        let samples = Samples::Rgb((0..SIDE).flat_map(line).copied().collect());
        Image { width: SIDE, height: SIDE, orientation: None, transparency: None, samples }
    };
    Ok((0..columns * (sheet.height / SIDE)).map(piece).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_belong_together_and_are_images() {
        let images = images().unwrap();
        assert_eq!((images.len(), TEXTS.lines().count()), (200, 200));
        for (index, image) in images.iter().enumerate() {
            let Samples::Rgb(data) = &image.samples else { panic!("not RGB") };
            let colored = data.iter().filter(|value| **value < 200).count();
            assert!(colored > 200, "image {index} is nearly white");
        }
    }
}
