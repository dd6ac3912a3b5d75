//! What can go wrong when a tower is compiled or run.

/// A tensor cannot be read as the architecture needs it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// No tensor of this name.
    #[error("there is no such tensor")]
    Missing,
    /// The tensor has another shape.
    #[error("expected shape {expected:?}, found {found:?}")]
    Shape {
        /// What the architecture needs.
        expected: Vec<usize>,
        /// What the weights hold.
        found: Vec<usize>,
    },
    /// The tensor is not made of floating-point numbers.
    #[error("expected floating-point numbers, found {found}")]
    Dtype {
        /// Dtype of the tensor.
        found: String,
    },
    /// Reading its bytes failed.
    #[error(transparent)]
    Read(Box<dyn std::error::Error + Send + Sync>),
}

/// A tower cannot be compiled, or an input cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A weight cannot be read.
    #[error("tensor `{name}`: {cause}")]
    Weight {
        /// Name in the state dict.
        name: String,
        /// What is wrong.
        cause: WeightError,
    },
    /// The graph asks for something that the engine cannot compute.
    #[error("`{scope}`: {operation}: {reason}")]
    Unsupported {
        /// Module of the operation.
        scope: String,
        /// The operation.
        operation: String,
        /// What is not supported.
        reason: String,
    },
    /// The processor lacks the instruction set that was asked for.
    #[error("this processor has no {name}")]
    InstructionSet {
        /// Name of the instruction set.
        name: &'static str,
    },
    /// Threads are not available.
    #[error("{threads} threads: {cause}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        cause: String,
    },
    /// The input is of another kind than the tower's.
    #[error("the tower takes {expected}, found {found}")]
    WrongInput {
        /// What the tower takes.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// The number of pixels is not that of whole images.
    #[error(
        "pixels: expected a multiple of {expected} values ([batch, 3, {height}, {width}]), found {found}"
    )]
    Pixels {
        /// Values of one image.
        expected: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// Values given.
        found: usize,
    },
    /// A text has more tokens than the tower has positions for.
    #[error("text {text}: expected at most {most} tokens that are not padding, found {found}")]
    TextLength {
        /// The text in the batch.
        text: usize,
        /// Positions that there are.
        most: usize,
        /// Tokens that are not padding.
        found: usize,
    },
    /// The number of token ids is not that of whole texts.
    #[error(
        "token ids: expected texts of {least} to {context} tokens, found {found} ids for texts of {length}"
    )]
    TokenCount {
        /// Shortest text.
        least: usize,
        /// Longest text.
        context: usize,
        /// Tokens of a text, as given.
        length: usize,
        /// Ids given.
        found: usize,
    },
    /// A token id lies outside of the vocabulary.
    #[error("text {text}, token {position}: expected an id below {vocabulary}, found {id}")]
    TokenRange {
        /// Index of the text in the batch.
        text: usize,
        /// Index of the token in the text.
        position: usize,
        /// The id.
        id: i64,
        /// Number of ids.
        vocabulary: usize,
    },
}

impl EngineError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Weight { cause, .. } => match cause {
                WeightError::Missing => "missing",
                WeightError::Shape { .. } => "shape-mismatch",
                WeightError::Dtype { .. } => "dtype-mismatch",
                WeightError::Read(_) => "io",
            },
            EngineError::Unsupported { .. } => "unsupported",
            EngineError::InstructionSet { .. } | EngineError::Threads { .. } => "processor",
            EngineError::WrongInput { .. } => "missing",
            EngineError::Pixels { .. } | EngineError::TokenCount { .. } | EngineError::TextLength { .. } => {
                "shape-mismatch"
            }
            EngineError::TokenRange { .. } => "token-range",
        }
    }
}
