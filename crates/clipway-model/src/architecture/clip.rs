//! Two towers and a temperature: open_clip's `CLIP` and `CustomTextCLIP`.
//!
//! The two classes compute the same and differ in names: `CustomTextCLIP` keeps the text tower's tensors under
//! `text.`, `CLIP` in the root.

use crate::config::ModelConfig;
use crate::graph::{Dim, Graph, GraphBuilder, Parameters};

use super::{ArchitectureError, IMAGE_TOWERS, Model, TEXT_TOWERS, Tower, TowerKind};

/// Builds the model of a config: its parameters and its towers' graphs, with every shape checked.
///
/// # Errors
/// If values of the config contradict each other, or if it asks for something that is not supported.
pub fn build(config: &ModelConfig) -> Result<Model, ArchitectureError> {
    config.check()?;
    if config.multimodal.is_some() {
        return Err(ArchitectureError::unsupported(
            "`multimodal_cfg` (CoCa)",
            "only models of two towers are",
        ));
    }
    let image = choose(IMAGE_TOWERS, config).ok_or_else(unsupported_image)?;
    let text = choose(TEXT_TOWERS, config).ok_or_else(|| unsupported_text(config))?;

    let mut parameters = Parameters::default();
    let mut root = parameters.root();
    let image = (image.declare)(config, root.child("visual"))?;
    let text = if config.uses_custom_text() {
        (text.declare)(config, root.child("text"))?
    } else {
        (text.declare)(config, parameters.root())?
    };
    let mut root = parameters.root();
    let shape: &[usize] = if config.nonscalar_logit_scale { &[1] } else { &[] };
    let logit_scale = root.parameter("logit_scale", shape);
    let logit_bias = config.init_logit_bias.is_some().then(|| root.parameter("logit_bias", shape));
    Ok(Model {
        image: graph("image", image.as_ref(), &parameters, config.embed_dim)?,
        text: graph("text", text.as_ref(), &parameters, config.embed_dim)?,
        logit_scale,
        logit_bias,
        embed_dim: config.embed_dim,
        image_size: config.vision.image_size,
        context_length: config.text.context_length,
        vocab_size: config.text.vocab_size,
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
    embed_dim: usize,
) -> Result<Graph, ArchitectureError> {
    let mut builder = GraphBuilder::new(name, parameters);
    let output = tower.forward(&mut builder)?;
    if *builder.shape(output) != [Dim::Batch, Dim::Fixed(embed_dim)] {
        let shape: Vec<String> = builder.shape(output).iter().map(Dim::to_string).collect();
        let what = format!("a config whose {name} tower gives [{}]", shape.join(", "));
        return Err(ArchitectureError::unsupported(what, format!("the embedding has {embed_dim} values")));
    }
    Ok(builder.finish(output))
}

fn unsupported_image() -> ArchitectureError {
    ArchitectureError::unsupported("an image tower of no known kind", "set `layers` or `timm_model_name`")
}

fn unsupported_text(config: &ModelConfig) -> ArchitectureError {
    let name = config.text.hugging_face.as_ref().map_or("", |tower| tower.model_name.as_str());
    let why = "of text towers, open_clip's own transformer is";
    ArchitectureError::unsupported(format!("the Hugging Face text tower `{name}`"), why)
}
