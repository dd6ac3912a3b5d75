//! Why the runtime cannot load or run a graph, or is not asked to.

/// A graph cannot be loaded or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file cannot be read.
    #[error("the ONNX file cannot be read: {cause}")]
    Malformed {
        /// What is wrong with it.
        cause: String,
    },
    /// A runtime refuses the file.
    #[error("{runtime} cannot load the ONNX file: {cause}")]
    Load {
        /// The runtime, with its version.
        runtime: String,
        /// The runtime's error.
        cause: String,
    },
    /// An input does not match what the graph expects.
    #[error("input `{name}`: expected {expected}, found {found}")]
    Input {
        /// Name of the input.
        name: String,
        /// What the graph expects.
        expected: String,
        /// What was given.
        found: String,
    },
    /// An output does not have the shape of features.
    #[error("output `{name}`: expected {expected}, found {found}")]
    Output {
        /// Name of the output.
        name: String,
        /// What features are.
        expected: String,
        /// What the graph gives.
        found: String,
    },
    /// Running failed.
    #[error("{runtime} cannot run the ONNX graph: {cause}")]
    Run {
        /// The runtime, with its version.
        runtime: String,
        /// The runtime's error.
        cause: String,
    },
    /// A value, or all that are needed at the same time, do not fit the memory that a sample may take.
    #[error("one sample needs {needed} bytes at `{at}` of the ONNX graph; the limit is {most}")]
    Memory {
        /// The value or node.
        at: String,
        /// Bytes needed.
        needed: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// Too much work.
    #[error(
        "one sample needs {needed} multiplications up to node `{node}` of the ONNX graph; the limit is {most}"
    )]
    Work {
        /// The node.
        node: String,
        /// Multiplications needed.
        needed: u64,
        /// The limit in multiplications.
        most: u64,
    },
    /// A node that repeats others, or whose output may have any size.
    #[error("node `{node}` of the ONNX graph: what `{operator}` needs is known only by running it")]
    Unbounded {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// The runtime is not there.
    #[error("ONNX Runtime is not there: {cause}")]
    NoRuntime {
        /// Why not.
        cause: String,
    },
    /// The graph lacks a required input or output.
    #[error("the ONNX graph has no {what}")]
    Missing {
        /// What it lacks.
        what: String,
    },
}

impl OnnxError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            OnnxError::Malformed { .. } | OnnxError::Load { .. } => "onnx-load",
            OnnxError::Input { .. } => "shape-mismatch",
            OnnxError::Run { .. } | OnnxError::Output { .. } => "onnx-run",
            OnnxError::Memory { .. } | OnnxError::Work { .. } => "too-large",
            OnnxError::Unbounded { .. } => "unsupported",
            OnnxError::NoRuntime { .. } => "no-runtime",
            OnnxError::Missing { .. } => "missing",
        }
    }
}
