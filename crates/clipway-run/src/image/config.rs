//! The settings of the evaluation transform.

use super::{ImageError, PixelRule};

/// The filter for resizing an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Box: the mean, support 0.5.
    Box,
    /// Bilinear: a triangle, support 1.
    Bilinear,
    /// Hamming: a Hamming-windowed sinc, support 1.
    Hamming,
    /// Bicubic: Keys' cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos: a windowed sinc, support 3.
    Lanczos,
}

/// How an image is fitted to the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeMode {
    /// The shorter side fits; the longer one is center-cropped.
    Shortest,
    /// The longer side fits; the shorter one is padded with the fill color.
    Longest,
    /// Both sides fit; the aspect ratio may change.
    Squash,
}

/// The mode of pixels when they reach the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColorMode {
    /// Red, green, blue.
    #[default]
    Rgb,
}

/// The evaluation transform of a model, as stated by open_clip's `preprocess_cfg`.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// Height and width of the result, in pixels.
    pub size: (usize, usize),
    /// Color mode of the result.
    pub mode: ColorMode,
    /// Mean of each channel, subtracted after scaling to [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of each channel; the last step divides by it.
    pub std: [f32; 3],
    /// Resampling filter. open_clip treats `random` as bicubic in evaluation.
    pub interpolation: Interpolation,
    /// How the size is reached.
    pub resize_mode: ResizeMode,
    /// Padding value of every channel for [`ResizeMode::Longest`], in the file's own mode.
    pub fill_color: u8,
    /// Whether to rotate the image by its EXIF orientation. open_clip does not.
    pub apply_orientation: bool,
    /// The rule by which an image becomes pixels. Under a transformers rule, only `size` and `apply_orientation` apply;
    /// where images keep their proportions, `size` does not.
    pub rule: PixelRule,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            size: (224, 224),
            mode: ColorMode::Rgb,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            interpolation: Interpolation::Bicubic,
            resize_mode: ResizeMode::Shortest,
            fill_color: 0,
            apply_orientation: false,
            rule: PixelRule::OpenClip,
        }
    }
}

/// Maximum side of a model's input, in pixels.
const MAX_SIDE: usize = 16_384;

impl Preprocess {
    /// Number of values in one image of the model's input: 3 × height × width; where images keep their proportions, those
    /// of the largest, then height and width.
    pub fn pixel_values(&self) -> usize {
        match self.rule.grids() {
            Some(grids) => grids.most_values() + 2,
            None => 3 * self.size.0 * self.size.1,
        }
    }

    /// Checks that the settings are valid.
    ///
    /// # Errors
    /// [`ImageError::Setting`] if a side is 0 or above 16384, a mean is not finite, or a standard deviation is 0 or not
    /// finite.
    pub fn validate(&self) -> Result<(), ImageError> {
        let (height, width) = self.size;
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            return Err(ImageError::Setting {
                setting: "size",
                expected: "1 to 16384 pixels a side",
                found: format!("{height} x {width}"),
            });
        }
        for mean in self.mean {
            if !mean.is_finite() {
                return Err(ImageError::Setting {
                    setting: "mean",
                    expected: "a finite number",
                    found: mean.to_string(),
                });
            }
        }
        for std in self.std {
            if !std.is_finite() || std == 0.0 {
                return Err(ImageError::Setting {
                    setting: "std",
                    expected: "a finite number other than 0",
                    found: std.to_string(),
                });
            }
        }
        Ok(())
    }
}
