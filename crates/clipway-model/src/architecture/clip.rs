//! Two towers and a temperature: open_clip's `CLIP`, `CustomTextCLIP` and `CoCa`.
//!
//! The classes compute the same and differ in names: `CLIP` keeps the text tower's tensors in the root, the others
//! under `text.`. CoCa also has a decoder, and scales its features to length 1.

use clipway_formats::{Code, FormatError, Place};

use crate::config::{ModelConfig, VisionConfig, limits};
use crate::graph::{Dim, Graph, GraphBuilder, Operation, Parameters};

use super::{
    ArchitectureError, Model, Tower, TowerKind, coca_decoder, hugging_face, mobile_text, modern_text,
    modified_resnet, text_transformer, timm, vit,
};

/// Every image tower; the first that fits a config builds it.
const IMAGE_TOWERS: &[TowerKind] = &[
    TowerKind { fits: vit::fits, declare: vit::declare },
    TowerKind { fits: modified_resnet::fits, declare: modified_resnet::declare },
    TowerKind { fits: timm::fits, declare: timm::declare },
];

/// Every text tower; the first that fits a config builds it.
const TEXT_TOWERS: &[TowerKind] = &[
    TowerKind { fits: modern_text::fits, declare: modern_text::declare },
    TowerKind { fits: mobile_text::fits, declare: mobile_text::declare },
    TowerKind { fits: text_transformer::fits, declare: text_transformer::declare },
    TowerKind { fits: hugging_face::fits, declare: hugging_face::declare },
];

/// Builds the model of a config: its parameters and its towers' graphs, with every shape checked.
///
/// # Errors
/// Config values that contradict each other, or a request for something unsupported.
pub fn build(config: &ModelConfig) -> Result<Model, ArchitectureError> {
    config.check()?;
    let image = choose(IMAGE_TOWERS, config).ok_or_else(unsupported_image)?;
    let text = choose(TEXT_TOWERS, config).ok_or_else(unsupported_text)?;
    let vocab_size = match &config.text.hugging_face {
        Some(tower) => hugging_face::text_model(config, tower)?.vocab_size,
        None => config.text.vocab_size,
    };

    let mut parameters = Parameters::default();
    let mut root = parameters.root();
    // CoCa declares its text tower first.
    let (image, text) = if let Some(multimodal) = &config.multimodal {
        let text = (text.declare)(config, root.child("text"))?;
        let image = (image.declare)(config, root.child("visual"))?;
        coca_decoder::declare(config, multimodal, root.child("text_decoder"));
        (image, text)
    } else {
        let image = (image.declare)(config, root.child("visual"))?;
        let scope = if config.uses_custom_text() { root.child("text") } else { parameters.root() };
        (image, (text.declare)(config, scope)?)
    };
    if config.folded && parameters.folds().is_empty() {
        return Err(ArchitectureError::unsupported(
            "the folded form",
            "it has no training branches that fold into one convolution, as FastViT (MobileCLIP) has; batch norms stay, \
             since open_clip and timm have no version of this model without them",
        ));
    }
    let mut root = parameters.root();
    let shape: &[usize] = if config.nonscalar_logit_scale { &[1] } else { &[] };
    let logit_scale = root.parameter("logit_scale", shape);
    let logit_bias = config.init_logit_bias.is_some().then(|| root.parameter("logit_bias", shape));
    let image_graph = graph("image", image.as_ref(), &parameters, config)?;
    check_tokens(&image_graph, &config.vision)?;
    Ok(Model {
        image: image_graph,
        text: graph("text", text.as_ref(), &parameters, config)?,
        logit_scale,
        logit_bias,
        embed_dim: config.embed_dim,
        image_size: config.vision.image_size,
        changed_from: image.changed_from(),
        context_length: config.text.context_length,
        vocab_size,
        parameters,
    })
}

fn choose<'t>(towers: &'t [TowerKind], config: &ModelConfig) -> Option<&'t TowerKind> {
    towers.iter().find(|tower| (tower.fits)(config))
}

fn graph(
    name: &str,
    tower: &dyn Tower,
    parameters: &Parameters,
    config: &ModelConfig,
) -> Result<Graph, ArchitectureError> {
    let embed_dim = config.embed_dim;
    let mut builder = GraphBuilder::new(name, parameters);
    let mut output = tower.forward(&mut builder)?;
    if *builder.shape(output) != [Dim::Batch, Dim::Fixed(embed_dim)] {
        let shape: Vec<String> = builder.shape(output).iter().map(Dim::to_string).collect();
        let what = format!("a config whose {name} tower outputs [{}]", shape.join(", "));
        return Err(ArchitectureError::unsupported(what, format!("the embedding has {embed_dim} values")));
    }
    if config.multimodal.is_some() {
        builder.scope("");
        output = builder.unit_heads(output, 1)?;
    }
    Ok(builder.finish(output))
}

fn unsupported_image() -> ArchitectureError {
    ArchitectureError::unsupported("an image tower of unknown kind", "set `layers` or `timm_model_name`")
}

fn unsupported_text() -> ArchitectureError {
    ArchitectureError::unsupported("a text tower of unknown kind", "set `layers` or `hf_model_name`")
}

/// Checks that no attention of an image tower sees more tokens than any real model has. A timm name fixes the patch
/// size, and with it the number of tokens, without any config key.
fn check_tokens(graph: &Graph, vision: &VisionConfig) -> Result<(), ArchitectureError> {
    let attentions = graph.nodes.iter().filter(|node| matches!(node.operation, Operation::Attention { .. }));
    let seen = attentions.flat_map(|node| node.inputs.iter().map(|&value| graph.node(value)).chain([node]));
    let tokens = seen.filter_map(|node| match node.shape[..] {
        [Dim::Batch, Dim::Fixed(tokens), _] => Some(tokens),
        _ => None,
    });
    let most = tokens.max().unwrap_or(0);
    if most <= limits::TOKENS {
        return Ok(());
    }
    let [height, width] = vision.image_size;
    let cause =
        format!("an image of {height}x{width} pixels gives {most} tokens; the limit is {}", limits::TOKENS);
    Err(FormatError::new(Code::TooLarge, Place::Json("$.vision_cfg.image_size".to_owned()), cause).into())
}
