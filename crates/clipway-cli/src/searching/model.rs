//! Loads the model of an index.

use clipway_run::clip::Clip;
use clipway_run::load::{self, LoadOptions};
use clipway_run::space::Identity;

use crate::failure::Failure;
use crate::source::{self, SourceArguments, load_failure};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::verification::space_failure;

/// Loads a model, and states what decides its features.
///
/// # Errors
/// ONNX graphs, whose features have no space, and a model or a tokenizer that cannot be loaded.
pub fn load_model(model: &SourceName, load: &LoadOptions, ui: &Ui) -> Result<(Clip, Identity), Failure> {
    let arguments = SourceArguments::default();
    if source::graphs(model, None)?.is_some() {
        let message = format!("`{}` holds ONNX graphs, whose weights an index does not know", model.said());
        return Err(Failure::could_not_run("unsupported", message)
            .hint("pass a folder that `clipway export` wrote without `--to onnx`"));
    }
    let options = arguments.options(Some(model));
    let source = load::resolve(&arguments.open(model)?, &options, None);
    let source = source.map_err(|error| load_failure(&error))?;
    source.notes().iter().for_each(|note| ui.note(note));
    let clip = Clip::load(&source, load).map_err(|error| load_failure(&error))?;
    let identity = Identity::of(&source, &clip, load).map_err(|error| space_failure(&error))?;
    Ok((clip, identity))
}
