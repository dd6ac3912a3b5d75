//! Graphs run by `rten`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use clipway_formats::shown;
use rten::{DataType, Dimension, Model, ModelOptions, NodeId, Value, ValueOrView, ValueType};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::failure::OnnxError;
use super::loaded::{Loaded, Parts};
use super::port::{OnnxData, OnnxOutput, OnnxPort};

/// Name and version.
pub(super) const NAME: &str = "rten 0.24";

/// Loads a file, with external data beside it.
pub(super) fn load_file(path: &Path) -> Result<Parts, OnnxError> {
    of(|| Model::load_file(path))
}

/// Loads the bytes of a file without external data.
pub(super) fn load(bytes: Vec<u8>) -> Result<Parts, OnnxError> {
    of(|| Model::load(bytes))
}

/// Loads a graph that is run node by node as it is written, so that every value can be asked for.
pub(super) fn load_as_written(bytes: Vec<u8>) -> Result<Parts, OnnxError> {
    let mut options = ModelOptions::with_all_ops();
    options.enable_optimization(false);
    of(|| options.load(bytes))
}

fn of(load: impl FnOnce() -> Result<Model, rten::LoadError>) -> Result<Parts, OnnxError> {
    let refuse = |cause: String| OnnxError::Load { runtime: NAME.to_owned(), cause };
    let loaded = guarded(load).map_err(refuse)?;
    let model = loaded.map_err(|error| refuse(error.to_string()))?;
    let ports = |ids: &[NodeId]| ids.iter().map(|id| port(&model, *id)).collect();
    let (inputs, outputs) = (ports(model.input_ids()), ports(model.output_ids()));
    Ok((Box::new(model), inputs, outputs))
}

impl Loaded for Model {
    fn run(
        &self,
        inputs: &[(&OnnxPort, &[usize], &OnnxData)],
        outputs: &[&str],
    ) -> Result<Vec<OnnxOutput>, OnnxError> {
        let node = |kind: &str, name: &str| {
            let missing = || OnnxError::Missing { what: format!("{kind} `{name}`") };
            self.find_node(name).ok_or_else(missing)
        };
        let mut given: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for (port, shape, data) in inputs {
            let value = match data {
                OnnxData::Floats(values) => Value::from(Tensor::from_data(shape, values.clone())),
                OnnxData::Bytes(values) => Value::from(Tensor::from_data(shape, values.clone())),
                // This runtime stores all integers in 32 bits.
                OnnxData::Integers(values) => Value::from(Tensor::from_data(shape, port.narrow(values)?)),
            };
            given.push((node("input", &port.name)?, value.into()));
        }
        let ids =
            outputs.iter().map(|name| node("output", name)).collect::<Result<Vec<NodeId>, OnnxError>>()?;
        let failed = |cause: String| OnnxError::Run { runtime: NAME.to_owned(), cause };
        let results = guarded(|| Model::run(self, given, &ids, None)).map_err(failed)?;
        let results = results.map_err(|error| failed(error.to_string()))?;
        let named = outputs.iter().zip(results);
        named
            .map(|(name, value)| {
                let tensor: Tensor<f32> = value.try_into().map_err(|error| {
                    let error: rten::TryFromValueError = error;
                    failed(error.to_string())
                })?;
                Ok(OnnxOutput {
                    name: (*name).to_owned(),
                    shape: tensor.shape().to_vec(),
                    values: tensor.into_data().to_vec(),
                })
            })
            .collect()
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
    }
}
