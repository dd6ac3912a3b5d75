//! `preprocess_cfg`: how an image becomes the pixels of a tower.

use clipway_formats::{Code, FormatError, Json, JsonCursor, JsonValue};
use serde::{Deserialize, Serialize};

use super::fields::{Fields, number_in};
use super::image_processor::{OpenClipDifference, PixelRule, ResizeTo};
use super::limits;
use super::write::{array, number, string};

/// Resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Bicubic.
    Bicubic,
    /// Bilinear.
    Bilinear,
    /// Random for each image in training, bicubic in evaluation.
    Random,
}

/// How an image is fitted to the tower's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// The shorter side fits; the longer one is cropped.
    Shortest,
    /// The longer side fits; the shorter one is padded.
    Longest,
    /// Both sides fit; the aspect ratio may change.
    Squash,
}

impl Interpolation {
    const NAMES: [(&str, Interpolation); 3] = [
        ("bicubic", Interpolation::Bicubic),
        ("bilinear", Interpolation::Bilinear),
        ("random", Interpolation::Random),
    ];

    /// Name in a config.
    pub fn name(self) -> &'static str {
        Interpolation::NAMES.into_iter().find(|(_, i)| *i == self).map_or("", |(name, _)| name)
    }

    /// Parses an interpolation's name in a config.
    pub fn from_name(name: &str) -> Option<Interpolation> {
        Interpolation::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, i)| i)
    }
}

impl ResizeMode {
    const NAMES: [(&str, ResizeMode); 3] = [
        ("shortest", ResizeMode::Shortest),
        ("longest", ResizeMode::Longest),
        ("squash", ResizeMode::Squash),
    ];

    /// Name in a config.
    pub fn name(self) -> &'static str {
        ResizeMode::NAMES.into_iter().find(|(_, m)| *m == self).map_or("", |(name, _)| name)
    }

    /// Parses a resize mode's name in a config.
    pub fn from_name(name: &str) -> Option<ResizeMode> {
        ResizeMode::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, m)| m)
    }
}

/// How an image becomes the pixels of a tower. Colors are always RGB.
#[derive(Clone, Debug, PartialEq)]
pub struct PreprocessConfig {
    /// Height and width in pixels, the tower's own.
    pub size: [usize; 2],
    /// Mean of each channel, for values from 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
    /// Interpolation.
    pub interpolation: Interpolation,
    /// Resize mode.
    pub resize_mode: ResizeMode,
    /// Padding value for `ResizeMode::Longest`, from 0 to 255.
    pub fill_color: u8,
    /// The rule by which an image becomes pixels. Only open_clip's can be written into its config.
    pub rule: PixelRule,
}

impl PreprocessConfig {
    /// open_clip's defaults, which are OpenAI's.
    pub fn new(size: [usize; 2]) -> PreprocessConfig {
        PreprocessConfig {
            size,
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.26130258, 0.27577711],
            interpolation: Interpolation::Bicubic,
            resize_mode: ResizeMode::Shortest,
            fill_color: 0,
            rule: PixelRule::OpenClip,
        }
    }

    /// The same settings overridden by `options`. The size stays: open_clip always uses the tower's, and a transformers
    /// rule for another size is scaled to it.
    pub fn merged(&self, options: &PreprocessOptions) -> PreprocessConfig {
        let rule = match options.rule.as_ref().unwrap_or(&self.rule) {
            rule @ (PixelRule::OpenClip | PixelRule::Timm(_)) => rule.clone(),
            PixelRule::Transformers(processor) => PixelRule::Transformers(processor.at(self.size)),
        };
        PreprocessConfig {
            size: self.size,
            mean: options.mean.unwrap_or(self.mean),
            std: options.std.unwrap_or(self.std),
            interpolation: options.interpolation.unwrap_or(self.interpolation),
            resize_mode: options.resize_mode.unwrap_or(self.resize_mode),
            fill_color: options.fill_color.unwrap_or(self.fill_color),
            rule,
        }
    }

    /// The same settings under open_clip's rule, as an open_clip folder states them.
    pub fn under_open_clip(&self) -> PreprocessConfig {
        PreprocessConfig { rule: PixelRule::OpenClip, ..self.clone() }
    }

    /// What the rule does that no open_clip config can express. If nothing, images differ only in rounding: how they
    /// are resized, cropped and converted to RGB.
    pub fn open_clip_differences(&self) -> Vec<OpenClipDifference> {
        match &self.rule {
            PixelRule::OpenClip => Vec::new(),
            PixelRule::Transformers(processor) => processor.beyond_open_clip(self.size),
            PixelRule::Timm(grids) => {
                vec![OpenClipDifference::Size {
                    to: ResizeTo::Patches(*grids),
                    size: self.size,
                    crops: false,
                }]
            }
        }
    }

    /// The object that open_clip writes, with open_clip's key order.
    pub(super) fn document(&self) -> Json {
        let size = if self.size[0] == self.size[1] {
            JsonValue::Unsigned(self.size[0] as u64)
        } else {
            array(self.size.map(|side| JsonValue::Unsigned(side as u64)))
        };
        let members = [
            ("size", size),
            ("mode", string("RGB")),
            ("mean", array(self.mean.map(number))),
            ("std", array(self.std.map(number))),
            ("interpolation", string(self.interpolation.name())),
            ("resize_mode", string(self.resize_mode.name())),
            ("fill_color", JsonValue::Unsigned(self.fill_color.into())),
        ];
        let member = |(key, value): (&str, JsonValue)| (key.to_owned(), Json { offset: 0, value });
        Json { offset: 0, value: JsonValue::Object(members.into_iter().map(member).collect()) }
    }
}

