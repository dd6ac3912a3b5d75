//! Reports how far a call is.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::options::type_name;

/// Reports how far a call is.
pub struct Progress<'py> {
    function: Option<Bound<'py, PyAny>>,
    total: Option<usize>,
    bar: Option<Bound<'py, PyAny>>,
}

impl<'py> Progress<'py> {
    /// What the argument asks for.
    ///
    /// # Errors
    /// Anything but a function, a truth value and `None`; tqdm where it is not installed.
    pub fn of(
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

    /// Reports the number of items done.
    pub fn report(&mut self, done: usize) -> PyResult<()> {
        self.function.iter().try_for_each(|function| function.call1((done, self.total)).map(drop))
    }

    /// Ends the bar.
    pub fn close(self) -> PyResult<()> {
        self.bar.iter().try_for_each(|bar| bar.call_method0("close").map(drop))
    }
}
