//! Image processors of transformers, step by step.
//!
//! Steps and rounding follow transformers 5.24. Its processors convert an image to RGB before resizing, round down when
//! they crop the center, and resize with torchvision if installed, else with Pillow. open_clip resizes in the file's
//! own mode with Pillow and rounds to the nearest when it crops.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Interpolation, PatchGrids, PreprocessOptions, ResizeMode};

/// The library that a processor computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// torchvision on tensors: the default of transformers 5 if torchvision is installed.
    Torchvision,
    /// Pillow and NumPy.
    Pillow,
}

impl Backend {
    /// Name of the library.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Torchvision => "torchvision",
            Backend::Pillow => "Pillow",
        }
    }
}

/// How pixels between pixels are found: Pillow's filters, by Pillow's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// The nearest pixel.
    Nearest = 0,
    /// Lanczos: a windowed sinc.
    Lanczos = 1,
    /// Bilinear: a triangle.
    Bilinear = 2,
    /// Bicubic: Keys' cubic.
    Bicubic = 3,
    /// Box: the mean.
    Box = 4,
    /// Hamming: a Hamming-windowed sinc.
    Hamming = 5,
}

impl Resample {
    const ALL: [(Resample, &str); 6] = [
        (Resample::Nearest, "nearest"),
        (Resample::Lanczos, "lanczos"),
        (Resample::Bilinear, "bilinear"),
        (Resample::Bicubic, "bicubic"),
        (Resample::Box, "box"),
        (Resample::Hamming, "hamming"),
    ];

    /// The filter with one of Pillow's numbers.
    pub fn from_number(number: usize) -> Option<Resample> {
        Resample::ALL.get(number).map(|(resample, _)| *resample)
    }

    /// Pillow's name in lower case.
    pub fn name(self) -> &'static str {
        Resample::ALL[self as usize].1
    }
}

/// The size that an image is resized to, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ResizeTo {
    /// The shorter side gets this length; the aspect ratio stays.
    Shortest(usize),
    /// The shorter side gets this length, or less if the longer side would exceed its limit.
    ShortestWithin {
        /// The shorter side.
        shortest: usize,
        /// The limit of the longer side.
        longest: usize,
    },
    /// The largest size with the same aspect ratio within this height and width.
    Within([usize; 2]),
    /// Exactly this height and width.
    Exactly([usize; 2]),
    /// The largest size of whole patches with about the same aspect ratio (NaFlex).
    Patches(PatchGrids),
}

/// How an image is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Target size.
    pub to: ResizeTo,
    /// Filter.
    pub resample: Resample,
}

/// Mean and standard deviation of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Value subtracted.
    pub mean: [f64; 3],
    /// Value divided by.
    pub std: [f64; 3],
}

/// An image processor of transformers: its steps, in their order. A step that is `None` is not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProcessor {
    /// The library that does the arithmetic.
    pub backend: Backend,
    /// Whether transparent parts are composited over white when converting to RGB. Otherwise the colors under the
    /// transparency are kept, as in `Image.convert("RGB")`.
    pub over_white: bool,
    /// Resizing.
    pub resize: Option<Resize>,
    /// Height and width of the center crop, in pixels; smaller images are padded with black.
    pub crop: Option<[usize; 2]>,
    /// Factor applied to the bytes.
    pub rescale: Option<f64>,
    /// Normalization, after the factor.
    pub normalize: Option<Normalize>,
    /// Height and width to zero-pad to, right and bottom, after normalization.
    pub pad: Option<[usize; 2]>,
}

/// By whose rule an image becomes pixels. `Display` names the rule and the library that computes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelRule {
    /// open_clip's evaluation transform, with the other settings.
    #[default]
    OpenClip,
    /// This image processor of transformers; the other settings are open_clip's nearest equivalent.
    Transformers(ImageProcessor),
    /// timm's evaluation transform of images that keep their proportions (NaFlex), with the other settings.
    Timm(PatchGrids),
}

impl PixelRule {
    /// The sizes of images, if these keep their proportions.
    pub fn grids(&self) -> Option<PatchGrids> {
        match self {
            PixelRule::OpenClip => None,
            PixelRule::Transformers(processor) => match processor.resize?.to {
                ResizeTo::Patches(grids) => Some(grids),
                _ => None,
            },
            PixelRule::Timm(grids) => Some(*grids),
        }
    }

    /// The same rule for images of one size, if it keeps proportions.
    #[must_use]
    pub(crate) fn with_size(&self, size: [usize; 2]) -> PixelRule {
        match self {
            PixelRule::Transformers(processor) if self.grids().is_some() => {
                let to = ResizeTo::Exactly(size);
                let resize = processor.resize.map(|resize| Resize { to, ..resize });
                PixelRule::Transformers(ImageProcessor { resize, ..processor.clone() })
            }
            PixelRule::Timm(_) => PixelRule::OpenClip,
            other => other.clone(),
        }
    }

