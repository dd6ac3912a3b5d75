//! Texts, pixels and token ids, and labels.

use clipway_run::encoder::normalize;
use clipway_run::zero_shot::Classifier;
use numpy::{PyArray2, PyReadonlyArray2, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use super::images::{BATCH, ImageCall, OnError, batch_size};
use super::output::{Rows, array2};
use super::{Inner, of_clip};
use crate::errors;
use crate::inputs::Images;

/// Features of texts.
pub fn text_features<'py>(
    py: Python<'py>,
    inner: &Inner,
    texts: &[PyBackedStr],
    is_normalized: bool,
    wanted: usize,
    mut rows: Rows<'py>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let size = batch_size(wanted, 1)?;
    if !inner.clip.has_text_tower() {
        return Err(errors::error(py, "missing", "the text tower is not loaded", None));
    }
    let mut truncated = 0;
    for pass in texts.chunks(size) {
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
        let text =
            format!("{truncated} of {count} texts are longer than the model's context and were truncated");
        errors::warn(py, &text)?;
    }
    rows.finish(py)
}

/// Features of pixels.
pub fn pixel_features<'py>(
    py: Python<'py>,
    inner: &Inner,
    pixels: &PyReadonlyArray4<'py, f32>,
    is_normalized: bool,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let clip = &inner.clip;
    let (height, width) = inner.common_size()?;
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
    as_rows(py, features, clip.embed_dim(), is_normalized)
}

/// Features as an array with a row for each input.
fn as_rows(
    py: Python<'_>,
    mut features: Vec<f32>,
    width: usize,
    is_normalized: bool,
) -> PyResult<Bound<'_, PyArray2<f32>>> {
    if is_normalized {
        normalize(&mut features, width);
    }
    array2(py, features, width)
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
    let features = computed.map_err(|error| of_clip(py, &error))?;
    as_rows(py, features, clip.embed_dim(), is_normalized)
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
