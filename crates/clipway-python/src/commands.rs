//! Commands as functions, and the program itself.

use std::ffi::OsString;

use clipway_cli::library;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::options::{options, word};
use crate::watched::watched;

/// Runs a command of the command line: its paths, its options by keyword. Returns its result, or raises ClipwayError.
#[pyfunction]
#[pyo3(signature = (name, paths, options=None))]
pub fn command<'py>(
    py: Python<'py>,
    name: &str,
    paths: Vec<Bound<'py, PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let paths = paths.iter().map(|path| word("path", path)).collect::<PyResult<Vec<OsString>>>()?;
    let (command, options) = (name.to_owned(), self::options(options)?);
    let reply = watched(py, move |cancel| library::call(&command, paths, options, cancel))?;
    let reply = reply.map_err(|error| errors::of_call(py, &error))?;
    errors::say(py, &reply.notes, &reply.warnings)?;
    if !reply.passed {
        let message = format!("`{name}` answers no: `details` says what differs");
        return Err(errors::error_with(py, "verification", &message, None, Some(&reply.result)));
    }
    errors::to_python(py, &reply.result)
}

/// The options of a command, one paragraph each; those of `Model.load` for "load".
#[pyfunction]
pub fn command_help(name: &str) -> Option<String> {
    match name {
        "load" => Some(library::load_help()),
        _ => library::help(name),
    }
}

/// Runs the program `clipway` with these arguments, the first of which is its name, and returns its exit status.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| clipway_cli::run(arguments))
}
