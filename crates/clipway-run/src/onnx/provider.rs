//! Where ONNX Runtime computes.

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
