//! Images and texts as Python passes them: borrowed where they have bytes, so that work can go on without the interpreter.

mod arrow;
mod element;
mod pillow;
mod texts;

use clipway_run::image::{
    DecodeLimits, Image, ImageError, Preprocess, Samples, preprocess, to_pixels, transform,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyIterator, PyMemoryView, PyString};

use arrow::Column;
pub use element::Held;
pub use texts::texts;

use crate::options::type_name;

/// What an image may be, for messages.
const EXPECTED: &str = "the bytes of an image file, a path, a PIL image or a uint8 array [height, width, 3]";

/// Images of a call, read batch by batch.
pub enum Images<'py> {
    /// Any iterable.
    Each(Bound<'py, PyIterator>),
    /// A column of binary values.
    Column(Column<'py>),
}

impl<'py> Images<'py> {
    /// Images of an argument, and their number where it is known.
    ///
    /// # Errors
    /// `TypeError` for one image alone and for what cannot be iterated.
    pub fn of(images: &Bound<'py, PyAny>) -> PyResult<(Images<'py>, Option<usize>)> {
        let py = images.py();
        let is_one = images.is_instance_of::<PyBytes>()
            || images.is_instance_of::<PyString>()
            || images.is_instance_of::<PyByteArray>()
            || images.is_instance_of::<PyMemoryView>()
            || images.hasattr("__fspath__")?
            || pillow::is_image(images)?
            || element::is_array_of(images, 3);
        if is_one {
            let found = type_name(images);
            return Err(PyTypeError::new_err(format!(
                "expected a sequence of images, found one ({found}): pass `[image]`"
            )));
        }
        if images.is_instance_of::<PyDict>() {
            return Err(PyTypeError::new_err("expected a sequence of images, found a dict"));
        }
        if let Some(column) = Column::of(py, images)? {
            let count = column.len();
            return Ok((Images::Column(column), Some(count)));
        }
        let each = images.try_iter().map_err(|_| {
            let found = type_name(images);
            PyTypeError::new_err(format!(
                "expected a sequence of images, found {found}; an image is {EXPECTED}"
            ))
        })?;
        Ok((Images::Each(each), images.len().ok()))
    }

    /// The next images, at most `count`. `first` is the index of the first one, for messages.
    ///
    /// # Errors
    /// An image of another type, shape or dtype, and what the iterator raises.
    pub fn next(&mut self, count: usize, first: usize, settings: &Preprocess) -> PyResult<Vec<Held<'py>>> {
        match self {
            Images::Column(column) => column.next(count),
            Images::Each(each) => {
                let images = each.by_ref().take(count).enumerate();
                images.map(|(index, image)| Held::of(&image?, first + index, settings)).collect()
            }
        }
    }
}

/// An image that can be read without the interpreter.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// The bytes of a file.
    File(&'a [u8]),
    /// A path.
    Path(&'a std::path::Path),
    /// RGB samples, `[height, width, 3]`.
    Rgb {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// The samples.
        samples: &'a [u8],
    },
    /// A decoded image.
    Decoded(&'a Image),
    /// Nothing: a null of a column.
    Null,
}

/// Why an image has no pixels: code and message.
pub struct Unreadable {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl From<ImageError> for Unreadable {
    fn from(error: ImageError) -> Unreadable {
        Unreadable { code: error.code(), message: crate::errors::chain(&error) }
    }
}

impl Given<'_> {
    /// Writes the normalized pixels of the image, `[3, height, width]`.
    ///
    /// # Errors
    /// An image that cannot be read, decoded or preprocessed.
    pub fn pixels(
        self,
        settings: &Preprocess,
        limits: &DecodeLimits,
        out: &mut [f32],
    ) -> Result<(), Unreadable> {
        match self {
            Given::File(bytes) => preprocess(bytes, settings, limits, out)?,
            Given::Path(path) => {
                use clipway_model::input::{self, Kind};
                let bytes = input::read(path, Kind::Image).map_err(|error| Unreadable {
                    code: error.code(),
                    message: crate::errors::chain(&error),
                })?;
                preprocess(&bytes, settings, limits, out)?;
            }
            Given::Rgb { height, width, samples } => {
                check_size(height, width, limits)?;
                let samples = Samples::Rgb(samples.to_vec());
                let image = Image { width, height, orientation: None, transparency: None, samples };
                to_pixels(&transform(&image, settings)?, settings, out)?;
            }
            Given::Decoded(image) => {
                check_size(image.height, image.width, limits)?;
                to_pixels(&transform(image, settings)?, settings, out)?;
            }
            Given::Null => {
                return Err(Unreadable { code: "missing", message: "null".to_owned() });
            }
        }
        Ok(())
    }
}

/// The limits of a file's image, for one that is decoded already.
fn check_size(height: usize, width: usize, limits: &DecodeLimits) -> Result<(), ImageError> {
    let (width, height) = (width as u64, height as u64);
    let (found, limit) = (width.saturating_mul(height), limits.max_pixels);
    match found {
        0 => Err(ImageError::ZeroSize { width, height }),
        _ if found > limit => Err(ImageError::TooManyPixels { width, height, found, limit }),
        _ => Ok(()),
    }
}
