//! A loaded graph with its inputs and outputs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use clipway_formats::{Code, FormatError, OnnxFile, Place, shown};
use clipway_model::input::{self, InputError, Kind};
use rten::{DataType, Dimension, Model, ModelOptions, NodeId, Value, ValueOrView, ValueType};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::failure::OnnxError;
use super::graph::OnnxGraphFile;
use super::sizes::{OnnxLengths, SizeGraph};
use super::watch::{HalfValue, half_values};
use super::widen::widened;

/// Name and version of the runtime.
pub(super) const RUNTIME: &str = "rten 0.24";

/// A graph of ONNX, ready to run.
pub struct OnnxSession {
    model: Model,
    inputs: Vec<OnnxPort>,
    outputs: Vec<OnnxPort>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxPort {
    /// Its name.
    pub name: String,
    /// Its shape; `None` for dimensions chosen by the caller, or unknown.
    pub shape: Vec<Option<usize>>,
    /// Whether its elements are integers; bytes do not count.
    pub integers: bool,
    id: NodeId,
}

/// Element type of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum OnnxData {
    /// f32.
    Floats(Vec<f32>),
    /// Token ids.
    Integers(Vec<i64>),
    /// u8.
    Bytes(Vec<u8>),
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOutput {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}

impl OnnxSession {
    /// Loads a graph, with external data beside its file. What a sample may need is checked before the runtime sees the
    /// file; `lengths` are those that the graph leaves open.
    ///
    /// # Errors
    /// A graph that needs too much, or that the runtime refuses.
    pub fn open(graph: &OnnxGraphFile, lengths: OnnxLengths) -> Result<OnnxSession, OnnxError> {
        graph.sizes.check(lengths)?;
        OnnxSession::of(|| Model::load_file(&graph.path))
    }

    /// Loads a file whose weights are f16, which the runtime does not have: it computes in f32 with their values.
    ///
    /// # Errors
    /// As [`OnnxSession::open`], and a file that cannot be read.
    pub fn open_widened(graph: &OnnxGraphFile, lengths: OnnxLengths) -> Result<OnnxSession, OnnxError> {
        graph.sizes.check(lengths)?;
        let bytes = widened(&graph.path)?;
        OnnxSession::of(|| Model::load(bytes))
    }

    /// The same with every value that the graph computes in f16 as a further output; these are returned too. The graph
    /// runs node by node as it is written.
    ///
    /// # Errors
    /// As [`OnnxSession::open_widened`].
    pub(super) fn open_watched(
        graph: &OnnxGraphFile,
        lengths: OnnxLengths,
    ) -> Result<(OnnxSession, Vec<HalfValue>), OnnxError> {
        graph.sizes.check(lengths)?;
        let load = |error: InputError| OnnxError::Load { cause: error.to_string() };
        let values = half_values(&input::read(&graph.path, Kind::Weights).map_err(load)?)?;
        let bytes = widened(&graph.path)?;
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(false);
        let mut session = OnnxSession::of(|| options.load(bytes))?;
        for value in &values {
            if session.outputs.iter().any(|port| port.name == value.name) {
                continue;
            }
            let missing = || OnnxError::Missing { what: format!("value `{}`", value.name) };
            let id = session.model.find_node(&value.name).ok_or_else(missing)?;
            let name = value.name.clone();
            session.outputs.push(OnnxPort { name, shape: Vec::new(), integers: false, id });
        }
        Ok((session, values))
    }

    /// Loads the bytes of a file without external data.
    ///
    /// # Errors
    /// As [`OnnxSession::open`].
    pub fn from_bytes(bytes: Vec<u8>, lengths: OnnxLengths) -> Result<OnnxSession, OnnxError> {
        let load = |error: FormatError| OnnxError::Load { cause: error.to_string() };
        let source = Arc::new(bytes);
        let none = &mut |name: &str| {
            let cause = format!("external data `{}` of a file in memory", shown(name));
            Err(FormatError::new(Code::Missing, Place::File, cause))
        };
        let file = OnnxFile::open(Arc::<Vec<u8>>::clone(&source), none).map_err(load)?;
        SizeGraph::of(&file).map_err(load)?.check(lengths)?;
        drop(file);
        OnnxSession::of(|| Model::load(Arc::unwrap_or_clone(source)))
    }

    fn of(load: impl FnOnce() -> Result<Model, rten::LoadError>) -> Result<OnnxSession, OnnxError> {
        let refuse = |cause: String| OnnxError::Load { cause };
        let loaded = guarded(load).map_err(refuse)?;
        let model = loaded.map_err(|error| refuse(error.to_string()))?;
        let ports = |ids: &[NodeId]| ids.iter().map(|id| port(&model, *id)).collect();
        let (inputs, outputs) = (ports(model.input_ids()), ports(model.output_ids()));
        Ok(OnnxSession { model, inputs, outputs })
    }

    /// The inputs.
    pub fn inputs(&self) -> &[OnnxPort] {
        &self.inputs
    }

