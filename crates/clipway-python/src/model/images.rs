//! Images, batch by batch: read on the model's threads, and encoded together.

use clipway_run::clip::ClipError;
use clipway_run::encoder::normalize;
use clipway_run::image::{DecodeLimits, Preprocess};
use numpy::{PyArray1, PyArray2, PyArray4, PyArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use rayon::prelude::*;

use super::output::Rows;
use super::progress::Progress;
use super::{Inner, of_clip};
use crate::errors;
use crate::inputs::{Given, Held, Images, Unreadable};
use crate::options::type_name;

/// Bytes of pixels that a batch may have, unless one image has more.
const BATCH_BYTES: usize = 256 << 20;

/// Number of images of a batch where the caller does not choose.
pub const BATCH: usize = 32;

/// What happens to images that cannot be read.
pub enum OnError<'py> {
    /// They end the call.
    Raise,
    /// Their rows are NaN.
    Nan,
    /// Their rows are NaN, and this is called with index and exception.
    Call(Bound<'py, PyAny>),
}

impl<'py> OnError<'py> {
    /// What the argument asks for.
    ///
    /// # Errors
    /// Anything but "raise", "nan" and a function.
    pub fn of(argument: Option<Bound<'py, PyAny>>) -> PyResult<OnError<'py>> {
        let Some(argument) = argument else { return Ok(OnError::Raise) };
        if let Ok(text) = argument.cast::<PyString>() {
            return match text.to_cow()?.as_ref() {
                "raise" => Ok(OnError::Raise),
                "nan" => Ok(OnError::Nan),
                found => Err(PyValueError::new_err(format!(
                    "`on_error`: expected \"raise\", \"nan\" or a function, found {found:?}"
                ))),
            };
        }
        match argument.is_callable() {
            true => Ok(OnError::Call(argument)),
            false => Err(PyTypeError::new_err(format!(
                "`on_error`: expected \"raise\", \"nan\" or a function, found {}",
                type_name(&argument)
            ))),
        }
    }
}

/// A call for the features of images.
pub struct ImageCall<'a, 'py> {
    /// The model.
    pub inner: &'a Inner,
    /// Whether features are scaled to length 1.
    pub normalize: bool,
    /// What happens to images that cannot be read.
    pub on_error: OnError<'py>,
    /// Number of images that are held and computed together.
    pub batch_size: usize,
}

impl<'py> ImageCall<'_, 'py> {
    /// Features of all images.
    pub fn features(
        &self,
        py: Python<'py>,
        images: Images<'py>,
        total: Option<usize>,
        mut rows: Rows<'py>,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let mut progress = Progress::of(py, progress, total)?;
        let done = self.each(py, images, |features, done| {
            rows.extend(features)?;
            progress.report(done)
        });
        progress.close()?;
        done?;
        rows.finish(py)
    }

    /// Passes on the features of one batch after the other, with the number of images done.
    pub fn each(
        &self,
        py: Python<'py>,
        mut images: Images<'py>,
        mut take: impl FnMut(Vec<f32>, usize) -> PyResult<()>,
    ) -> PyResult<()> {
        let Inner { clip, limits, .. } = self.inner;
        if !clip.has_image_tower() {
            return Err(errors::error(py, "missing", "the image tower is not loaded", None));
        }
        let count = batch_size(self.batch_size, clip.pixel_values())?;
        let (width, values, settings) = (clip.embed_dim(), clip.pixel_values(), clip.preprocess());
        let is_raised = matches!(self.on_error, OnError::Raise);
        let mut done = 0;
        loop {
            let held = images.next(count, done, settings)?;
            if held.is_empty() {
                return Ok(());
            }
            let given: Vec<Given<'_>> = held.iter().map(Held::given).collect();
            let computed = self.inner.run(py, || {
                let mut pixels = vec![0.0; given.len() * values];
                let read = read_pixels(&given, settings, limits, &mut pixels);
                let sound: Vec<usize> = (0..read.len()).filter(|index| read[*index].is_ok()).collect();
                if sound.len() < read.len() {
                    if is_raised {
                        return (read, Ok(Vec::new()), sound);
                    }
                    keep_rows(&mut pixels, values, &sound);
                }
                let features = if sound.is_empty() { Ok(Vec::new()) } else { clip.encode_pixels(&pixels) };
                (read, features, sound)
            })?;
            let (read, features, sound) = computed;
            for (index, unreadable) in read.into_iter().enumerate() {
                let Err(Unreadable { code, message }) = unreadable else { continue };
                let message = format!("{}: {message}", held[index].name(done + index));
                let error = errors::error(py, code, &message, None);
                match &self.on_error {
                    OnError::Raise => return Err(error),
                    OnError::Nan => {}
                    OnError::Call(function) => drop(function.call1((done + index, error))?),
                }
            }
            let named = |index: usize| held[sound[index]].name(done + sound[index]);
            let mut features = features.map_err(|error: ClipError| of_clip(py, &error.naming(named)))?;
            if self.normalize {
                normalize(&mut features, width);
            }
            done += held.len();
            take(spread(features, width, &sound, held.len()), done)?;
            py.check_signals()?;
        }
    }
}

/// Reads images into rows of pixels, in parallel.
fn read_pixels(
    given: &[Given<'_>],
    settings: &Preprocess,
    limits: &DecodeLimits,
    pixels: &mut [f32],
) -> Vec<Result<(), Unreadable>> {
    let rows = pixels.par_chunks_exact_mut(settings.pixel_values()).zip(given).with_max_len(1);
    rows.map(|(row, given)| given.pixels(settings, limits, row)).collect()
}

/// Moves the rows with these indices to the front, and drops the rest.
fn keep_rows(values: &mut Vec<f32>, width: usize, kept: &[usize]) {
    for (place, row) in kept.iter().enumerate() {
        values.copy_within(row * width..(row + 1) * width, place * width);
    }
    values.truncate(kept.len() * width);
}

/// Puts rows at their indices among `count`; the others are NaN.
fn spread(rows: Vec<f32>, width: usize, indices: &[usize], count: usize) -> Vec<f32> {
    if indices.len() == count {
        return rows;
    }
    let mut all = vec![f32::NAN; count * width];
    for (row, index) in rows.chunks_exact(width).zip(indices) {
        all[index * width..(index + 1) * width].copy_from_slice(row);
    }
    all
}

/// The number of images in a batch.
pub fn batch_size(wanted: usize, values: usize) -> PyResult<usize> {
    match wanted {
        0 => Err(PyValueError::new_err("`batch_size`: expected at least 1, found 0")),
        _ => Ok(wanted.min((BATCH_BYTES / (4 * values.max(1))).max(1))),
    }
}

/// Normalized pixels of all images.
pub fn pixels<'py>(
    py: Python<'py>,
    inner: &Inner,
    mut images: Images<'py>,
) -> PyResult<Bound<'py, PyArray4<f32>>> {
    let Inner { clip, limits, .. } = inner;
    let (height, width) = inner.common_size()?;
    let (settings, values) = (clip.preprocess(), clip.pixel_values());
    let (mut all, mut done) = (Vec::new(), 0);
    loop {
        let held = images.next(BATCH, done, settings)?;
        if held.is_empty() {
            break;
        }
        let given: Vec<Given<'_>> = held.iter().map(Held::given).collect();
        let start = all.len();
        all.resize(start + held.len() * values, 0.0);
        let read = inner.run(py, || read_pixels(&given, settings, limits, &mut all[start..]))?;
        for (index, read) in read.into_iter().enumerate() {
            read.map_err(|Unreadable { code, message }| {
                let message = format!("{}: {message}", held[index].name(done + index));
                errors::error(py, code, &message, None)
            })?;
        }
        done += held.len();
        py.check_signals()?;
    }
    PyArray1::from_vec(py, all).reshape([done, 3, height, width])
}
