//! Which tensors of a checkpoint are the model's: below a prefix that other modules put before all names, if need be.

use crate::checkpoint::Checkpoint;
use crate::layout::{self, Layout};
use crate::state_dict::{SelectError, Selection, Weights, WeightsChoice, is_averaged};

/// Finds the model's tensors, and says what a user should know about where they lie. Where the names as they are have no
/// layout, the only prefix below which a layout lies is found.
pub(crate) fn select(
    checkpoint: &Checkpoint,
    selection: &Selection,
) -> Result<(Weights, Option<String>), SelectError> {
    let weights = checkpoint.select(selection)?;
    if let Some(prefix) = layout::bare_tower(&weights.state_dict) {
        return Ok((weights.prefixed(prefix)?, None));
    }
    let is_known = Layout::recognize(&weights.state_dict).is_some_and(Layout::is_converted);
    if selection.under.is_some() || is_known {
        return Ok((weights, None));
    }
    let (averaged, raw): (Vec<String>, Vec<String>) = layout::prefixes(&weights.state_dict)
        .into_iter()
        .partition(|prefix| prefix.split('.').any(is_averaged));
    let takes_averaged =
        raw.is_empty() || selection.choice == Some(WeightsChoice::Ema) && !averaged.is_empty();
    match &(if takes_averaged { averaged } else { raw })[..] {
        [] => Ok((weights, None)),
        [prefix] => {
            let tensors = weights.state_dict.tensors().len();
            let found = weights.under(prefix)?;
            let others = tensors - found.state_dict.tensors().len();
            let others = match others {
                0 => String::new(),
                1 => "; 1 other tensor is left out".to_owned(),
                _ => format!("; {others} other tensors are left out"),
            };
            Ok((found, Some(format!("the model is under the prefix `{prefix}`{others}"))))
        }
        several => Err(SelectError::Ambiguous { candidates: several.to_vec() }),
    }
}
