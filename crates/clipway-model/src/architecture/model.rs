//! The model that an architecture builds from a config.

use crate::graph::{Graph, ParameterId, Parameters};

/// A model: everything its checkpoint holds and what its towers compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Every tensor of the state dict.
    pub parameters: Parameters,
    /// From pixels `[batch, 3, height, width]` to an embedding `[batch, embed_dim]`. Its length is 1 only if the graph
    /// says so (CoCa).
    pub image: Graph,
    /// From token ids `[batch, length]` to an embedding `[batch, embed_dim]`, like the image tower's.
    pub text: Graph,
    /// Logarithm of the factor applied to the logits.
    pub logit_scale: ParameterId,
    /// Added to the logits.
    pub logit_bias: Option<ParameterId>,
    /// Width of the embeddings.
    pub embed_dim: usize,
    /// Height and width of the images, in pixels.
    pub image_size: [usize; 2],
    /// Height and width of the images that the tensors were made for, where open_clip needs `force_image_size` to use
    /// `image_size`: the graph resamples the positions.
    pub changed_from: Option<[usize; 2]>,
    /// Maximum number of tokens in a text.
    pub context_length: usize,
    /// Number of ids the text tower knows, from 0.
    pub vocab_size: usize,
}
