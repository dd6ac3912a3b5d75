//! Errors of images.

use clipway_formats::Code;
use thiserror::Error;

/// An error in decoding or preprocessing an image.
///
/// The caller adds the file's name: this module only sees bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes do not start like any image format.
    #[error("not an image: {found}")]
    NotAnImage {
        /// What the bytes look like.
        found: String,
    },
    /// The file's format, or a feature it uses, is not supported.
    #[error("{format} is not supported: {feature}")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// The unsupported feature.
        feature: String,
    },
    /// The file ends before its image does.
    #[error("{format} file is truncated: {detail}")]
    Truncated {
        /// The format's name.
        format: &'static str,
        /// Where it ends.
        detail: String,
    },
    /// The file is invalid in its format.
    #[error("{format} file is corrupt: {detail}")]
    Corrupt {
        /// The format's name.
        format: &'static str,
        /// What is wrong, and where.
        detail: String,
    },
    /// The header states more pixels than allowed.
    #[error("{width} x {height} is {found} pixels, more than the limit of {limit}")]
    TooManyPixels {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// Width times height.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The layout of the file requires far more work or memory than an image of its size needs.
    #[error("{format} file needs too much work: {detail}")]
    TooMuchWork {
        /// The format's name.
        format: &'static str,
        /// What there is too much of.
        detail: String,
    },
    /// The system has no memory for an image that the limits allow.
    #[error("no memory for {width} x {height} pixels")]
    NoMemory {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// The header states a width or height of zero.
    #[error("the image is {width} x {height}: it has no pixels")]
    ZeroSize {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// Keeping the aspect ratio would reduce one side to zero.
    #[error("resizing {width} x {height} would give {resized_width} x {resized_height}: it has no pixels")]
    ResizedAway {
        /// Width of the image.
        width: usize,
        /// Height of the image.
        height: usize,
        /// Resulting width.
        resized_width: usize,
        /// Resulting height.
        resized_height: usize,
    },
    /// A transformers image processor leaves the image at another size than the tower's.
    #[error(
        "its processor makes it {width} x {height}, but the model expects {expected_width} x {expected_height}"
    )]
    OtherSize {
        /// Resulting width.
        width: usize,
        /// Resulting height.
        height: usize,
        /// The tower's width.
        expected_width: usize,
        /// The tower's height.
        expected_height: usize,
    },
    /// An invalid preprocessing setting.
    #[error("`{setting}`: expected {expected}, found {found}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The buffer for the result has the wrong length.
    #[error("the buffer for the pixels has {found} values, expected {expected}")]
    BufferLength {
        /// Number of values needed.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
}

impl ImageError {
    /// Stable code of the error, as in [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        let code = match self {
            Self::NotAnImage { .. } => Code::UnknownFormat,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::Truncated { .. } => Code::Truncated,
            Self::Corrupt { .. } => Code::Malformed,
            Self::TooManyPixels { .. } | Self::TooMuchWork { .. } => Code::TooLarge,
            Self::NoMemory { .. } => Code::NoMemory,
            Self::ZeroSize { .. }
            | Self::ResizedAway { .. }
            | Self::OtherSize { .. }
            | Self::Setting { .. }
            | Self::BufferLength { .. } => Code::BadValue,
        };
        code.name()
    }
}
