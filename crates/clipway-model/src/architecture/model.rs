//! What an architecture makes of a config.

use crate::graph::{Graph, ParameterId, Parameters};

/// A model: everything its checkpoint holds, and what its towers compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Every tensor of the state dict.
    pub parameters: Parameters,
    /// From pixels `[batch, 3, height, width]` to an embedding `[batch, embed_dim]`; its length is 1 only where the graph
    /// says so (CoCa).
    pub image: Graph,
    /// From token ids `[batch, length]` to an embedding `[batch, embed_dim]`, as for images.
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
