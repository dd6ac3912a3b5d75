//! Errors when compiling or running a tower.

use clipway_model::plan::Integers;

/// A tensor cannot be read as the architecture requires.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// There is no tensor with this name.
    #[error("no such tensor")]
    Missing,
    /// The tensor has another shape.
    #[error("expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The required shape.
        expected: Vec<usize>,
        /// The shape in the weights.
        found: Vec<usize>,
    },
    /// The tensor is not floating-point.
    #[error("expected floating-point numbers, found {found}")]
    Dtype {
        /// Dtype of the tensor.
        found: String,
    },
    /// The tensor holds NaN or infinity, which no integers have.
    #[error("it holds NaN or infinity, which {integers} does not have")]
    NotFinite {
        /// The integers that it was to be rounded to.
        integers: Integers,
    },
    /// The tensor cannot be in int4.
    #[error("its rows of {width} values do not divide into groups of 8 to 16, which int4 needs")]
    Groups {
        /// Values in a row.
        width: usize,
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
    /// The values are not rows of images with sizes of their own.
    #[error("pixels: expected a multiple of {expected} values, a row for each image, found {found}")]
    GridValues {
        /// Number of values per image.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// An image of its own size is not whole patches, or too many.
    #[error("image {index}: {height} x {width} is not 1 to {most} whole patches of {side} pixels")]
    ImageSize {
        /// Index of the first such image.
        index: usize,
        /// Its height, in pixels.
        height: f32,
        /// Its width, in pixels.
        width: f32,
        /// Side of a patch, in pixels.
        side: usize,
        /// Maximum number of patches.
        most: usize,
    },
    /// The graph uses something that the engine cannot compute.
    #[error("`{scope}`: {operation}: {reason}")]
    Unsupported {
        /// Module of the operation.
        scope: String,
        /// The operation.
        operation: String,
        /// What is not supported.
        reason: String,
    },
    /// The processor lacks the requested instruction set.
    #[error("this processor has no {name}")]
    InstructionSet {
        /// Name of the instruction set.
        name: &'static str,
    },
    /// Threads are not available.
    #[error("{threads} threads: {cause}")]
    Threads {
        /// The requested number.
        threads: usize,
        /// The system's error.
        cause: String,
    },
    /// The input is of the wrong kind for the tower.
    #[error("the tower takes {expected}, found {found}")]
    WrongInput {
        /// The tower's input.
        expected: &'static str,
        /// The given input.
        found: &'static str,
    },
    /// The number of pixel values is not a whole number of images.
    #[error(
        "pixels: expected a multiple of {expected} values ([batch, 3, {height}, {width}]), found {found}"
    )]
    Pixels {
        /// Number of values per image.
        expected: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// Number of values given.
        found: usize,
    },
    /// A text has more tokens than the tower has positions.
    #[error("text {text}: expected at most {most} tokens that are not padding, found {found}")]
    TextLength {
        /// Index of the text in the batch.
        text: usize,
        /// Number of positions.
        most: usize,
        /// Number of tokens that are not padding.
        found: usize,
    },
    /// The number of token ids is not a whole number of texts.
    #[error(
        "token ids: expected texts of {least} to {context} tokens, found {found} ids for texts of {length}"
    )]
    TokenCount {
        /// Shortest text.
        least: usize,
        /// Longest text.
        context: usize,
        /// Length of a text, as given.
        length: usize,
        /// Number of ids given.
        found: usize,
    },
    /// A token id is outside the vocabulary.
    #[error("text {text}, token {position}: expected an id below {vocabulary}, found {id}")]
    TokenRange {
        /// Index of the text in the batch.
        text: usize,
        /// Index of the token in the text.
        position: usize,
        /// The id.
        id: i64,
        /// Number of ids in the vocabulary.
        vocabulary: usize,
    },
}

impl EngineError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Weight { cause, .. } => match cause {
                WeightError::Missing => "missing",
                WeightError::Shape { .. } | WeightError::Groups { .. } => "shape-mismatch",
                WeightError::Dtype { .. } => "dtype-mismatch",
                WeightError::NotFinite { .. } => "not-finite",
                WeightError::Read(_) => "io",
            },
            EngineError::Unsupported { .. } => "unsupported",
            EngineError::InstructionSet { .. } | EngineError::Threads { .. } => "processor",
            EngineError::WrongInput { .. } => "missing",
            EngineError::Pixels { .. }
            | EngineError::GridValues { .. }
            | EngineError::ImageSize { .. }
            | EngineError::TokenCount { .. }
            | EngineError::TextLength { .. } => "shape-mismatch",
            EngineError::TokenRange { .. } => "token-range",
        }
    }
}
