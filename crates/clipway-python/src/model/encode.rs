//! The work of a model's methods, batch by batch.

use clipway_run::clip::ClipError;
use clipway_run::encoder::normalize;
use clipway_run::zero_shot::Classifier;
use numpy::{PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray2, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyString};
use rayon::prelude::*;

use super::output::{Rows, array2};
use super::{Inner, of_clip};
use crate::errors;
use crate::inputs::{Given, Held, Images, Unreadable};
use crate::options::type_name;

/// Bytes of pixels that a batch may have, unless one image has more.
const BATCH_BYTES: usize = 256 << 20;

/// Number of images of a batch where the caller does not choose.
const BATCH: usize = 32;

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
    pub inner: &'a Inner,
    pub normalize: bool,
    pub on_error: OnError<'py>,
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
    fn each(
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
            let mut features =
                features.map_err(|error: ClipError| of_clip(py, &error.naming(named)))?;
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
    settings: &clipway_run::image::Preprocess,
    limits: &clipway_run::image::DecodeLimits,
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
fn batch_size(wanted: usize, values: usize) -> PyResult<usize> {
    match wanted {
        0 => Err(PyValueError::new_err("`batch_size`: expected at least 1, found 0")),
        _ => Ok(wanted.min((BATCH_BYTES / (4 * values.max(1))).max(1))),
    }
}

/// Features of texts.
pub fn text_features<'py>(
    py: Python<'py>,
    inner: &Inner,
    texts: &[PyBackedStr],
    is_normalized: bool,
    batch_size: usize,
    mut rows: Rows<'py>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    if batch_size == 0 {
        return Err(PyValueError::new_err("`batch_size`: expected at least 1, found 0"));
    }
    if !inner.clip.has_text_tower() {
        return Err(errors::error(py, "missing", "the text tower is not loaded", None));
    }
    let mut truncated = 0;
    for pass in texts.chunks(batch_size) {
        let computed = inner.run(py, || inner.clip.encode_texts(pass))?;
        let (mut features, cut) = computed.map_err(|error| of_clip(py, &error))?;
        if is_normalized {
            normalize(&mut features, inner.clip.embed_dim());
        }
        rows.extend(features)?;
        truncated += cut;
        py.check_signals()?;
    }
    if truncated > 0 {
        let count = texts.len();
        let text = format!("{truncated} of {count} texts are longer than the model's context and were truncated");
        errors::warn(py, &text)?;
    }
    rows.finish(py)
}

/// Normalized pixels of all images.
pub fn pixels<'py>(
    py: Python<'py>,
    inner: &Inner,
    mut images: Images<'py>,
) -> PyResult<Bound<'py, PyArray4<f32>>> {
    let Inner { clip, limits, .. } = inner;
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
    let (height, width) = settings.size;
    PyArray1::from_vec(py, all).reshape([done, 3, height, width])
}

/// Features of pixels.
pub fn pixel_features<'py>(
    py: Python<'py>,
    inner: &Inner,
    pixels: &PyReadonlyArray4<'py, f32>,
    is_normalized: bool,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let clip = &inner.clip;
    let (height, width) = clip.preprocess().size;
    if pixels.shape()[1..] != [3, height, width] {
        let found = pixels.shape();
        let message = format!("expected pixels [images, 3, {height}, {width}], found {found:?}");
        return Err(PyValueError::new_err(message));
    }
    let values = pixels.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
    let mut features = Vec::with_capacity(pixels.shape()[0] * clip.embed_dim());
    let count = batch_size(BATCH, clip.pixel_values())?;
    for pass in values.chunks(count * clip.pixel_values()) {
        let computed = inner.run(py, || clip.encode_pixels(pass))?;
        features.extend(computed.map_err(|error| of_clip(py, &error))?);
        py.check_signals()?;
    }
    if is_normalized {
        normalize(&mut features, clip.embed_dim());
    }
    array2(py, features, clip.embed_dim())
}

/// Features of token ids.
pub fn token_features<'py>(
    py: Python<'py>,
    inner: &Inner,
    tokens: &PyReadonlyArray2<'py, i64>,
    is_normalized: bool,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let clip = &inner.clip;
    let [context, _] = clip.text_input().map_err(|error| of_clip(py, &error))?;
    if tokens.shape()[1] != context {
        let found = tokens.shape();
        return Err(PyValueError::new_err(format!("expected token ids [texts, {context}], found {found:?}")));
    }
    let ids = tokens.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
    let computed = inner.run(py, || clip.encode_tokens(ids))?;
    let mut features = computed.map_err(|error| of_clip(py, &error))?;
    if is_normalized {
        normalize(&mut features, clip.embed_dim());
    }
    array2(py, features, clip.embed_dim())
}

/// Probabilities of labels for all images.
pub fn probabilities<'py>(
    py: Python<'py>,
    inner: &Inner,
    images: Images<'py>,
    total: Option<usize>,
    classifier: &Classifier,
    labels: usize,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let call = ImageCall { inner, normalize: false, on_error: OnError::Raise, batch_size: BATCH };
    let mut all = Vec::with_capacity(total.unwrap_or(0).saturating_mul(labels).min(1 << 28));
    call.each(py, images, |features, _| {
        for row in features.chunks_exact(inner.clip.embed_dim()) {
            let start = all.len();
            all.resize(start + labels, 0.0);
            for score in classifier.scores(row) {
                all[start + score.label] = score.probability;
            }
        }
        Ok(())
    })?;
    array2(py, all, labels)
}

/// Who is told how far a call is.
struct Progress<'py> {
    function: Option<Bound<'py, PyAny>>,
    total: Option<usize>,
    bar: Option<Bound<'py, PyAny>>,
}

impl<'py> Progress<'py> {
    fn of(
        py: Python<'py>,
        argument: Option<Bound<'py, PyAny>>,
        total: Option<usize>,
    ) -> PyResult<Progress<'py>> {
        let none = Progress { function: None, total, bar: None };
        let Some(argument) = argument else { return Ok(none) };
        if let Ok(on) = argument.cast::<PyBool>() {
            if !on.is_true() {
                return Ok(none);
            }
            let bar = py.import("clipway._progress")?.call_method1("bar", (total,))?;
            return Ok(Progress { function: Some(bar.getattr("report")?), total, bar: Some(bar) });
        }
        match argument.is_callable() {
            true => Ok(Progress { function: Some(argument), ..none }),
            false => Err(PyTypeError::new_err(format!(
                "`progress`: expected a function, True or None, found {}",
                type_name(&argument)
            ))),
        }
    }

    fn report(&mut self, done: usize) -> PyResult<()> {
        self.function.iter().try_for_each(|function| function.call1((done, self.total)).map(drop))
    }

    fn close(self) -> PyResult<()> {
        self.bar.iter().try_for_each(|bar| bar.call_method0("close").map(drop))
    }
}
