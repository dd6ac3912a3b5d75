//! Keyword arguments as the options of a command.

use std::ffi::OsString;
use std::path::PathBuf;

use clipway_cli::library::OptionValue;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyTuple};

/// The options that keyword arguments name; `None` leaves an option out.
///
/// # Errors
/// A value that no option takes.
pub fn options(keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<(String, OptionValue)>> {
    let mut options = Vec::new();
    for (name, value) in keywords.into_iter().flatten() {
        let name: String = name.extract()?;
        if value.is_none() {
            continue;
        }
        let value = if let Ok(on) = value.cast::<PyBool>() {
            OptionValue::Switch(on.is_true())
        } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            let words = value.try_iter()?.map(|item| word(&name, &item?));
            OptionValue::Many(words.collect::<PyResult<_>>()?)
        } else {
            OptionValue::One(word(&name, &value)?)
        };
        options.push((name, value));
    }
    Ok(options)
}

/// One value as a word: a string, a path or a number.
pub fn word(name: &str, value: &Bound<'_, PyAny>) -> PyResult<OsString> {
    if value.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err(format!("`{name}`: expected values, found a truth value")));
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Ok(value.str()?.to_string().into());
    }
    let path: PathBuf = value.extract().map_err(|cause: PyErr| {
        let py = value.py();
        if !cause.is_instance_of::<PyTypeError>(py) {
            return cause;
        }
        let found = type_name(value);
        PyTypeError::new_err(format!(
            "`{name}`: expected a string, a path, a number or a list, found {found}"
        ))
    })?;
    Ok(path.into())
}

/// The name of an object's type, for messages.
pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "another object".to_owned(), |name| name.to_string())
}
