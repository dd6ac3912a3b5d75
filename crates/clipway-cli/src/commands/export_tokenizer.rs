//! The tokenizer that `clipway export` writes beside the weights.

use std::path::Path;

use clipway_formats::shown_path;
use clipway_model::export::TokenizerParts;
use clipway_model::layout::OWN_TOKENIZER;
use clipway_model::plan::Towers;
use clipway_model::source::{ConfigOrigin, Source};
use clipway_run::load::LoadedTokenizer;

use crate::failure::Failure;
use crate::source::load_failure;
use crate::ui::Ui;

/// Reads the tokenizer into the source's contract, and returns the tokenizer files to write. Warns if open_clip
/// will look the tokenizer up by the name in the config.
pub fn tokenizer(
    source: &mut Source,
    folder: Option<&Path>,
    layout: &str,
    ui: &Ui,
) -> Result<TokenizerParts, Failure> {
    if source.tower() == Towers::Image {
        return Ok(TokenizerParts::default());
    }
    let folder = folder.unwrap_or(source.folder()).to_owned();
    let found = LoadedTokenizer::read_into(source, &folder).map_err(|error| load_failure(&error))?;
    if let Some(found) = found {
        return found.parts_for(layout, source).map_err(|error| load_failure(&error));
    }
    let text = &source.config().model.text;
    let folder = shown_path(&folder);
    if let Some(tiktoken) = text.tokenizer.tiktoken {
        let name = tiktoken.encoding.name();
        let message =
            format!("`{folder}` has neither `{name}.tiktoken` nor a `tokenizer.json` of this encoding");
        let hint = "pass the folder of such a file with `--tokenizer DIR`, or pass `--tower image`";
        return Err(Failure { hint: Some(hint.to_owned()), ..Failure::no("missing-tokenizer", message) });
    }
    let name = text.tokenizer.name.as_deref().filter(|name| *name != OWN_TOKENIZER);
    // A config that states a name says which tokenizer it is; the number of rows does not.
    let is_stated = !matches!(source.origin(), ConfigOrigin::Layout(_));
    let Some(name) = name.filter(|_| is_stated) else {
        let rows = text.vocab_size;
        let known = name.map(|name| format!(", as many as `{name}` has")).unwrap_or_default();
        let message = format!(
            "`{folder}` has no tokenizer, and the built-in one is not known to fit the model: its token embedding has \
             {rows} rows{known}"
        );
        let hint = "pass the folder of its files with `--tokenizer DIR`, or pass `--tower image`";
        return Err(Failure { hint: Some(hint.to_owned()), ..Failure::no("missing-tokenizer", message) });
    };
    ui.warn(&format!(
        "`{folder}` does not contain the tokenizer `{name}`, so the export will not run offline (pass `--tokenizer \
         DIR`)"
    ));
    Ok(TokenizerParts::default())
}
