//! `clipway._clipway`, the extension module of the Python package: arguments are read and results made here, and all work
//! is done by the other crates without holding the interpreter.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod errors;
mod options;
mod watched;
mod threads;
mod of_process;
mod inputs;
mod model;
mod tokenizer;
mod index;
mod commands;

use pyo3::prelude::*;

/// The parts of clipway that are written in Rust; the package `clipway` shows them.
#[pymodule]
mod _clipway {
    #[pymodule_export]
    use crate::commands::{command, command_help, main};
    #[pymodule_export]
    use crate::index::Index;
    #[pymodule_export]
    use crate::model::{Model, reload};
    #[pymodule_export]
    use crate::tokenizer::Tokenizer;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
