//! The programs that run graphs, and what they have in common.

use super::failure::OnnxError;
use super::session::{OnnxData, OnnxOutput, OnnxPort};

/// A program that runs graphs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxRuntime {
    /// `rten`, a part of this program.
    #[default]
    Rten,
    /// ONNX Runtime: the user's own library, loaded when it is first used.
    Ort(OrtProvider),
}

/// The devices on which ONNX Runtime may run a graph. Its library must have been built for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrtProvider {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs, by TensorRT.
    TensorRt,
    /// Apple's GPUs and neural engines.
    CoreMl,
    /// GPUs on Windows.
    DirectMl,
    /// AMD GPUs, by MIGraphX.
    MiGraphX,
    /// Intel's processors and GPUs, by OpenVINO.
    OpenVino,
}

impl OrtProvider {
    /// Its name, as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            OrtProvider::Cpu => "cpu",
            OrtProvider::Cuda => "cuda",
            OrtProvider::TensorRt => "tensorrt",
            OrtProvider::CoreMl => "coreml",
            OrtProvider::DirectMl => "directml",
            OrtProvider::MiGraphX => "migraphx",
            OrtProvider::OpenVino => "openvino",
        }
    }
}

impl OnnxRuntime {
    /// Its name and version, and where it computes if not on the processor.
    pub fn describe(self) -> String {
        match self {
            OnnxRuntime::Rten => super::rten::NAME.to_owned(),
            OnnxRuntime::Ort(provider) => {
                let name = super::ort::describe();
                match provider {
                    OrtProvider::Cpu => name,
                    _ => format!("{name} on {}", provider.name()),
                }
            }
        }
    }
}

/// A graph that a runtime has loaded.
pub(super) trait Loaded: Send + Sync {
    /// Runs what some outputs need. The inputs match their ports.
    fn run(
        &self,
        inputs: &[(&OnnxPort, &[usize], OnnxData)],
        outputs: &[&str],
    ) -> Result<Vec<OnnxOutput>, OnnxError>;
}

/// A loaded graph, its inputs and its outputs.
pub(super) type Parts = (Box<dyn Loaded>, Vec<OnnxPort>, Vec<OnnxPort>);
