//! A loaded graph with its inputs and outputs.

use std::sync::Arc;

use clipway_formats::{Code, Dtype, FormatError, OnnxFile, Place, shown};
use clipway_model::input::{self, InputError, Kind};

use super::failure::OnnxError;
use super::graph::OnnxGraphFile;
use super::loaded::{Loaded, Parts};
use super::port::{OnnxData, OnnxOutput, OnnxPort};
use super::runtime::OnnxRuntime;
use super::sizes::{OnnxLengths, SizeGraph};
use super::watch::{HalfValue, half_values};
use super::widen::widened;
use super::{ort, rten};
use crate::budget::Budget;

/// A graph of ONNX, ready to run.
pub struct OnnxSession {
    runtime: OnnxRuntime,
    loaded: Box<dyn Loaded>,
    inputs: Vec<OnnxPort>,
    outputs: Vec<OnnxPort>,
}

impl OnnxSession {
    /// Loads a graph, with external data beside its file. What a sample may need is checked before the runtime sees the
    /// file; `lengths` are those that the graph leaves open. Where the runtime has no f16, it computes in f32 with the
    /// values of the weights.
    ///
    /// # Errors
    /// A graph that needs too much, or that the runtime refuses, and a runtime that is not there.
    pub fn open(
        graph: &OnnxGraphFile,
        lengths: OnnxLengths,
        runtime: OnnxRuntime,
    ) -> Result<OnnxSession, OnnxError> {
        graph.sizes.check(lengths, Budget::default())?;
        match runtime {
            OnnxRuntime::Rten if graph.has(Dtype::F16) => rten::load(widened(&graph.path)?),
            OnnxRuntime::Rten => rten::load_file(&graph.path),
            OnnxRuntime::Ort(provider) => ort::load_file(&graph.path, provider),
        }
        .map(|parts| OnnxSession::of(runtime, parts))
    }

    /// Loads a graph for `rten` with every value that it computes in f16 as a further output; these are returned too.
    /// The graph runs node by node as it is written.
    ///
    /// # Errors
    /// As [`OnnxSession::open`].
    pub(super) fn open_watched(
        graph: &OnnxGraphFile,
        lengths: OnnxLengths,
    ) -> Result<(OnnxSession, Vec<HalfValue>), OnnxError> {
        graph.sizes.check(lengths, Budget::default())?;
        let load = |error: InputError| OnnxError::Malformed { cause: error.to_string() };
        let values = half_values(&input::read(&graph.path, Kind::Weights).map_err(load)?)?;
        let mut session = OnnxSession::of(OnnxRuntime::Rten, rten::load_as_written(widened(&graph.path)?)?);
        for value in &values {
            if session.outputs.iter().all(|port| port.name != value.name) {
                let name = value.name.clone();
                session.outputs.push(OnnxPort { name, shape: Vec::new(), integers: false });
            }
        }
        Ok((session, values))
    }

    /// Loads the bytes of a file without external data for `rten`, if what it asks for is within `budget`.
    ///
    /// # Errors
    /// As [`OnnxSession::open`].
    pub fn from_bytes(
        bytes: Vec<u8>,
        lengths: OnnxLengths,
        budget: Budget,
    ) -> Result<OnnxSession, OnnxError> {
        let load = |error: FormatError| OnnxError::Malformed { cause: error.to_string() };
        let source = Arc::new(bytes);
        let none = &mut |name: &str| {
            let cause = format!("external data `{}` of a file in memory", shown(name));
            Err(FormatError::new(Code::Missing, Place::File, cause))
        };
        let file = OnnxFile::open(Arc::<Vec<u8>>::clone(&source), none).map_err(load)?;
        SizeGraph::of(&file).map_err(load)?.check(lengths, budget)?;
        drop(file);
        rten::load(Arc::unwrap_or_clone(source)).map(|parts| OnnxSession::of(OnnxRuntime::Rten, parts))
    }

    fn of(runtime: OnnxRuntime, (loaded, inputs, outputs): Parts) -> OnnxSession {
        OnnxSession { runtime, loaded, inputs, outputs }
    }

    /// What runs it.
    pub fn runtime(&self) -> OnnxRuntime {
        self.runtime
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
        let mut given = Vec::with_capacity(inputs.len());
        for (name, shape, data) in inputs {
            let port = self.inputs.iter().find(|port| port.name == *name);
            let port = port.ok_or_else(|| OnnxError::Missing { what: format!("input `{name}`") })?;
            port.check(shape, data)?;
            given.push((port, *shape, data));
        }
        if let Some(name) = outputs.iter().find(|name| self.outputs.iter().all(|port| port.name != **name)) {
            return Err(OnnxError::Missing { what: format!("output `{name}`") });
        }
        self.loaded.run(&given, outputs)
    }
}