/// Preprocessing settings from a config, a pretrained tag or a command line; `None` leaves a setting unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreprocessOptions {
    /// Height and width as written; open_clip replaces them with the tower's own.
    pub size: Option<[usize; 2]>,
    /// Mean of each channel.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of each channel.
    pub std: Option<[f64; 3]>,
    /// Interpolation.
    pub interpolation: Option<Interpolation>,
    /// Resize mode.
    pub resize_mode: Option<ResizeMode>,
    /// Padding value.
    pub fill_color: Option<u8>,
    /// The rule by which an image becomes pixels.
    pub rule: Option<PixelRule>,
}

/// Keys of `preprocess_cfg`.
const KEYS: [&str; 7] = ["size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"];

impl PreprocessOptions {
    pub(super) fn read(at: JsonCursor<'_>) -> Result<PreprocessOptions, FormatError> {
        PreprocessOptions::read_beside(&at, &[])
    }

    /// Reads the settings from an object that has other keys too.
    pub(crate) fn read_beside(
        at: &JsonCursor<'_>,
        others: &[&str],
    ) -> Result<PreprocessOptions, FormatError> {
        let known: Vec<&str> = KEYS.iter().chain(others).copied().collect();
        let fields = Fields::new(at.clone(), &known)?;
        if let Some(mode) = fields.value("mode")? {
            super::fields::word(&mode, &[("RGB", ())])?;
        }
        let std = fields.value("std")?.map(|value| channels(&value, f64::MIN_POSITIVE..=1e6)).transpose()?;
        let fill = fields.value("fill_color")?.map(|value| value.integer(0, 255)).transpose()?;
        let interpolation = fields.value("interpolation")?;
        let resize_mode = fields.value("resize_mode")?;
        Ok(PreprocessOptions {
            size: fields.value("size")?.map(|value| read_size(&value)).transpose()?,
            mean: fields.value("mean")?.map(|value| channels(&value, -1e6..=1e6)).transpose()?,
            std,
            interpolation: interpolation
                .map(|value| super::fields::word(&value, &Interpolation::NAMES))
                .transpose()?,
            resize_mode: resize_mode
                .map(|value| super::fields::word(&value, &ResizeMode::NAMES))
                .transpose()?,
            fill_color: fill.map(|value| value as u8),
            rule: None,
        })
    }

    /// The same settings overridden by `other`. Settings of open_clip follow its rule, so they replace another rule.
    pub fn merged(&self, other: &PreprocessOptions) -> PreprocessOptions {
        let of_open_clip = PreprocessOptions { size: None, rule: None, ..other.clone() };
        let rule = match &other.rule {
            Some(rule) => Some(rule.clone()),
            None if of_open_clip == PreprocessOptions::default() => self.rule.clone(),
            None => None,
        };
        PreprocessOptions {
            rule,
            size: other.size.or(self.size),
            mean: other.mean.or(self.mean),
            std: other.std.or(self.std),
            interpolation: other.interpolation.or(self.interpolation),
            resize_mode: other.resize_mode.or(self.resize_mode),
            fill_color: other.fill_color.or(self.fill_color),
        }
    }
}

fn read_size(value: &JsonCursor<'_>) -> Result<[usize; 2], FormatError> {
    let range = 1..=limits::IMAGE_SIDE;
    // `[n]` means one side here, as in torchvision.
    match value.items().map(|items| items.collect::<Vec<_>>()) {
        Ok(items) if items.len() == 1 => items[0].integer(1, limits::IMAGE_SIDE).map(|side| [side, side]),
        _ => super::fields::sides(value, range),
    }
}

/// One number for each channel, or one for all three.
fn channels(value: &JsonCursor<'_>, range: std::ops::RangeInclusive<f64>) -> Result<[f64; 3], FormatError> {
    let Ok(items) = value.items() else {
        let number = number_in(value, range)?;
        if number == 0.0 {
            // open_clip treats a bare 0 as unset, which cannot be what was meant.
            return Err(value.error(Code::BadValue, "expected three numbers, found 0"));
        }
        return Ok([number; 3]);
    };
    if items.len() != 3 {
        let cause =
            format!("expected one number for each of 3 channels, found an array of length {}", items.len());
        return Err(value.error(Code::BadValue, cause));
    }
    let mut channels = [0.0; 3];
    for (channel, item) in channels.iter_mut().zip(items) {
        *channel = number_in(&item, range.clone())?;
    }
    Ok(channels)
}
