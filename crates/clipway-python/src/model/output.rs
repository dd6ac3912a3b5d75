//! Arrays that calls return, and arrays that they take.

use numpy::ndarray::Dimension;
use numpy::{
    Element, PyArray, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray,
    PyReadwriteArray2, PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::options::type_name;

/// Rows of features, in a new array or in one that the caller gave.
pub struct Rows<'py> {
    width: usize,
    new: Vec<f32>,
    /// The caller's array, and the number of values written.
    given: Option<(PyReadwriteArray2<'py, f32>, Bound<'py, PyArray2<f32>>, usize)>,
}

impl<'py> Rows<'py> {
    /// Room for `total` rows, where that is known.
    ///
    /// # Errors
    /// An array `out` of another type, dtype or shape, or one that cannot be written to.
    pub fn new(
        py: Python<'py>,
        width: usize,
        total: Option<usize>,
        out: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Rows<'py>> {
        let Some(out) = out else {
            let room = total.unwrap_or(0).saturating_mul(width).min(1 << 28);
            return Ok(Rows { width, new: Vec::with_capacity(room), given: None });
        };
        let rows = total.map_or_else(|| "images".to_owned(), |total| total.to_string());
        let expected = format!("`out`: expected a float32 array [{rows}, {width}]");
        let wrong = |found: String| PyTypeError::new_err(format!("{expected}, found {found}"));
        let array = out.cast::<PyUntypedArray>().map_err(|_| wrong(type_name(&out)))?;
        if !array.dtype().is_equiv_to(&dtype::<f32>(py)) {
            return Err(wrong(format!("dtype {}", array.dtype())));
        }
        let shape = array.shape();
        if shape.len() != 2 || shape[1] != width || total.is_some_and(|total| shape[0] != total) {
            return Err(PyValueError::new_err(format!("{expected}, found {shape:?}")));
        }
        if !array.is_c_contiguous() {
            return Err(PyValueError::new_err("`out`: expected an array whose rows follow each other"));
        }
        let array = out.cast_into::<PyArray2<f32>>()?;
        let refuse = |error| PyValueError::new_err(format!("`out`: {error}"));
        let writable = array.try_readwrite().map_err(refuse)?;
        Ok(Rows { width, new: Vec::new(), given: Some((writable, array, 0)) })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// More rows than the caller's array has.
    pub fn extend(&mut self, rows: Vec<f32>) -> PyResult<()> {
        let Some((writable, _, written)) = &mut self.given else {
            match self.new.is_empty() && self.new.capacity() < rows.len() {
                true => self.new = rows,
                false => self.new.extend(rows),
            }
            return Ok(());
        };
        let all = writable.as_slice_mut().map_err(|error| PyValueError::new_err(error.to_string()))?;
        let place = all.get_mut(*written..*written + rows.len());
        let Some(place) = place else {
            return Err(PyValueError::new_err("`out`: there are more images than rows"));
        };
        place.copy_from_slice(&rows);
        *written += rows.len();
        Ok(())
    }

    /// The array.
    ///
    /// # Errors
    /// Fewer rows than the caller's array has.
    pub fn finish(self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let Some((writable, array, written)) = self.given else { return array2(py, self.new, self.width) };
        if written != writable.len() {
            let (rows, found) = (writable.len() / self.width.max(1), written / self.width.max(1));
            return Err(PyValueError::new_err(format!(
                "`out` has {rows} rows, but there were {found} images"
            )));
        }
        Ok(array)
    }
}

/// Values as rows of `width`, without a copy.
///
/// # Errors
/// Too little memory for the array's own data.
pub fn array2<T: Element>(py: Python<'_>, values: Vec<T>, width: usize) -> PyResult<Bound<'_, PyArray2<T>>> {
    let rows = values.len() / width.max(1);
    PyArray1::from_vec(py, values).reshape([rows, width])
}

/// An array of a dtype and number of dimensions, copied only if its rows do not follow each other.
///
/// # Errors
/// Another type, dtype or number of dimensions.
pub fn contiguous<'py, T: Element, D: Dimension>(
    object: &Bound<'py, PyAny>,
    name: &str,
    shape: &str,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    let py = object.py();
    let wrong =
        |found: String| PyTypeError::new_err(format!("expected a {name} array {shape}, found {found}"));
    let array = object.cast::<PyUntypedArray>().map_err(|_| wrong(type_name(object)))?;
    if !array.dtype().is_equiv_to(&dtype::<T>(py)) {
        return Err(wrong(format!("dtype {}", array.dtype())));
    }
    if D::NDIM.is_some_and(|dimensions| dimensions != array.ndim()) {
        return Err(PyValueError::new_err(format!(
            "expected a {name} array {shape}, found {:?}",
            array.shape()
        )));
    }
    let array = match array.is_c_contiguous() {
        true => object.clone(),
        false => py.import("numpy")?.call_method1("ascontiguousarray", (object,))?,
    };
    let array = array.cast_into::<PyArray<T, D>>()?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("the array is in use: {error}")))
}
