//! Loads the model of an index.

use clap::Args;
use clipway_model::plan::Towers;
use clipway_run::clip::Clip;
use clipway_run::load::LoadOptions;
use clipway_run::space::{Identity, Probing, Space};

use crate::failure::Failure;
use crate::reading::ReadingOptions;
use crate::running::{Origin, load_with};
use crate::source::{Backend, SourceArguments, clip_failure};
use crate::source_name::SourceName;
use crate::ui::Ui;

/// What runs the model of an index.
#[derive(Args)]
pub struct BackendOption {
    /// What computes: the engine, or rten or ONNX Runtime from ONNX files [default: rten for ONNX files, else the engine]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
}

/// Towers of the model of an index.
pub struct IndexModel {
    /// The towers that were asked for.
    pub clip: Clip,
    /// What decides the features of all of its towers.
    pub identity: Identity,
    origin: Origin,
}

impl IndexModel {
    /// The space that a new index stores: with features of images by the loaded image tower, and of texts by the text tower,
    /// which is loaded for that, so that a twin's texts can be compared later.
    ///
    /// # Errors
    /// A text tower that cannot be loaded, and inputs that the model refuses.
    pub fn new_space(&self) -> Result<Space, Failure> {
        let whole = |clip: &Clip| self.identity.clone().space(clip, Probing::Whole);
        let mut space = whole(&self.clip).map_err(|error| clip_failure(&error))?;
        if space.text.as_ref().is_some_and(|text| text.probes.is_empty()) {
            let texts = self.origin.load(Towers::Text)?;
            space.text = whole(&texts).map_err(|error| clip_failure(&error))?.text;
        }
        Ok(space)
    }
}

/// Loads a model, and states what decides its features.
///
/// # Errors
/// A model or a tokenizer that cannot be loaded, and a backend that does not run it.
pub fn load_model(
    model: &SourceName,
    load: LoadOptions,
    backend: &BackendOption,
    ui: &Ui,
) -> Result<IndexModel, Failure> {
    let arguments = SourceArguments { backend: backend.backend, ..SourceArguments::default() };
    let (clip, origin) = load_with(model, &arguments, &ReadingOptions::default(), load, ui)?;
    let identity = origin.identity(&clip)?;
    Ok(IndexModel { clip, identity, origin })
}
