//! One image of a call.

use std::path::PathBuf;
use std::sync::Arc;

use clipway_run::image::{Image, Preprocess};
use numpy::{
    PyArray1, PyArray3, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray3,
    PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};

use super::arrow::Chunk;
use super::{EXPECTED, Given, pillow};
use crate::options::type_name;

/// An image that Python holds for as long as it is used.
pub enum Held<'py> {
    /// The bytes of a file.
    Bytes(PyBackedBytes),
    /// The bytes of a file in another object's buffer.
    Buffer(PyReadonlyArray1<'py, u8>),
    /// A path.
    Path(PathBuf),
    /// RGB samples, `[height, width, 3]`.
    Array(PyReadonlyArray3<'py, u8>),
    /// A decoded image.
    Decoded(Box<Image>),
    /// A value of a column.
    Value(Arc<Chunk<'py>>, usize),
}

impl<'py> Held<'py> {
    /// The image at an index of a call.
    ///
    /// # Errors
    /// Another type, shape or dtype, and objects that are closed.
    pub fn of(image: &Bound<'py, PyAny>, index: usize, settings: &Preprocess) -> PyResult<Held<'py>> {
        if let Ok(bytes) = image.cast::<PyBytes>() {
            return Ok(Held::Bytes(bytes.clone().into()));
        }
        if let Ok(array) = image.cast::<PyUntypedArray>() {
            return array_image(array, index);
        }
        if pillow::is_image(image)? {
            let decoded = pillow::decoded(image, settings.apply_orientation);
            return decoded
                .map(|image| Held::Decoded(Box::new(image)))
                .map_err(|cause| named(image.py(), index, cause));
        }
        if image.is_instance_of::<PyString>() || image.hasattr("__fspath__")? {
            return image.extract().map(Held::Path).map_err(|cause| named(image.py(), index, cause));
        }
        buffer(image, index)
    }

    /// The image without the interpreter.
    pub fn given(&self) -> Given<'_> {
        match self {
            Held::Bytes(bytes) => Given::File(bytes),
            Held::Buffer(buffer) => buffer.as_slice().map_or(Given::Null, Given::File),
            Held::Path(path) => Given::Path(path),
            Held::Array(array) => {
                let (height, width) = (array.shape()[0], array.shape()[1]);
                array.as_slice().map_or(Given::Null, |samples| Given::Rgb { height, width, samples })
            }
            Held::Decoded(image) => Given::Decoded(image),
            Held::Value(chunk, index) => chunk.value(*index).map_or(Given::Null, Given::File),
        }
    }

    /// What messages call the image.
    pub fn name(&self, index: usize) -> String {
        match self {
            Held::Path(path) => format!("image {index} (`{}`)", path.display()),
            _ => format!("image {index}"),
        }
    }
}

/// Whether an object is an array with this number of dimensions.
pub fn is_array_of(object: &Bound<'_, PyAny>, dimensions: usize) -> bool {
    object.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() == dimensions)
}

/// An array as an image; one whose rows do not follow each other is copied.
fn array_image<'py>(array: &Bound<'py, PyUntypedArray>, index: usize) -> PyResult<Held<'py>> {
    let py = array.py();
    let expected = "expected a uint8 array [height, width, 3]";
    if !array.dtype().is_equiv_to(&dtype::<u8>(py)) {
        let found = array.dtype();
        return Err(PyTypeError::new_err(format!("image {index}: {expected}, found dtype {found}")));
    }
    let shape = array.shape();
    if shape.len() != 3 || shape[2] != 3 {
        let more = match shape {
            [3, _, _] => ": move the channels to the end",
            [_, _, 4] => ": convert it to RGB",
            [_, _] => ": convert it to RGB (a file's bytes are passed as bytes)",
            _ => "",
        };
        return Err(PyValueError::new_err(format!("image {index}: {expected}, found {shape:?}{more}")));
    }
    if shape.contains(&0) {
        return Err(PyValueError::new_err(format!("image {index}: {shape:?} has no pixels")));
    }
    let array = match array.is_c_contiguous() {
        true => array.clone().into_any(),
        false => py.import("numpy")?.call_method1("ascontiguousarray", (array,))?,
    };
    let array = array.cast_into::<PyArray3<u8>>()?;
    array.try_readonly().map(Held::Array).map_err(|error| in_use(index, &error))
}

/// The bytes of a file in the buffer of an object such as a `memoryview`.
fn buffer<'py>(image: &Bound<'py, PyAny>, index: usize) -> PyResult<Held<'py>> {
    let py = image.py();
    let wrong = || {
        let found = type_name(image);
        let more = match image.hasattr("read") {
            Ok(true) => ": pass the bytes that `read()` returns",
            _ => "",
        };
        PyTypeError::new_err(format!("image {index}: expected {EXPECTED}, found {found}{more}"))
    };
    let builtins = py.import("builtins")?;
    if let Err(cause) = builtins.call_method1("memoryview", (image,)) {
        return Err(if cause.is_instance_of::<PyTypeError>(py) { wrong() } else { named(py, index, cause) });
    }
    let numpy = py.import("numpy")?;
    let bytes = numpy.call_method1("frombuffer", (image, numpy.getattr("uint8")?));
    let bytes = bytes.map_err(|cause| named(py, index, cause))?.cast_into::<PyArray1<u8>>()?;
    bytes.try_readonly().map(Held::Buffer).map_err(|error| in_use(index, &error))
}

fn in_use(index: usize, error: &numpy::BorrowError) -> PyErr {
    PyValueError::new_err(format!("image {index}: the array is in use: {error}"))
}

/// An exception with the index of the image, of the same kind where it is a usual one.
fn named(py: Python<'_>, index: usize, cause: PyErr) -> PyErr {
    let text = format!("image {index}: {}", cause.value(py));
    let named = match cause.is_instance_of::<PyTypeError>(py) {
        true => PyTypeError::new_err(text),
        false => PyValueError::new_err(text),
    };
    named.set_cause(py, Some(cause));
    named
}
