//! A model's tokenizer without the model.

use clipway_cli::library::load_tokenizer;
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::inputs::texts;
use crate::model::array2;
use crate::options::{options, word};
use crate::watched::watched;

/// A model's tokenizer, which needs none of its weights.
#[pyclass(frozen, module = "clipway", name = "Tokenizer")]
pub struct Tokenizer {
    tokenizer: clipway_run::text::Tokenizer,
}

#[pymethods]
impl Tokenizer {
    /// Loads the tokenizer of a source, or of a registered model whose vocabulary is CLIP's.
    ///
    /// Takes the sources and options of `Model.load`.
    #[staticmethod]
    #[pyo3(signature = (source, **options))]
    fn load(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Tokenizer> {
        // As in `Model.load`.
        py.import("numpy")?;
        let (said, given) = (word("source", source)?, self::options(options)?);
        let tokenizer = watched(py, move |cancel| load_tokenizer(said, given, cancel))?;
        Ok(Tokenizer { tokenizer: tokenizer.map_err(|error| errors::of_call(py, &error))? })
    }

    /// Token ids of texts, an int64 array `[texts, context_length]`.
    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let context = self.tokenizer.context_length();
        let texts = self::texts(texts, "text")?;
        let mut ids = vec![0; texts.len() * context];
        let encoded = py.detach(|| {
            texts.iter().zip(ids.chunks_exact_mut(context)).try_for_each(|(text, row)| {
                self.tokenizer.encode(text).map(|encoded| row.copy_from_slice(&encoded.ids))
            })
        });
        encoded.map_err(|error| errors::of_library(py, error.code(), &error))?;
        array2(py, ids, context)
    }

    /// Number of tokens in a row.
    #[getter]
    fn context_length(&self) -> usize {
        self.tokenizer.context_length()
    }
}
