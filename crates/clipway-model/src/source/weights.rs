//! Which tensors of a checkpoint are the model's: below a prefix that other modules put before all names, if need be.

use clipway_formats::shown;

use crate::checkpoint::Checkpoint;
use crate::layout::{self, Layout};
use crate::state_dict::{SelectError, Selection, Weights, WeightsChoice, is_averaged};

/// The module with the masks of a model that is being pruned, in TinyCLIP's code.
const PRUNING: &str = "l0_module";

/// Finds the model's tensors, and says what a user should know about where they lie. Where the names as they are have no
/// layout, the only prefix below which a layout lies is found.
pub(crate) fn select(
    checkpoint: &Checkpoint,
    selection: &Selection,
) -> Result<(Weights, Option<String>), SelectError> {
    let weights = match checkpoint.select(selection) {
        // Averaged weights may be below a prefix instead of in a dictionary of their own.
        Err(SelectError::NotThere { wanted: WeightsChoice::Ema, .. }) if selection.under.is_none() => {
            return averaged(checkpoint, selection);
        }
        selected => selected?,
    };
    let mut names = weights.state_dict.tensors().iter().map(|tensor| &tensor.name);
    if let Some(mask) = names.find(|name| name.split('.').any(|part| part == PRUNING)) {
        return Err(SelectError::Pruning { mask: mask.clone() });
    }
    if let Some(prefix) = layout::bare_tower(&weights.state_dict) {
        return Ok((weights.prefixed(prefix)?, None));
    }
    let is_known = Layout::recognize(&weights.state_dict).is_some_and(Layout::is_converted);
    if selection.under.is_some() || is_known {
        return Ok((weights, None));
    }
    let (average, raw) = prefixes(&weights);
    let has_both = !raw.is_empty() && !average.is_empty();
    if selection.choice == Some(WeightsChoice::Raw) && raw.is_empty() && !average.is_empty() {
        return Err(SelectError::NotThere { wanted: WeightsChoice::Raw, found: WeightsChoice::Ema });
    }
    let candidates = if raw.is_empty() { average } else { raw };
    if candidates.is_empty() {
        Ok((weights, None))
    } else {
        below(Weights { has_both, ..weights }, candidates)
    }
}

/// Finds averaged weights below a prefix of their own.
fn averaged(
    checkpoint: &Checkpoint,
    selection: &Selection,
) -> Result<(Weights, Option<String>), SelectError> {
    let weights = checkpoint.select(&Selection { choice: None, ..selection.clone() })?;
    let (average, raw) = prefixes(&weights);
    if average.is_empty() {
        return Err(SelectError::NotThere { wanted: WeightsChoice::Ema, found: weights.choice });
    }
    below(Weights { has_both: !raw.is_empty(), ..weights }, average)
}

/// Prefixes below which a layout lies: those of averaged weights, and the others.
fn prefixes(weights: &Weights) -> (Vec<String>, Vec<String>) {
    let is_average = |prefix: &String| prefix.split('.').any(is_averaged);
    layout::prefixes(&weights.state_dict).into_iter().partition(is_average)
}

/// The weights below the only one of these prefixes, and a note on it.
fn below(weights: Weights, candidates: Vec<String>) -> Result<(Weights, Option<String>), SelectError> {
    let tensors = weights.state_dict.tensors().len();
    let others = |found: &Weights| match tensors - found.state_dict.tensors().len() {
        0 => String::new(),
        1 => "; 1 other tensor is left out".to_owned(),
        others => format!("; {others} other tensors are left out"),
    };
    let lacks = |prefix: &str| layout::lacking(&weights.state_dict, prefix);
    if let Some([image, text]) = layout::split(&weights.state_dict, &candidates) {
        let parts = [(image.as_str(), lacks(&image)), (text.as_str(), lacks(&text))];
        let found = weights.joined(parts)?;
        let others = others(&found);
        let note = format!(
            "the image tower is under `{}`, the text tower under `{}`{others}",
            shown(&image),
            shown(&text)
        );
        return Ok((found, Some(note)));
    }
    let [prefix] = &candidates[..] else { return Err(SelectError::Ambiguous { candidates }) };
    let lacks = lacks(prefix);
    let mut found = weights.under(prefix)?;
    if prefix.split('.').any(is_averaged) {
        found.choice = WeightsChoice::Ema;
    }
    let others = others(&found);
    if let Some(lacks) = lacks {
        found = found.prefixed(lacks)?;
    }
    Ok((found, Some(format!("the model is under the prefix `{prefix}`{others}"))))
}
