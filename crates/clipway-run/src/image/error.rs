//! What can be wrong with an image.

use clipway_formats::Code;
use thiserror::Error;

/// An error of decoding or preprocessing an image.
///
/// The file's name is the caller's to add: this module sees bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes begin like no image format.
    #[error("not an image: {found}")]
    NotAnImage {
        /// What the bytes look like instead.
        found: String,
    },
    /// The file is of a kind, or uses a feature of its format, that is not read.
    #[error("{format} is not supported: {feature}")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// The feature that is missing.
        feature: String,
    },
    /// The file ends before its image does.
    #[error("{format} file is cut short: {detail}")]
    Truncated {
        /// The format's name.
        format: &'static str,
        /// Where it ends.
        detail: String,
    },
    /// The file breaks its format's rules.
    #[error("{format} file is corrupt: {detail}")]
    Corrupt {
        /// The format's name.
        format: &'static str,
        /// What is wrong, and where.
        detail: String,
    },
    /// The header announces more pixels than allowed.
    #[error("{width} x {height} is {found} pixels, more than the limit of {limit}")]
    TooManyPixels {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// Width times height.
        found: u64,
        /// The limit that holds.
        limit: u64,
    },
    /// The layout of the file asks for far more work or memory than an image of its size needs.
    #[error("{format} file asks for too much: {detail}")]
    TooMuchWork {
        /// The format's name.
        format: &'static str,
        /// What there is too much of.
        detail: String,
    },
    /// The header announces a width or height of zero.
    #[error("the image is {width} x {height}: it has no pixels")]
    ZeroSize {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// Keeping the aspect ratio would make one side vanish.
    #[error("resizing {width} x {height} would give {resized_width} x {resized_height}: it has no pixels")]
    ResizedAway {
        /// Width of the image.
        width: usize,
        /// Height of the image.
        height: usize,
        /// Width that the rule gives.
        resized_width: usize,
        /// Height that the rule gives.
        resized_height: usize,
    },
    /// An image processor of transformers leaves the image at another size than the tower's.
    #[error(
        "its processor makes it {width} x {height}, and the model takes {expected_width} x {expected_height} only"
    )]
    OtherSize {
        /// Width that it becomes.
        width: usize,
        /// Height that it becomes.
        height: usize,
        /// The tower's width.
        expected_width: usize,
        /// The tower's height.
        expected_height: usize,
    },
    /// A preprocessing setting that cannot be obeyed.
    #[error("`{setting}`: expected {expected}, found {found}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The buffer for the result has the wrong length.
    #[error("the buffer for the pixels has {found} values, expected {expected}")]
    BufferLength {
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
}

impl ImageError {
    /// Stable name of the cause, as [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        let code = match self {
            Self::NotAnImage { .. } => Code::UnknownFormat,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::Truncated { .. } => Code::Truncated,
            Self::Corrupt { .. } => Code::Malformed,
            Self::TooManyPixels { .. } | Self::TooMuchWork { .. } => Code::TooLarge,
            Self::ZeroSize { .. }
            | Self::ResizedAway { .. }
            | Self::OtherSize { .. }
            | Self::Setting { .. }
            | Self::BufferLength { .. } => Code::BadValue,
        };
        code.name()
    }
}
