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
    if let Some(folder) = graphs(name, arguments.backend)? {
        for note in folder.contract.iter().flat_map(|contract| &contract.notes) {
            ui.note(note);
        }
        let clip = folder.load(load.towers.unwrap_or(Towers::Both)).map_err(|error| onnx_failure(&error))?;
        return Ok((clip.with_orientation(load.apply_orientation), Origin::Graphs(Box::new(folder))));
    }
    let options = reading.added_to(arguments.options(Some(name)))?;
    let source = load::resolve(&arguments.open(name)?, &options, load.tokenizer.as_deref());
    let source = source.map_err(|error| load_failure(&error))?;
    for note in source.notes() {
        ui.note(note);
    }
    let clip = Clip::load(&source, &load).map_err(|error| load_failure(&error))?;
    Ok((clip, Origin::Source(Box::new((source, load)))))
}

/// What a model was loaded from.
#[derive(Debug)]
pub enum Origin {
    /// A model for the engine.
    Source(Box<(Source, LoadOptions)>),
    /// ONNX graphs.
    Graphs(Box<OnnxFolder>),
}

impl Origin {
    /// What the model's features are of. The weights are read if no `clipway.json` lists them, and graphs always.
    pub fn identity(&self, clip: &Clip) -> Result<Identity, Failure> {
        let identity = match self {
            Origin::Source(loaded) => Identity::of(&loaded.0, clip, &loaded.1),
            Origin::Graphs(folder) => Identity::of_graphs(folder, clip),
        };
        identity.map_err(|error| space_failure(&error))
    }

    /// Loads other towers of the same model.
    #[cfg(feature = "search")]
    pub fn load(&self, towers: Towers) -> Result<Clip, Failure> {
        match self {
            Origin::Source(loaded) => {
                let load = LoadOptions { towers: Some(towers), ..loaded.1.clone() };
                Clip::load(&loaded.0, &load).map_err(|error| load_failure(&error))
            }
            Origin::Graphs(folder) => folder.load(towers).map_err(|error| onnx_failure(&error)),
        }
    }
}