    /// The outputs.
    pub fn outputs(&self) -> &[OnnxPort] {
        &self.outputs
    }

    /// Runs the graph on named inputs, each with its shape, and returns all outputs in order.
    ///
    /// # Errors
    /// Inputs that the graph lacks or does not accept, or a failed run.
    pub fn run(&self, inputs: &[(&str, &[usize], OnnxData)]) -> Result<Vec<OnnxOutput>, OnnxError> {
        let names: Vec<&str> = self.outputs.iter().map(|port| port.name.as_str()).collect();
        self.run_for(inputs, &names)
    }

    /// Runs what some outputs need, and gives these.
    ///
    /// # Errors
    /// As [`OnnxSession::run`], and an output that the graph does not have.
    pub fn run_for(
        &self,
        inputs: &[(&str, &[usize], OnnxData)],
        outputs: &[&str],
    ) -> Result<Vec<OnnxOutput>, OnnxError> {
        let mut given: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for (name, shape, data) in inputs {
            let port = self.inputs.iter().find(|port| port.name == *name);
            let port = port.ok_or_else(|| OnnxError::Missing { what: format!("input `{name}`") })?;
            port.check(shape, data)?;
            let value = match data {
                OnnxData::Floats(values) => Value::from(Tensor::from_data(shape, values.clone())),
                OnnxData::Bytes(values) => Value::from(Tensor::from_data(shape, values.clone())),
                // The runtime stores all integers in 32 bits.
                OnnxData::Integers(values) => {
                    let narrow = values.iter().map(|value| i32::try_from(*value));
                    let narrow: Vec<i32> =
                        narrow.collect::<Result<_, _>>().map_err(|_| OnnxError::Input {
                            name: port.name.clone(),
                            expected: "32-bit integers".to_owned(),
                            found: "larger ones".to_owned(),
                        })?;
                    Value::from(Tensor::from_data(shape, narrow))
                }
            };
            given.push((port.id, value.into()));
        }
        let port = |name: &&str| {
            let port = self.outputs.iter().find(|port| port.name == **name);
            port.ok_or_else(|| OnnxError::Missing { what: format!("output `{name}`") })
        };
        let ports = outputs.iter().map(port).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<NodeId> = ports.iter().map(|port| port.id).collect();
        let run = |error: &dyn std::fmt::Display| OnnxError::Run { cause: error.to_string() };
        let results =
            guarded(|| self.model.run(given, &ids, None)).map_err(|cause| OnnxError::Run { cause })?;
        let results = results.map_err(|error| run(&error))?;
        let named = ports.into_iter().zip(results);
        named
            .map(|(port, value)| {
                let tensor: Tensor<f32> = value.try_into().map_err(|error| run(&error))?;
                Ok(OnnxOutput {
                    name: port.name.clone(),
                    shape: tensor.shape().to_vec(),
                    values: tensor.into_data().to_vec(),
                })
            })
            .collect()
    }
}

impl OnnxPort {
    /// Checks the type and shape of an input.
    fn check(&self, shape: &[usize], data: &OnnxData) -> Result<(), OnnxError> {
        let (count, integers) = match data {
            OnnxData::Floats(values) => (values.len(), false),
            OnnxData::Bytes(values) => (values.len(), false),
            OnnxData::Integers(values) => (values.len(), true),
        };
        let fits = |(own, given): (&Option<usize>, &usize)| own.is_none_or(|own| own == *given);
        let whole = shape.iter().product::<usize>() == count && integers == self.integers;
        if whole && shape.len() == self.shape.len() && self.shape.iter().zip(shape).all(fits) {
            return Ok(());
        }
        let dims: Vec<String> =
            self.shape.iter().map(|dim| dim.map_or("any".to_owned(), |length| length.to_string())).collect();
        let kind = |integers| if integers { "integers" } else { "numbers" };
        Err(OnnxError::Input {
            name: self.name.clone(),
            expected: format!("{} [{}]", kind(self.integers), dims.join(", ")),
            found: format!("{count} {} as {shape:?}", kind(integers)),
        })
    }
}

/// Runs the runtime, whose panics become its errors: a graph of strangers may reach what it did not expect.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("it panicked: {}", shown(text.unwrap_or("no message")))
    })
}

fn port(model: &Model, id: NodeId) -> OnnxPort {
    let info = model.node_info(id);
    let shape = info.as_ref().and_then(|info| info.shape()).unwrap_or_default();
    let length = |dim: Dimension| match dim {
        Dimension::Fixed(length) => Some(length),
        Dimension::Symbolic(_) => None,
    };
    OnnxPort {
        name: info.as_ref().and_then(|info| info.name()).unwrap_or_default().to_owned(),
        shape: shape.into_iter().map(length).collect(),
        integers: matches!(info.and_then(|info| info.dtype()), Some(ValueType::Tensor(DataType::Int32))),
        id,
    }
}
