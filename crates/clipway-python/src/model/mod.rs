//! `clipway.Model`: a model that is loaded, with its methods.

mod encode;
mod images;
mod output;
mod progress;

use clipway_cli::library::{LoadedModel, ModelOrigin, OptionValue, load};
use clipway_model::config::PixelRule;
use clipway_run::ClassifyError;
use clipway_run::clip::{Clip, ClipError};
use clipway_run::image::DecodeLimits;
use numpy::{PyArray2, PyArray4, PyReadonlyArray2, PyReadonlyArray4};
use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde_json::json;

use crate::errors;
use crate::inputs::{Images, texts};
use crate::of_process::OfProcess;
use crate::options::{options, word};
use crate::threads::Threads;
use crate::watched::watched;
use images::{ImageCall, OnError};
use output::Rows;
pub use output::{array2, contiguous};

/// A loaded CLIP model. It never changes, and any number of threads may use it at once.
///
/// `Model.load` makes one. Methods take sequences and return one row per item; while they work, other Python threads run.
/// A model can be pickled: the copy loads the same source with the same options. It cannot be used in a process forked
/// after it was loaded.
///
///     >>> model = clipway.Model.load("out/emoji-clip")
///     >>> images = model.encode_image(["lion.png", "snail.png"])
///     >>> texts = model.encode_text(["a lion", "a snail"])
///     >>> images @ texts.T        # cosines, since rows have length 1
#[pyclass(frozen, module = "clipway", name = "Model")]
pub struct Model {
    inner: OfProcess<Inner>,
    /// The source and the options, for copies.
    source: Py<PyAny>,
    keywords: Py<PyDict>,
}

/// The part of a model that needs no interpreter.
struct Inner {
    clip: Clip,
    threads: Threads,
    limits: DecodeLimits,
    path: std::path::PathBuf,
    notes: Vec<String>,
    origin: ModelOrigin,
}

impl Model {
    /// The model's parts.
    ///
    /// # Errors
    /// A process forked after the model was loaded.
    fn inner(&self, py: Python<'_>) -> PyResult<&Inner> {
        self.inner.here(py)
    }
}

impl Inner {
    /// Runs work on the model's threads without holding the interpreter.
    fn run<R: Send>(&self, py: Python<'_>, work: impl FnOnce() -> R + Send) -> PyResult<R> {
        self.threads.run(py, work)
    }

    /// Height and width that all images get.
    ///
    /// # Errors
    /// A model whose images keep their proportions.
    fn common_size(&self) -> PyResult<(usize, usize)> {
        let settings = self.clip.preprocess();
        match settings.rule.grids() {
            None => Ok(settings.size),
            Some(_) => Err(PyValueError::new_err(
                "images keep their proportions (`max_patches`), so there is no array of their pixels: use `encode_image`",
            )),
        }
    }
}

/// The exception of a model's own error.
fn of_clip(py: Python<'_>, error: &ClipError) -> PyErr {
    errors::of_library(py, error.code(), error)
}

