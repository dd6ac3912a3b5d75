//! A decoded image in its file's own mode.

/// The samples of an image, interleaved, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// 1 bit per pixel, stored as 0 or 255.
    Bilevel(Vec<u8>),
    /// Gray, `[height, width]`.
    Gray(Vec<u8>),
    /// Gray and alpha, `[height, width, 2]`.
    GrayAlpha(Vec<u8>),
    /// Indices into 256 colors, `[height, width]`.
    Palette {
        /// The index of each pixel.
        indices: Vec<u8>,
        /// The color of each index.
        colors: Box<[[u8; 3]; 256]>,
    },
    /// Red, green, blue, `[height, width, 3]`.
    Rgb(Vec<u8>),
    /// Red, green, blue, alpha, `[height, width, 4]`.
    Rgba(Vec<u8>),
    /// Cyan, magenta, yellow, black as amounts of ink, `[height, width, 4]`.
    Cmyk(Vec<u8>),
    /// 16-bit gray, `[height, width]`.
    Gray16(Vec<u16>),
    /// 16-bit gray with the bytes of each word swapped, `[height, width]`: a big-endian TIFF. Pillow resizes the
    /// swapped words, so they must stay swapped until then.
    Gray16Swapped(Vec<u16>),
    /// Signed integers, `[height, width]`.
    Integer(Vec<i32>),
    /// Floats, `[height, width]`.
    Real(Vec<f32>),
}

/// Transparency that a file states beside samples without alpha.
///
/// open_clip ignores it; transformers' processors composite it over white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transparency {
    /// The alpha of each palette color.
    Alphas(Box<[u8; 256]>),
    /// The RGB color whose pixels are transparent.
    Color([u8; 3]),
}

/// A decoded image in its file's own mode.
///
/// open_clip resizes in that mode and converts to RGB afterwards, so nothing is converted here.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// The EXIF orientation, 1 to 8, if the file states one that has not been applied.
    pub orientation: Option<u8>,
    /// The transparency, if the file states it and the samples have no alpha.
    pub transparency: Option<Transparency>,
    /// The pixels.
    pub samples: Samples,
}

impl Image {
    /// Pillow's name of the mode.
    ///
    /// One of `1`, `L`, `LA`, `P`, `RGB`, `RGBA`, `CMYK`, `I;16`, `I;16B`, `I` and `F`.
    pub fn mode(&self) -> &'static str {
        match self.samples {
            Samples::Bilevel(_) => "1",
            Samples::Gray(_) => "L",
            Samples::GrayAlpha(_) => "LA",
            Samples::Palette { .. } => "P",
            Samples::Rgb(_) => "RGB",
            Samples::Rgba(_) => "RGBA",
            Samples::Cmyk(_) => "CMYK",
            Samples::Gray16(_) => "I;16",
            Samples::Gray16Swapped(_) => "I;16B",
            Samples::Integer(_) => "I",
            Samples::Real(_) => "F",
        }
    }
}

/// RGB bytes, `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The bytes, interleaved, row by row.
    pub data: Vec<u8>,
}
