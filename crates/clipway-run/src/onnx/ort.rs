//! Graphs run by ONNX Runtime: the user's own library, which `ORT_DYLIB_PATH` names. It is loaded when it is first used;
//! nothing is downloaded, and its telemetry is off.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use clipway_formats::{shown, shown_path};
use half::f16;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use super::failure::OnnxError;
use super::loaded::{Loaded, Parts};
use super::port::{OnnxData, OnnxOutput, OnnxPort};
use super::provider::OrtProvider;

/// The variable that names the library.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// What it is called where its version is not known.
const NAME: &str = "ONNX Runtime";

/// What ONNX Runtime says, for a message of ours.
fn said(error: impl std::fmt::Display) -> String {
    shown(&error.to_string().replace('`', "'"))
}

/// A library that is loaded: its name with its version, or why there is none.
fn library() -> Result<&'static str, OnnxError> {
    static LOADED: OnceLock<Result<String, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let path = std::env::var_os(LIBRARY).filter(|path| !path.is_empty());
        let path = path.map(PathBuf::from).ok_or_else(|| format!("`{LIBRARY}` names no library"))?;
        let absolute =
            std::path::absolute(&path).map_err(|error| format!("{}: {error}", shown_path(&path)))?;
        let builder = ort::init_from(absolute).map_err(said)?;
        builder.with_name("clipway").with_telemetry(false).commit();
        Ok(version(&path))
    });
    loaded.as_deref().map_err(|cause| OnnxError::NoRuntime { cause: cause.to_owned() })
}

/// The name with the version that the library's build information or its file name states.
fn version(path: &Path) -> String {
    let info = ort::info();
    let branch = info.split("git-branch=").nth(1).and_then(|rest| rest.split(',').next());
    let stated = branch.and_then(|branch| branch.strip_prefix("rel-")).map(str::to_owned);
    let file = || Some(path.file_name()?.to_str()?.split(".so.").nth(1)?.to_owned());
    stated.or_else(file).map_or_else(|| NAME.to_owned(), |version| format!("{NAME} {}", shown(&version)))
}

/// Name and version of the library, as far as it is there.
pub(super) fn describe() -> String {
    library().map_or_else(|_| NAME.to_owned(), str::to_owned)
}

/// Whether there is a library.
pub(super) fn is_there() -> bool {
    library().is_ok()
}

/// Loads a file, with external data beside it.
pub(super) fn load_file(path: &Path, provider: OrtProvider) -> Result<Parts, OnnxError> {
    let runtime = library()?;
    let refuse = |cause: String| OnnxError::Load { runtime: runtime.to_owned(), cause };
    let builder = Session::builder().map_err(|error| refuse(said(error)))?;
    let mut builder = match execution_provider(provider) {
        None => builder,
        Some(chosen) => builder
            .with_execution_providers([chosen])
            .map_err(|error| refuse(format!("no `{}`: {}", provider.name(), said(error))))?,
    };
    let session = builder.commit_from_file(path).map_err(|error| refuse(said(error)))?;
    let ports = |outlets: &[Outlet]| outlets.iter().map(port).collect();
    let (inputs, outputs) = (ports(session.inputs()), ports(session.outputs()));
    Ok((Box::new(OrtGraph { session: Mutex::new(session), runtime }), inputs, outputs))
}

fn execution_provider(provider: OrtProvider) -> Option<ExecutionProviderDispatch> {
    let provider = match provider {
        OrtProvider::Cpu => return None,
        OrtProvider::Cuda => ep::CUDA::default().build(),
        OrtProvider::TensorRt => ep::TensorRT::default().build(),
        OrtProvider::CoreMl => ep::CoreML::default().build(),
        OrtProvider::DirectMl => ep::DirectML::default().build(),
        OrtProvider::MiGraphX => ep::MIGraphX::default().build(),
        OrtProvider::OpenVino => ep::OpenVINO::default().build(),
    };
    // The processor instead, without a word, is not what was asked for.
    Some(provider.error_on_failure())
}

/// A session, which runs one batch at a time.
struct OrtGraph {
    session: Mutex<Session>,
    runtime: &'static str,
}

impl Loaded for OrtGraph {
    fn run(
        &self,
        inputs: &[(&OnnxPort, &[usize], &OnnxData)],
        outputs: &[&str],
    ) -> Result<Vec<OnnxOutput>, OnnxError> {
        let refuse =
            |error: ort::Error| OnnxError::Run { runtime: self.runtime.to_owned(), cause: said(error) };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut given: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (port, shape, data) in inputs {
            let wanted = session.inputs().iter().find(|outlet| outlet.name() == port.name);
            let wanted = wanted.and_then(|outlet| outlet.dtype().tensor_type());
            let value = value(port, shape, data, wanted).map_err(|error| match error {
                Refused::Input(error) => error,
                Refused::Runtime(error) => refuse(error),
            })?;
            given.push((port.name.as_str(), value.into()));
        }
        let selected =
            outputs.iter().fold(OutputSelector::no_default(), |selector, name| selector.with(*name));
        let options = RunOptions::new().map_err(refuse)?.with_outputs(selected);
        let results = session.run_with_options(given, &options).map_err(refuse)?;
        let output = |name: &&str| {
            let missing = || OnnxError::Missing { what: format!("output `{name}`") };
            let value = results.get(name).ok_or_else(missing)?;
            let (shape, values) = numbers(value).map_err(refuse)?;
            Ok(OnnxOutput { name: (*name).to_owned(), shape, values })
        };
        outputs.iter().map(output).collect()
    }
}

/// Why an input is not given.
enum Refused {
    Input(OnnxError),
    Runtime(ort::Error),
}

/// A value of the type that the graph wants.
fn value(
    port: &OnnxPort,
    shape: &[usize],
    data: &OnnxData,
    wanted: Option<TensorElementType>,
) -> Result<DynValue, Refused> {
    let shape = shape.to_vec();
    let built = match (data, wanted) {
        (OnnxData::Floats(values), Some(TensorElementType::Float16)) => {
            let values: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        (OnnxData::Floats(values), _) => Tensor::from_array((shape, values.clone())).map(Tensor::into_dyn),
        (OnnxData::Bytes(values), _) => Tensor::from_array((shape, values.clone())).map(Tensor::into_dyn),
        (OnnxData::Integers(values), Some(TensorElementType::Int32)) => {
            let values = port.narrow(values).map_err(Refused::Input)?;
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        (OnnxData::Integers(values), _) => Tensor::from_array((shape, values.clone())).map(Tensor::into_dyn),
    };
    built.map_err(Refused::Runtime)
}

/// The shape and the numbers of a result in f32 or f16.
fn numbers(value: &DynValue) -> ort::Result<(Vec<usize>, Vec<f32>)> {
    let lengths = |shape: &[i64]| shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect();
    if value.dtype().tensor_type() == Some(TensorElementType::Float16) {
        let (shape, values) = value.try_extract_tensor::<f16>()?;
        return Ok((lengths(shape), values.iter().map(|value| value.to_f32()).collect()));
    }
    let (shape, values) = value.try_extract_tensor::<f32>()?;
    Ok((lengths(shape), values.to_vec()))
}

fn port(outlet: &Outlet) -> OnnxPort {
    let (integers, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let length = |length: &i64| usize::try_from(*length).ok();
            let integers = matches!(ty, TensorElementType::Int32 | TensorElementType::Int64);
            (integers, shape.iter().map(length).collect())
        }
        _ => (false, Vec::new()),
    };
    OnnxPort { name: outlet.name().to_owned(), shape, integers }
}
