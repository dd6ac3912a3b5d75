//! Architectures: from a config to the parameters that a checkpoint must hold and the graphs of the two towers.
//!
//! A new architecture is one file and one line in a table below.

mod attentional_pooler;
mod clip;
mod coca_decoder;
mod hugging_face;
mod mobile_one;
mod mobile_text;
mod modified_resnet;
mod rep_mixer;
mod text_transformer;
mod timm;
mod transformer;
mod vit;

pub use clip::build;
pub use mobile_one::is_folded_name;
pub(crate) use timm::siglip;

use clipway_formats::FormatError;

use crate::config::ModelConfig;
use crate::graph::{Graph, GraphBuilder, GraphError, ParameterId, Parameters, Scope, ValueId};
use crate::hugging_face::UnknownTextModel;

/// Every image tower; the first that fits a config builds it.
const IMAGE_TOWERS: &[TowerKind] = &[
    TowerKind { fits: vit::fits, declare: vit::declare },
    TowerKind { fits: modified_resnet::fits, declare: modified_resnet::declare },
    TowerKind { fits: timm::fits, declare: timm::declare },
];

/// Every text tower; the first that fits a config builds it.
const TEXT_TOWERS: &[TowerKind] = &[
    TowerKind { fits: mobile_text::fits, declare: mobile_text::declare },
    TowerKind { fits: text_transformer::fits, declare: text_transformer::declare },
    TowerKind { fits: hugging_face::fits, declare: hugging_face::declare },
];

/// A kind of tower: which configs ask for it, and how it is made.
struct TowerKind {
    fits: fn(&ModelConfig) -> bool,
    declare: fn(&ModelConfig, Scope<'_>) -> Declared,
}

/// A tower whose parameters are declared, or why they cannot be.
type Declared = Result<Box<dyn Tower>, ArchitectureError>;

/// A tower whose parameters are declared.
trait Tower {
    /// Adds the tower's operations to a graph and gives the value of its embedding, `[batch, embedding width]`.
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;

    /// Height and width of the pictures that an image tower's tensors are made for, where open_clip takes those of the
    /// config only by `force_image_size`.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }
}

/// A model: everything its checkpoint holds, and what its towers compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Every tensor of the state dict.
    pub parameters: Parameters,
    /// From pixels `[batch, 3, height, width]` to an embedding `[batch, embed_dim]`, not normalised.
    pub image: Graph,
    /// From token ids `[batch, length]` to an embedding `[batch, embed_dim]`, not normalised.
    pub text: Graph,
    /// Logarithm of the factor of the logits.
    pub logit_scale: ParameterId,
    /// Added to the logits.
    pub logit_bias: Option<ParameterId>,
    /// Width of the embeddings.
    pub embed_dim: usize,
    /// Height and width of the images, in pixels.
    pub image_size: [usize; 2],
    /// Height and width of the images that the tensors are made for, where open_clip takes those of `image_size` only
    /// by `force_image_size`: the graph resamples the positions.
    pub changed_from: Option<[usize; 2]>,
    /// Most tokens of a text.
    pub context_length: usize,
    /// Ids that the text tower knows: 0 to this, exclusive.
    pub vocab_size: usize,
}

/// A config cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    /// Values of the config contradict each other.
    #[error("the config does not add up: {0}")]
    Config(#[from] FormatError),
    /// Options of the config lead to shapes that do not fit each other.
    #[error("the config's shapes do not fit: {0}")]
    Graph(#[from] GraphError),
    /// The config names a text model that is not known.
    #[error(transparent)]
    TextModel(#[from] UnknownTextModel),
    /// The config is right, but asks for something that cannot be built.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What the config asks for.
        what: String,
        /// Why it cannot be built, or what is supported.
        why: String,
    },
}

impl ArchitectureError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            ArchitectureError::Config(cause) => cause.code.name(),
            ArchitectureError::Graph(_) => "shape-mismatch",
            ArchitectureError::TextModel(_) => "unknown-model",
            ArchitectureError::Unsupported { .. } => "unsupported",
        }
    }

    fn unsupported(what: impl Into<String>, why: impl Into<String>) -> ArchitectureError {
        ArchitectureError::Unsupported { what: what.into(), why: why.into() }
    }
}