    /// The same rule for images that keep their proportions.
    #[must_use]
    pub(crate) fn with_grids(&self, grids: PatchGrids) -> PixelRule {
        match self {
            PixelRule::Transformers(processor) => {
                let to = ResizeTo::Patches(grids);
                let resize = processor.resize.map(|resize| Resize { to, ..resize });
                PixelRule::Transformers(ImageProcessor { resize, ..processor.clone() })
            }
            PixelRule::OpenClip | PixelRule::Timm(_) => PixelRule::Timm(grids),
        }
    }
}

impl fmt::Display for PixelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PixelRule::OpenClip => f.write_str("open_clip")?,
            PixelRule::Transformers(processor) => write!(f, "transformers ({})", processor.backend.name())?,
            PixelRule::Timm(_) => f.write_str("timm")?,
        }
        match self.grids() {
            Some(PatchGrids { side, most }) => {
                write!(f, ", own proportions in at most {most} patches of {side} pixels")
            }
            None => Ok(()),
        }
    }
}

/// What an image processor does that no config of open_clip says.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OpenClipDifference {
    /// Images are not resized.
    #[error("`do_resize`: false; open_clip resizes every image")]
    Unresized,
    /// Images are resized to a different size than open_clip's.
    #[error("`size`: {}; open_clip resizes to the tower's {size:?}{}", .to.shown(), if *.crops { " and crops" } else { "" })]
    Size {
        /// The target size.
        to: ResizeTo,
        /// Height and width of the tower's images.
        size: [usize; 2],
        /// Whether open_clip also crops.
        crops: bool,
    },
    /// A filter that open_clip lacks.
    #[error("`resample`: {}, {}; open_clip has only bilinear, 2, and bicubic, 3", *.0 as usize, .0.name())]
    Resample(Resample),
    /// Normalized images are zero-padded.
    #[error("`do_pad`: true; open_clip never pads normalized images")]
    Padded,
}

impl ResizeTo {
    /// The value of `size`, for people.
    pub fn shown(self) -> String {
        match self {
            ResizeTo::Shortest(side) => format!("a shortest edge of {side} pixels"),
            ResizeTo::ShortestWithin { shortest, longest } => {
                format!("a shortest edge of {shortest} pixels and a longest of at most {longest}")
            }
            ResizeTo::Within([height, width]) => format!("within {height}x{width} pixels"),
            ResizeTo::Exactly([height, width]) => format!("{height}x{width} pixels"),
            ResizeTo::Patches(PatchGrids { side, most }) => {
                format!("at most {most} patches of {side}x{side} pixels")
            }
        }
    }
}

impl ImageProcessor {
    /// Height and width of every result, if independent of the image.
    pub fn output_size(&self) -> Option<[usize; 2]> {
        let resized = self.resize.and_then(|resize| match resize.to {
            ResizeTo::Exactly(sides) => Some(sides),
            _ => None,
        });
        self.pad.or(self.crop).or(resized)
    }

    /// open_clip's nearest settings. Mean and standard deviation are equivalent, for values from 0 to 1.
    pub fn nearest_in_open_clip(&self) -> PreprocessOptions {
        let factor = 255.0 * self.rescale.unwrap_or(1.0);
        // Numbers meant for values from 0 to 1 are kept as written.
        let scaled = |value: f64| if (factor - 1.0).abs() < 1e-9 { value } else { value / factor };
        let Normalize { mean, std } = self.normalize.unwrap_or(Normalize { mean: [0.0; 3], std: [1.0; 3] });
        let squashes = |to| matches!(to, ResizeTo::Exactly(_) | ResizeTo::Patches(_));
        let squashes = self.resize.is_some_and(|resize| squashes(resize.to));
        PreprocessOptions {
            size: None,
            mean: Some(mean.map(scaled)),
            std: Some(std.map(scaled)),
            interpolation: Some(match self.resize.map(|resize| resize.resample) {
                Some(Resample::Bilinear) => Interpolation::Bilinear,
                _ => Interpolation::Bicubic,
            }),
            resize_mode: Some(if squashes { ResizeMode::Squash } else { ResizeMode::Shortest }),
            fill_color: None,
            rule: Some(PixelRule::Transformers(self.clone())),
        }
    }

    /// What no open_clip config can express, for a tower with this image size.
    pub fn beyond_open_clip(&self, size: [usize; 2]) -> Vec<OpenClipDifference> {
        let mut found = Vec::new();
        match self.resize {
            None => found.push(OpenClipDifference::Unresized),
            Some(Resize { to, resample }) => {
                let same = match to {
                    ResizeTo::Exactly(sides) => sides == size,
                    ResizeTo::Shortest(side) => [side; 2] == size && self.crop.is_some(),
                    ResizeTo::ShortestWithin { .. } | ResizeTo::Within(_) | ResizeTo::Patches(_) => false,
                };
                if !same {
                    let crops = !matches!(to, ResizeTo::Exactly(_));
                    found.push(OpenClipDifference::Size { to, size, crops });
                }
                if !matches!(resample, Resample::Bilinear | Resample::Bicubic) {
                    found.push(OpenClipDifference::Resample(resample));
                }
            }
        }
        if self.pad.is_some() {
            found.push(OpenClipDifference::Padded);
        }
        found
    }

