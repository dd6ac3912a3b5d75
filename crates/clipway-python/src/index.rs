//! An index of images.

use std::path::PathBuf;

use clipway_cli::library::{Answer, Found, OpenIndex};
use numpy::ndarray::IxDyn;
use numpy::{PyArray2, PyReadonlyArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors;
use crate::model::{array2, contiguous};
use crate::of_process::OfProcess;
use crate::options::{options, word};
use crate::threads::Threads;

/// Features of images on disk, as `clipway index` makes them, as of the commit at which it was opened.
#[pyclass(frozen, module = "clipway", name = "Index")]
pub struct Index {
    opened: OfProcess<Opened>,
    path: PathBuf,
}

/// An index with the threads that search it.
struct Opened {
    index: OpenIndex,
    threads: Threads,
}

#[pymethods]
impl Index {
    /// Opens an index.
    ///
    /// threads: how many threads a search computes with; all processors by default.
    #[staticmethod]
    #[pyo3(signature = (path, *, threads=None))]
    fn open(py: Python<'_>, path: &Bound<'_, PyAny>, threads: Option<usize>) -> PyResult<Index> {
        // As in `Model.load`.
        py.import("numpy")?;
        if threads == Some(0) {
            return Err(PyValueError::new_err("`threads`: expected at least 1, found 0"));
        }
        let path = PathBuf::from(word("path", path)?);
        let index =
            py.detach(|| OpenIndex::open(&path, threads)).map_err(|error| errors::of_call(py, &error))?;
        let threads = Threads::new(index.processor().clone());
        Ok(Index { opened: OfProcess::new(Opened { index, threads }, ["index", "opened", "open"]), path })
    }

    /// Finds the images whose features are nearest to a query.
    ///
    /// queries: a float32 array `[dims]`, or `[queries, dims]`, of any length but zero, from the index's model
    /// (`index.fingerprint == model.fingerprint`).
    /// Further keyword arguments are the options of `clipway search` that concern the results: `limit` (10), `min_score`,
    /// `auto`, `path` (patterns), `after`, `before`, `min_size` and `orientation`.
    ///
    /// Returns a list of dicts, best first, or one such list for each row of `queries`. `row` is the image's place in the
    /// index, `path` its file, `paths` all of them if there are several with the same bytes, `cosine` and `score` how near it
    /// is: `score` counts standard deviations above the mean of the whole index.
    #[pyo3(signature = (queries, **options))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let width = self.opened.anywhere().index.width();
        let shape = format!("[{width}] or [queries, {width}]");
        let queries: PyReadonlyArray<'_, f32, IxDyn> = contiguous(queries, "float32", &shape)?;
        let found = queries.shape();
        if !(1..=2).contains(&found.len()) || found.last() != Some(&width) {
            return Err(PyValueError::new_err(format!("expected a float32 array {shape}, found {found:?}")));
        }
        let (is_one, given) = (found.len() == 1, self::options(options)?);
        if found[0] == 0 {
            return Ok(PyList::empty(py).into_any());
        }
        let values = queries.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
        let Opened { index, threads } = self.opened.here(py)?;
        let answers = threads.run(py, || index.search(values, given))?;
        let answers = answers.map_err(|error| errors::of_call(py, &error))?;
        let all = PyList::empty(py);
        for answer in answers {
            let list = results(py, answer)?;
            if is_one {
                return Ok(list.into_any());
            }
            all.append(list)?;
        }
        Ok(all.into_any())
    }

    /// The features of rows, float32 `[rows, dims]`, each of length 1 but for rounding to f16.
    fn features<'py>(&self, py: Python<'py>, rows: Vec<u64>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let Opened { index, threads } = self.opened.here(py)?;
        let read = || rows.iter().map(|row| index.feature(*row)).collect::<Result<Vec<_>, _>>();
        let values = threads.run(py, read)?.map_err(|error| errors::of_call(py, &error))?;
        array2(py, values.concat(), index.width())
    }

    /// Number of rows, with those that no file has any more.
    fn __len__(&self) -> usize {
        usize::try_from(self.opened.anywhere().index.info().rows).unwrap_or(usize::MAX)
    }

    /// Number of values in a feature.
    #[getter]
    fn dims(&self) -> usize {
        self.opened.anywhere().index.width()
    }

    /// The fingerprint of the space of its features, which a model for queries must have: `Model.fingerprint`.
    #[getter]
    fn fingerprint(&self) -> &str {
        self.opened.anywhere().index.fingerprint()
    }

    /// What it holds, as `clipway index info --json` prints it.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let info = serde_json::to_value(self.opened.anywhere().index.info());
        errors::to_python(py, &info.map_err(|error| PyValueError::new_err(error.to_string()))?)
    }

    fn __repr__(&self) -> String {
        let (rows, dims) = (self.__len__(), self.opened.anywhere().index.width());
        format!("<clipway.Index {:?}: {rows} rows, {dims} dims>", self.path)
    }
}

/// The results of a query as dicts.
fn results(py: Python<'_>, answer: Answer) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for Found { rank, hit, path, paths, width, height, date, caption } in answer.results {
        let dict = PyDict::new(py);
        dict.set_item("rank", rank)?;
        dict.set_item("row", hit.row)?;
        dict.set_item("cosine", hit.cosine)?;
        dict.set_item("score", hit.score)?;
        dict.set_item("path", path.into_os_string())?;
        let paths: Vec<_> = paths.into_iter().map(PathBuf::into_os_string).collect();
        if !paths.is_empty() {
            dict.set_item("paths", paths)?;
        }
        dict.set_item("width", width)?;
        dict.set_item("height", height)?;
        dict.set_item("date", date)?;
        if let Some(caption) = caption {
            dict.set_item("caption", caption)?;
        }
        list.append(dict)?;
    }
    Ok(list)
}
