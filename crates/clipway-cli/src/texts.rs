//! Texts on the command line, encoded in batches.

use clipway_run::clip::Clip;

use crate::failure::Failure;
use crate::source::clip_failure;
use crate::ui::Ui;

/// Number of texts in one pass through the text tower.
const PASS: usize = 1024;

/// Features of texts, `[texts, width]`. Warns once about truncated texts. `what` names the work on the progress bar.
pub fn encode_texts(texts: &[String], clip: &Clip, what: &str, ui: &Ui) -> Result<Vec<f32>, Failure> {
    let mut features = Vec::with_capacity(texts.len() * clip.embed_dim());
    let mut truncated = 0;
    let bar = ui.progress(texts.len() as u64, what, false);
    for pass in texts.chunks(PASS) {
        let (part, cut) = clip.encode_texts(pass).map_err(|error| clip_failure(&error))?;
        features.extend(part);
        truncated += cut;
        bar.inc(pass.len() as u64);
    }
    bar.finish_and_clear();
    ui.warn_truncated(truncated, texts.len());
    Ok(features)
}