#[pymethods]
impl Model {
    /// Loads a model to run.
    ///
    /// `source` is what the command line takes: an exported folder, a weight file or checkpoint, `hf-hub:OWNER/NAME`, or
    /// `NAME:TAG` of open_clip's registry. Further keyword arguments are the options of `clipway embed` that concern the
    /// model, with underscores: `model`, `pretrained`, `weights`, `tokenizer`, `image_mean`, `apply_orientation`,
    /// `max_pixels`, `offline` and others; `clipway.load_options()` lists them.
    ///
    /// towers: "both" (those that the source has), "image" or "text".
    /// threads: how many threads a call computes with; all processors by default.
    /// compute: "f32", "bf16" or "int8"; as the weights are stored by default.
    /// verify: "hashes" checks every file of an exported folder against its `clipway.json` first.
    ///
    /// Raises ClipwayError with a `code` and a `hint`, and TypeError for options that there are not.
    #[staticmethod]
    #[pyo3(signature = (source, *, towers="both", threads=None, compute=None, verify="none", **options))]
    fn load(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        towers: &str,
        threads: Option<usize>,
        compute: Option<&str>,
        verify: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Model> {
        let keywords = options.map_or_else(|| Ok(PyDict::new(py)), |options| options.copy())?;
        for (name, value) in [("towers", Some(towers)), ("compute", compute), ("verify", Some(verify))] {
            keywords.set_item(name, value)?;
        }
        keywords.set_item("threads", threads)?;
        let given = crate::options::options(Some(&keywords))?;
        Model::open(py, source, &keywords, given)
    }

    /// Features of images, a float32 array `[images, dims]`.
    ///
    /// images: any iterable of images: the bytes of files (`bytes`, `bytearray`, `memoryview`), paths, PIL images, uint8
    ///   arrays `[height, width, 3]`; or a binary column of Arrow. It is read batch by batch, so a generator of any
    ///   length needs the memory of one batch. Bytes and arrays are borrowed: do not change them meanwhile.
    /// normalize: scale each feature to length 1.
    /// batch_size: images that are held and computed together; results do not depend on it.
    /// out: a float32 array to write into, instead of a new one.
    /// on_error: "raise"; "nan" fills the rows of unreadable images with NaN; or a function of index and ClipwayError
    ///   that is called for each of them, whose rows become NaN as well.
    /// progress: a function of the number of images done and their total (None if unknown), or True for a bar of tqdm.
    ///
    /// Raises ClipwayError for an image that cannot be read, and TypeError or ValueError for one of another kind; each
    /// names the index. KeyboardInterrupt ends the call between two batches.
    #[pyo3(signature = (images, *, normalize=true, batch_size=32, out=None, on_error=None, progress=None))]
    #[pyo3(
        text_signature = "($self, images, *, normalize=True, batch_size=32, out=None, on_error='raise', progress=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are the keywords of Python's method")]
    fn encode_image<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        normalize: bool,
        batch_size: usize,
        out: Option<Bound<'py, PyAny>>,
        on_error: Option<Bound<'py, PyAny>>,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inner = self.inner(py)?;
        let (images, total) = Images::of(images)?;
        let width = inner.clip.embed_dim();
        let rows = Rows::new(py, width, total, out)?;
        let call = ImageCall { inner, normalize, on_error: OnError::of(on_error)?, batch_size };
        call.features(py, images, total, rows, progress)
    }

    /// Features of texts, a float32 array `[texts, dims]`.
    ///
    /// texts: any iterable of strings. One that is longer than the model's context is truncated, with a warning.
    /// normalize: scale each feature to length 1.
    /// batch_size: texts that are computed together; results do not depend on it.
    /// out: a float32 array to write into, instead of a new one.
    #[pyo3(signature = (texts, *, normalize=true, batch_size=256, out=None))]
    fn encode_text<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        normalize: bool,
        batch_size: usize,
        out: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inner = self.inner(py)?;
        let texts = crate::inputs::texts(texts, "text")?;
        let rows = Rows::new(py, inner.clip.embed_dim(), Some(texts.len()), out)?;
        encode::text_features(py, inner, &texts, normalize, batch_size, rows)
    }

    /// Normalized pixels of images as the image tower takes them, a float32 array `[images, 3, height, width]`.
    ///
    /// Takes the same images as `encode_image`.
    fn preprocess<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray4<f32>>> {
        let inner = self.inner(py)?;
        let (images, _) = Images::of(images)?;
        images::pixels(py, inner, images)
    }

    /// Token ids of texts, an int64 array `[texts, context_length]`.
    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let inner = self.inner(py)?;
        let texts = crate::inputs::texts(texts, "text")?;
        let encoded = inner.run(py, || inner.clip.tokens(&texts))?.map_err(|error| of_clip(py, &error))?;
        output::array2(py, encoded.ids, encoded.context_length)
    }

    /// Features of normalized pixels `[images, 3, height, width]`, as `preprocess` makes them.
    #[pyo3(signature = (pixels, *, normalize=true))]
    fn encode_pixels<'py>(
        &self,
        py: Python<'py>,
        pixels: &Bound<'py, PyAny>,
        normalize: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inner = self.inner(py)?;
        let (height, width) = inner.common_size()?;
        let pixels: PyReadonlyArray4<'py, f32> =
            output::contiguous(pixels, "float32", &format!("[images, 3, {height}, {width}]"))?;
        encode::pixel_features(py, inner, &pixels, normalize)
    }

    /// Features of token ids `[texts, context_length]`, as `tokenize` makes them.
    #[pyo3(signature = (tokens, *, normalize=true))]
    fn encode_tokens<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
        normalize: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inner = self.inner(py)?;
        let [context, _] = inner.clip.text_input().map_err(|error| of_clip(py, &error))?;
        let tokens: PyReadonlyArray2<'py, i64> =
            output::contiguous(tokens, "int64", &format!("[texts, {context}]"))?;
        encode::token_features(py, inner, &tokens, normalize)
    }

    /// Probabilities of labels for images (zero-shot), a float32 array `[images, labels]` in the order of the labels.
    ///
    /// Each label is put into each template in place of `{}`, and the features of its texts are averaged. The
    /// probabilities of an image sum to 1, except for models with a logit bias (SigLIP), which judge each label alone.
    #[pyo3(signature = (images, labels, templates=None))]
    fn classify<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        labels: &Bound<'py, PyAny>,
        templates: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inner = self.inner(py)?;
        let labels = texts(labels, "label")?;
        let templates = templates.map(|templates| texts(templates, "template")).transpose()?;
        let templates: Vec<&str> = match &templates {
            Some(templates) => templates.iter().map(|template| &**template).collect(),
            None => vec![clipway_run::DEFAULT_TEMPLATE],
        };
        if labels.is_empty() || templates.is_empty() {
            let what = if labels.is_empty() { "label" } else { "template" };
            return Err(PyValueError::new_err(format!("expected at least one {what}, found none")));
        }
        let (images, total) = Images::of(images)?;
        let classifier = inner.run(py, || inner.clip.classifier(&labels, &templates))?;
        let classifier = classifier.map_err(|error| match error {
            ClassifyError::Template(error) => PyValueError::new_err(error.to_string()),
            error => errors::of_library(py, error.code(), &error),
        })?;
        encode::probabilities(py, inner, images, total, &classifier, labels.len())
    }

    /// Number of values in a feature.
    #[getter]
    fn dims(&self) -> usize {
        self.inner.anywhere().clip.embed_dim()
    }

    /// Height and width of the image tower's input, in pixels; where images keep their proportions, those of a model that
    /// does not.
    #[getter]
    fn image_size(&self) -> (usize, usize) {
        self.inner.anywhere().clip.preprocess().size
    }

    /// Number of tokens in a row of `tokenize`. AttributeError if the text tower is not loaded.
    #[getter]
    fn context_length(&self) -> PyResult<usize> {
        let input = self.inner.anywhere().clip.text_input();
        input.map(|[context, _]| context).map_err(|error| PyAttributeError::new_err(error.to_string()))
    }

    /// Factor that cosines are multiplied with before the softmax: the exponential of the stored value.
    #[getter]
    fn logit_scale(&self) -> f32 {
        self.inner.anywhere().clip.logit_scale()
    }

    /// Value added to the logits of models trained with the sigmoid loss; None for others.
    #[getter]
    fn logit_bias(&self) -> Option<f32> {
        self.inner.anywhere().clip.logit_bias()
    }

    /// Fingerprint of the space of the features: models with the same one give the same features.
    /// The weights of a source without a `clipway.json`, and ONNX graphs, are read again for it.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        let inner = self.inner(py)?;
        let found = inner.run(py, || inner.origin.fingerprint(&inner.clip))?;
        found.map_err(|error| errors::of_call(py, &error))
    }

    /// Number of threads that a call computes with.
    #[getter]
    fn threads(&self) -> usize {
        self.inner.anywhere().threads.count()
    }

    /// What was loaded: where from, both towers with what computes them, preprocessing, and notes on what was assumed.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Inner { clip, path, notes, .. } = self.inner.anywhere();
        let settings = clip.preprocess();
        let tokenizer = clip.tokenizer().ok().map(|tokenizer| json!(tokenizer.rules()));
        let described = json!({
            "path": path,
            "model": clip.describe(),
            "preprocess": {
                "size": settings.size,
                "mean": settings.mean,
                "std": settings.std,
                "interpolation": format!("{:?}", settings.interpolation).to_lowercase(),
                "resize_mode": format!("{:?}", settings.resize_mode).to_lowercase(),
                "apply_orientation": settings.apply_orientation,
                "rule": match settings.rule {
                    PixelRule::OpenClip => "open_clip",
                    PixelRule::Transformers(_) => "transformers",
                    PixelRule::Timm(_) => "timm",
                },
                "max_patches": settings.rule.grids().map(|grids| grids.most),
            },
            "tokenizer": tokenizer,
            "notes": notes,
        });
        errors::to_python(py, &described)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (source, Inner { clip, .. }) = (self.source.bind(py).repr()?, self.inner.anywhere());
        let (height, width) = clip.preprocess().size;
        Ok(format!("<clipway.Model {source}: {} dims, {height} x {width} pixels>", clip.embed_dim()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let reload = py.import("clipway._clipway")?.getattr("_reload")?;
        let arguments = PyTuple::new(py, [self.source.bind(py), self.keywords.bind(py).as_any()])?;
        PyTuple::new(py, [reload, arguments.into_any()])
    }
}

