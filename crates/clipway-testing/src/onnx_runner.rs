//! Whole-model goldens through ONNX: written with formula weights, run by a runtime other than the engine.

use std::path::{Path, PathBuf};

use clipway_formats::{OnnxExternal, write_onnx};
use clipway_model::architecture::{self, Model};
use clipway_model::graph::{Graph, Parameters};
use clipway_model::spelling::onnx::{OnnxOptions, OnnxTower, ParameterValues, lower};
use clipway_run::budget::Budget;
use clipway_run::onnx::{OnnxData, OnnxLengths, OnnxOutput, OnnxSession};

use crate::architecture_goldens::{ArchitectureGolden, Matrix, Output};
use crate::architecture_runner::{ArchitectureCase, FormulaWeights, MeasuredError, read_golden};
use crate::formula;

/// Batch sizes of the runs; the first outputs of each are compared.
const BATCHES: [usize; 3] = [1, 2, 7];

impl ParameterValues for FormulaWeights {
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let mut out = Vec::new();
        formula::fill(name, shape, &mut out);
        Ok(out)
    }
}

/// Runs one golden through ONNX; keeps the model files if given a folder.
pub fn run_onnx_golden(name: String, path: &Path, keep: Option<&Path>) -> ArchitectureCase {
    let keep = |tower: &str| keep.map(|folder| folder.join(format!("{name}.{tower}.onnx")));
    let outcome = read_golden(&name, path).and_then(|golden| measure(&golden, &keep));
    ArchitectureCase { name, outcome }
}

/// Returns the bytes of one tower's model file, without external data.
///
/// # Errors
/// If the tower is too large for one file, or a weight cannot be made.
pub fn onnx_bytes(
    tower: &OnnxTower,
    parameters: &Parameters,
    values: &dyn ParameterValues,
) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let layout = tower.layout(OnnxExternal::WhereNeeded("data")).map_err(|error| text(&error))?;
    if let Some((_, bytes)) = layout.external() {
        return Err(format!("{bytes} bytes of weights do not fit one file"));
    }
    let mut bytes = Vec::new();
    let make = |index| tower.make(index, parameters, values).map_err(std::io::Error::other);
    write_onnx(&tower.graph, &layout, &mut bytes, &mut Vec::new(), make).map_err(|error| text(&error))?;
    Ok(bytes)
}

fn measure(
    golden: &ArchitectureGolden,
    keep: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Vec<MeasuredError>, String> {
    let model = architecture::build(&golden.config).map_err(|error| error.to_string())?;
    let outputs = &golden.outputs;
    let options = OnnxOptions::default();
    let mut errors = Vec::new();
    let session = session(&model, &model.image, &options, keep("image"))?;
    let [height, width] = golden.image_size;
    for batch in BATCHES {
        let mut pixels = Vec::new();
        for sample in 0..batch {
            let mut image = Vec::new();
            formula::image(sample, golden.image_size, &mut image);
            pixels.extend(image);
        }
        let shape = [batch, 3, height, width];
        let found = features(&session, &shape, OnnxData::Floats(pixels))?;
        errors.push(of_first("image_features", &found, &outputs.image_features, batch)?);
    }
    let tokens = &outputs.tokens;
    let options = OnnxOptions { free_length: tokens.columns != model.context_length, ..options };
    let session = self::session(&model, &model.text, &options, keep("text"))?;
    for batch in BATCHES {
        let ids = tokens.elements.iter().copied().cycle().take(batch * tokens.columns).collect();
        let found = features(&session, &[batch, tokens.columns], OnnxData::Integers(ids))?;
        errors.push(of_first("text_features", &found, &outputs.text_features, batch)?);
    }
    Ok(errors)
}

fn session(
    model: &Model,
    tower: &Graph,
    options: &OnnxOptions,
    keep: Option<PathBuf>,
) -> Result<OnnxSession, String> {
    let tower = lower(model, tower, options, None);
    let bytes = onnx_bytes(&tower, &model.parameters, &FormulaWeights)?;
    let lengths = OnnxLengths { context: model.context_length, ..OnnxLengths::default() };
    if let Some(path) = keep {
        std::fs::write(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    OnnxSession::from_bytes(bytes, lengths, Budget::default()).map_err(|error| error.to_string())
}

fn features(session: &OnnxSession, shape: &[usize], data: OnnxData) -> Result<OnnxOutput, String> {
    let outputs = session.run(&[("input", shape, data)]).map_err(|error| error.to_string())?;
    outputs.into_iter().next().ok_or_else(|| "no output".to_owned())
}

/// Compares the first rows of a batch with the golden's, as many as both have.
fn of_first(
    name: &'static str,
    found: &OnnxOutput,
    golden: &Output,
    batch: usize,
) -> Result<MeasuredError, String> {
    let width = golden.single.columns;
    if found.shape != [batch, width] {
        return Err(format!("{name}: expected [{batch}, {width}], found {:?}", found.shape));
    }
    let rows = batch.min(golden.single.rows);
    let first = Output {
        single: first_rows(&golden.single, rows),
        truth: golden.truth.as_ref().map(|truth| first_rows(truth, rows)),
    };
    MeasuredError::measure(name, &found.values[..rows * width], &first)
}

fn first_rows<T: Clone>(matrix: &Matrix<T>, rows: usize) -> Matrix<T> {
    let elements = matrix.elements[..rows * matrix.columns].to_vec();
    Matrix { rows, columns: matrix.columns, elements }
}