    /// The same rule at another tower image size: resize, crop and pad sizes scale with it.
    pub(super) fn at(&self, size: [usize; 2]) -> ImageProcessor {
        let Some([height, width]) = self.output_size().filter(|output| *output != size) else {
            return self.clone();
        };
        let scaled = |side: usize, axis: usize| {
            let from = [height, width][axis];
            ((side * size[axis]) as f64 / from as f64).round().max(1.0) as usize
        };
        let sides = |[height, width]: [usize; 2]| [scaled(height, 0), scaled(width, 1)];
        let to = |to| match to {
            ResizeTo::Shortest(side) => ResizeTo::Shortest(scaled(side, 0).max(scaled(side, 1))),
            ResizeTo::ShortestWithin { shortest, longest } => ResizeTo::ShortestWithin {
                shortest: scaled(shortest, 0).max(scaled(shortest, 1)),
                longest: scaled(longest, 0).max(scaled(longest, 1)),
            },
            ResizeTo::Within(both) => ResizeTo::Within(sides(both)),
            ResizeTo::Exactly(both) => ResizeTo::Exactly(sides(both)),
            ResizeTo::Patches(grids) => ResizeTo::Patches(grids),
        };
        ImageProcessor {
            resize: self.resize.map(|resize| Resize { to: to(resize.to), ..resize }),
            crop: self.crop.map(sides),
            pad: self.pad.map(sides),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(to: ResizeTo, crop: Option<[usize; 2]>) -> ImageProcessor {
        ImageProcessor {
            backend: Backend::Torchvision,
            over_white: true,
            resize: Some(Resize { to, resample: Resample::Bicubic }),
            crop,
            rescale: Some(1.0 / 255.0),
            normalize: Some(Normalize { mean: [0.5; 3], std: [0.25; 3] }),
            pad: None,
        }
    }

    #[test]
    fn what_open_clip_cannot_say_is_named() {
        let check = |processor: &ImageProcessor, expected: &[&str]| {
            let found: Vec<String> =
                processor.beyond_open_clip([32, 32]).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        let clip = processor(ResizeTo::Shortest(32), Some([32, 32]));
        check(&clip, &[]);
        check(&processor(ResizeTo::Exactly([32, 32]), None), &[]);
        check(
            &processor(ResizeTo::Shortest(40), Some([32, 32])),
            &["`size`: a shortest edge of 40 pixels; open_clip resizes to the tower's [32, 32] and crops"],
        );
        check(
            &processor(ResizeTo::Shortest(32), None),
            &["`size`: a shortest edge of 32 pixels; open_clip resizes to the tower's [32, 32] and crops"],
        );
        check(
            &processor(ResizeTo::Exactly([40, 32]), Some([32, 32])),
            &["`size`: 40x32 pixels; open_clip resizes to the tower's [32, 32]"],
        );
        let lanczos = Some(Resize { to: ResizeTo::Shortest(32), resample: Resample::Lanczos });
        check(
            &ImageProcessor { resize: lanczos, pad: Some([32, 32]), ..clip.clone() },
            &[
                "`resample`: 1, lanczos; open_clip has only bilinear, 2, and bicubic, 3",
                "`do_pad`: true; open_clip never pads normalized images",
            ],
        );
        check(
            &ImageProcessor { resize: None, ..clip },
            &["`do_resize`: false; open_clip resizes every image"],
        );
    }

    /// `(byte · factor - mean) / std` is `(byte / 255 - mean') / std'`.
    #[test]
    fn other_factors_become_other_means() {
        let clip = processor(ResizeTo::Shortest(32), Some([32, 32]));
        let check = |rescale, normalize, mean: f64, std: f64| {
            let found = ImageProcessor { rescale, normalize, ..clip.clone() }.nearest_in_open_clip();
            let close = |found: Option<[f64; 3]>, expected: f64| (found.unwrap()[0] - expected).abs() < 1e-12;
            assert!(close(found.mean, mean) && close(found.std, std), "{found:?}");
        };
        check(Some(1.0 / 255.0), clip.normalize, 0.5, 0.25);
        check(Some(2.0 / 255.0), clip.normalize, 0.25, 0.125);
        check(None, clip.normalize, 0.5 / 255.0, 0.25 / 255.0);
        check(Some(1.0 / 255.0), None, 0.0, 1.0);
        check(None, None, 0.0, 1.0 / 255.0);
    }

    #[test]
    fn a_processor_grows_with_the_tower() {
        let check = |found: &ImageProcessor, to: ResizeTo, crop| {
            assert_eq!((found.resize.unwrap().to, found.crop), (to, crop));
        };
        let clip = processor(ResizeTo::Shortest(40), Some([32, 32]));
        check(&clip.at([32, 32]), ResizeTo::Shortest(40), Some([32, 32]));
        check(&clip.at([64, 64]), ResizeTo::Shortest(80), Some([64, 64]));
        check(&clip.at([32, 64]), ResizeTo::Shortest(80), Some([32, 64]));
        let squash = processor(ResizeTo::Exactly([32, 32]), None);
        check(&squash.at([48, 64]), ResizeTo::Exactly([48, 64]), None);
    }
}