impl Model {
    fn open(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        keywords: &Bound<'_, PyDict>,
        given: Vec<(String, OptionValue)>,
    ) -> PyResult<Model> {
        // Imported here, an interrupt or a missing NumPy is an exception; the first array would panic.
        py.import("numpy")?;
        let said = word("source", source)?;
        let name = said.clone();
        let loaded = watched(py, move |cancel| load(said, given, cancel))?;
        let loaded = loaded.map_err(|error| errors::of_call(py, &error))?;
        let LoadedModel { clip, processor, limits, path, notes, warnings, origin } = loaded;
        errors::say(py, &notes, &warnings)?;
        // A copy may be made where the working folder is another.
        let path = std::path::absolute(&path).unwrap_or(path);
        let is_path = std::path::Path::new(&name).exists();
        let source = if is_path { path.clone().into_os_string() } else { name };
        let threads = Threads::new(processor);
        let inner = Inner { clip, threads, limits, path, notes, origin };
        Ok(Model {
            inner: OfProcess::new(inner, ["model", "loaded", "load"]),
            source: source.into_pyobject(py)?.into_any().unbind(),
            keywords: keywords.clone().unbind(),
        })
    }
}

/// Loads a pickled model again.
#[pyfunction]
#[pyo3(name = "_reload")]
pub fn reload(py: Python<'_>, source: &Bound<'_, PyAny>, keywords: &Bound<'_, PyDict>) -> PyResult<Model> {
    Model::open(py, source, keywords, options(Some(keywords))?)
}
