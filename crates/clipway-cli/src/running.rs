//! Models that a command runs: the options for them, and loading.

use clap::Args;
use clipway_model::plan::Towers;
use clipway_model::source::Source;
use clipway_run::clip::Clip;
use clipway_run::load::{self, LoadOptions};
use clipway_run::onnx::OnnxFolder;
use clipway_run::space::Identity;

use crate::failure::Failure;
use crate::images::ImageOptions;
use crate::options::RunArguments;
use crate::reading::ReadingOptions;
use crate::source::{SourceArguments, graphs, load_failure, load_options, onnx_failure};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::verification::space_failure;

/// How a model is read, and what it is run in.
#[derive(Args)]
pub struct ModelArguments {
    #[command(flatten)]
    pub images: ImageOptions,

    #[command(flatten)]
    pub reading: ReadingOptions,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    pub source: SourceArguments,
}

impl ModelArguments {
    /// Loads towers of a folder or another source to run them: the requested ones that exist.
    pub fn load(&self, name: &SourceName, towers: Towers, ui: &Ui) -> Result<(Clip, Origin), Failure> {
        let load = LoadOptions {
            towers: Some(towers),
            apply_orientation: self.images.apply_orientation,
            tokenizer: self.reading.tokenizer.clone(),
            compute: self.run.compute(),
            ..load_options(ui)?
        };
        load_with(name, &self.source, &self.reading, load, ui)
    }
}

/// Loads a source to run it, ONNX graphs or a model for the engine.
///
/// # Errors
/// A source or a tokenizer that cannot be read, and a model that cannot be run.
pub fn load_with(
    name: &SourceName,
    arguments: &SourceArguments,
    reading: &ReadingOptions,
    load: LoadOptions,
    ui: &Ui,
) -> Result<(Clip, Origin), Failure> {
    let towers = load.towers.unwrap_or(Towers::Both);
    let graphs = graphs(name, arguments.backend)?;
    let model = if let Some(folder) = graphs {
        for note in folder.contract.iter().flat_map(|contract| &contract.notes) {
            ui.note(note);
        }
        Loaded::Graphs(Box::new(folder))
    } else {
        let options = reading.added_to(arguments.options(Some(name)))?;
        let source = load::resolve(&arguments.open(name)?, &options, load.tokenizer.as_deref());
        let source = source.map_err(|error| load_failure(&error))?;
        for note in source.notes() {
            ui.note(note);
        }
        Loaded::Source(Box::new(source))
    };
    let origin = Origin { model, load };
    let clip = origin.load(towers)?;
    Ok((clip, origin))
}

/// What a model was loaded from, and how.
#[derive(Debug)]
pub struct Origin {
    model: Loaded,
    load: LoadOptions,
}

#[derive(Debug)]
enum Loaded {
    /// A model for the engine.
    Source(Box<Source>),
    /// ONNX graphs.
    Graphs(Box<OnnxFolder>),
}

impl Origin {
    /// What the model's features are of. The weights are read if no `clipway.json` lists them, and graphs always.
    pub fn identity(&self, clip: &Clip) -> Result<Identity, Failure> {
        let identity = match &self.model {
            Loaded::Source(source) => Identity::of(source, clip, &self.load),
            Loaded::Graphs(folder) => Identity::of_graphs(folder, clip),
        };
        identity.map_err(|error| space_failure(&error))
    }

    /// Loads towers of the model.
    pub fn load(&self, towers: Towers) -> Result<Clip, Failure> {
        match &self.model {
            Loaded::Source(source) => {
                let load = LoadOptions { towers: Some(towers), ..self.load.clone() };
                Clip::load(source, &load).map_err(|error| load_failure(&error))
            }
            Loaded::Graphs(folder) => {
                let clip = folder.load(towers).map_err(|error| onnx_failure(&error))?;
                Ok(clip.with_orientation(self.load.apply_orientation))
            }
        }
    }
}
