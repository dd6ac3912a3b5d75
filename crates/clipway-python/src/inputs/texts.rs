//! Texts of a call.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::options::type_name;

/// The texts of an argument, borrowed. `what` names one of them in messages.
///
/// # Errors
/// One text alone, what cannot be iterated, items that are not strings, and strings with lone surrogates.
pub fn texts(texts: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<PyBackedStr>> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "expected a sequence of {what}s, found one: pass `[{what}]`"
        )));
    }
    let wrong = |_| {
        let found = type_name(texts);
        PyTypeError::new_err(format!("expected a sequence of {what}s, found {found}"))
    };
    let each = texts.try_iter().map_err(wrong)?.enumerate();
    each.map(|(index, text)| {
        let text = text?;
        let string = text.cast::<PyString>().map_err(|_| {
            let found = type_name(&text);
            PyTypeError::new_err(format!("{what} {index}: expected a string, found {found}"))
        })?;
        PyBackedStr::try_from(string.clone()).map_err(|cause| {
            let message = format!("{what} {index}: not valid Unicode: {}", cause.value(text.py()));
            PyValueError::new_err(message)
        })
    })
    .collect()
}
