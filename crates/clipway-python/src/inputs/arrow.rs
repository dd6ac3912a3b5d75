//! Columns of Arrow: the values of a binary column are borrowed from its buffers.

use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::Held;

/// A binary column in one or several chunks.
pub struct Column<'py> {
    chunks: Vec<Arc<Chunk<'py>>>,
    /// The next value: its chunk and its index in there.
    next: (usize, usize),
}

/// One chunk of a column.
pub struct Chunk<'py> {
    /// The bytes of all values.
    data: Option<PyReadonlyArray1<'py, u8>>,
    /// Where each value begins, and where the last one ends.
    offsets: Vec<usize>,
    /// Which values are null; empty if none is.
    nulls: Vec<bool>,
}

impl Chunk<'_> {
    /// The bytes of a value; none for a null.
    pub fn value(&self, index: usize) -> Option<&[u8]> {
        if self.nulls.get(index).copied().unwrap_or(false) {
            return None;
        }
        let data = match &self.data {
            Some(data) => data.as_slice().ok()?,
            None => &[],
        };
        data.get(*self.offsets.get(index)?..*self.offsets.get(index + 1)?)
    }
}

impl<'py> Column<'py> {
    /// The column of an object that passes Arrow data, or `None` for another object.
    ///
    /// # Errors
    /// A column of another type, and an object of another library where `pyarrow` is not installed.
    pub fn of(py: Python<'py>, object: &Bound<'py, PyAny>) -> PyResult<Option<Column<'py>>> {
        let is_stream = object.hasattr("__arrow_c_stream__")?;
        if !is_stream && !object.hasattr("__arrow_c_array__")? {
            return Ok(None);
        }
        let pyarrow = py.import("pyarrow")?;
        let arrays: Vec<Bound<'py, PyAny>> = match is_stream {
            true => pyarrow.call_method1("chunked_array", (object,))?.getattr("chunks")?.extract()?,
            false => vec![pyarrow.call_method1("array", (object,))?],
        };
        let chunks = arrays.iter().map(|array| chunk(&pyarrow, array).map(Arc::new));
        Ok(Some(Column { chunks: chunks.collect::<PyResult<_>>()?, next: (0, 0) }))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.offsets.len() - 1).sum()
    }

    /// The next values, at most `count`.
    pub fn next(&mut self, count: usize) -> PyResult<Vec<Held<'py>>> {
        let mut values = Vec::with_capacity(count.min(self.len()));
        while let (true, Some(chunk)) = (values.len() < count, self.chunks.get(self.next.0)) {
            if self.next.1 + 1 < chunk.offsets.len() {
                values.push(Held::Value(Arc::clone(chunk), self.next.1));
                self.next.1 += 1;
            } else {
                self.next = (self.next.0 + 1, 0);
            }
        }
        Ok(values)
    }
}

/// A binary array by its buffers, without a copy of its values.
fn chunk<'py>(pyarrow: &Bound<'py, PyModule>, array: &Bound<'py, PyAny>) -> PyResult<Chunk<'py>> {
    let py = array.py();
    let mut array = array.clone();
    let kind = array.getattr("type")?.str()?.to_string();
    let width = match kind.as_str() {
        "binary" => "int32",
        "large_binary" => "int64",
        "binary_view" => {
            array = array.call_method1("cast", (pyarrow.call_method0("large_binary")?,))?;
            "int64"
        }
        _ => {
            return Err(PyTypeError::new_err(format!(
                "expected a column of binary values, found one of {kind}"
            )));
        }
    };
    let numpy = py.import("numpy")?;
    let (first, count): (usize, usize) = (array.getattr("offset")?.extract()?, array.len()?);
    let buffers: Vec<Option<Bound<'py, PyAny>>> = array.call_method0("buffers")?.extract()?;
    let [_, offsets, data] = &buffers[..] else {
        return Err(PyValueError::new_err("a binary column has three buffers"));
    };
    let offsets = match offsets {
        Some(offsets) if count > 0 => {
            let all =
                numpy.call_method1("frombuffer", (offsets, width))?.call_method1("astype", ("int64",))?;
            let all = all.cast_into::<PyArray1<i64>>()?.try_readonly().map_err(in_use)?;
            let all = all.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
            // A negative offset lies outside of every buffer.
            let offsets = all.iter().skip(first).take(count + 1);
            offsets.map(|offset| usize::try_from(*offset).unwrap_or(usize::MAX)).collect()
        }
        _ => vec![0; count + 1],
    };
    let data = match data {
        Some(data) if data.len()? > 0 => {
            let data = numpy.call_method1("frombuffer", (data, "uint8"))?.cast_into::<PyArray1<u8>>()?;
            Some(data.try_readonly().map_err(in_use)?)
        }
        _ => None,
    };
    let nulls = match array.getattr("null_count")?.extract::<usize>()? {
        0 => Vec::new(),
        _ => array.call_method0("is_null")?.call_method0("to_pylist")?.extract()?,
    };
    Ok(Chunk { data, offsets, nulls })
}

fn in_use(error: numpy::BorrowError) -> PyErr {
    PyValueError::new_err(format!("a buffer of the column is in use: {error}"))
}
