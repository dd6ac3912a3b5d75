//! Models that a command runs: the options for them, and loading.

use clap::Args;
use clipway_model::plan::Towers;
use clipway_model::source::Source;
use clipway_run::clip::Clip;
use clipway_run::load::{self, LoadOptions};
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
        if let Some(folder) = graphs(name, self.source.backend)? {
            for note in folder.contract.iter().flat_map(|contract| &contract.notes) {
                ui.note(note);
            }
            let clip = folder.load(towers).map_err(|error| onnx_failure(&error))?;
            return Ok((clip, Origin(None)));
        }
        let load = LoadOptions {
            towers: Some(towers),
            apply_orientation: self.images.apply_orientation,
            tokenizer: self.reading.tokenizer.clone(),
            compute: self.run.compute(),
            ..load_options(ui)?
        };
        let options = self.reading.added_to(self.source.options(Some(name)))?;
        let source = load::resolve(&self.source.open(name)?, &options, load.tokenizer.as_deref());
        let source = source.map_err(|error| load_failure(&error))?;
        for note in source.notes() {
            ui.note(note);
        }
        let clip = Clip::load(&source, &load).map_err(|error| load_failure(&error))?;
        Ok((clip, Origin(Some((source, load)))))
    }
}

/// What a model was loaded from; nothing is known of ONNX graphs.
#[derive(Debug)]
pub struct Origin(Option<(Source, LoadOptions)>);

impl Origin {
    /// What the model's features are of; `None` for ONNX graphs. The weights are read if no `clipway.json` lists them.
    pub fn identity(&self, clip: &Clip) -> Result<Option<Identity>, Failure> {
        let Some((source, load)) = &self.0 else { return Ok(None) };
        Identity::of(source, clip, load).map(Some).map_err(|error| space_failure(&error))
    }
}
