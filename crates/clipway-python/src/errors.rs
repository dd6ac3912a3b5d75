//! Failures as Python exceptions, notes and warnings as Python knows them.

use std::error::Error;
use std::ffi::CString;

pub use clipway_cli::library::chain;
use clipway_cli::library::{CallError, Failure};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Makes a `ClipwayError`.
pub fn error(py: Python<'_>, code: &str, message: &str, hint: Option<&str>) -> PyErr {
    error_with(py, code, message, hint, None)
}

/// Makes a `ClipwayError` with details, given as JSON.
pub fn error_with(
    py: Python<'_>,
    code: &str,
    message: &str,
    hint: Option<&str>,
    details: Option<&serde_json::Value>,
) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = || {
        let class = CLASS.import(py, "clipway._errors", "ClipwayError")?;
        let details = details.map(|details| to_python(py, details)).transpose()?;
        class.call1((message, code, hint, details))
    };
    made().map_or_else(|error| error, PyErr::from_value)
}

/// The exception of a failed command.
pub fn of_call(py: Python<'_>, error: &CallError) -> PyErr {
    match error {
        CallError::Option(error) => PyTypeError::new_err(error.to_string()),
        CallError::Failed(failure) => of_failure(py, failure),
    }
}

fn of_failure(py: Python<'_>, failure: &Failure) -> PyErr {
    let Failure { code, message, hint, .. } = failure;
    error_with(py, code, message, hint.as_deref(), failure.json().get("error"))
}

/// The exception of a library's error with its code.
pub fn of_library(py: Python<'_>, code: &str, cause: &dyn Error) -> PyErr {
    error(py, code, &chain(cause), None)
}

/// Passes warnings to `warnings`, and notes to the logger `clipway`.
pub fn say(py: Python<'_>, notes: &[String], warnings: &[String]) -> PyResult<()> {
    if !notes.is_empty() {
        let logger = py.import("logging")?.call_method1("getLogger", ("clipway",))?;
        for note in notes {
            logger.call_method1("info", ("%s", note))?;
        }
    }
    warnings.iter().try_for_each(|text| warn(py, text))
}

/// Warns the caller.
pub fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "clipway._errors", "ClipwayWarning")?;
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    PyErr::warn(py, class, &text, 1)
}

/// A JSON value as Python's own objects.
pub fn to_python<'py>(py: Python<'py>, value: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (value.to_string(),))
}
