//! Image towers for one size that open_clip's main branch trained on images of any proportions (`force_naflex_vision`): their
//! tensors have the names of timm's `NaFlexVit`, which is the same network.

use super::config::identified;
use super::differing::differences;
use crate::config::{ModelConfig, TimmConfig};
use crate::identify::Identification;
use crate::layout::{self, Layout};
use crate::plan::{Converted, Towers};

/// What a user should know about such weights.
pub(super) const NOTE: &str = "the image tower was trained as NaFlex, on images of any proportions; here it has the one size of \
                               its config, as for open_clip's own transform of images";

/// The form of a model's image tower, if that is one of timm's for one size: the form that matches, else the first.
pub(super) fn of_model(
    forms: &[Converted],
    layout: &Layout,
    model: &ModelConfig,
    tower: Towers,
) -> Option<Converted> {
    let is_plain = model.vision.timm.as_ref().is_some_and(|timm| !TimmConfig::is_naflex(timm));
    let fits = |form: &&Converted| differences(layout, (*form).clone(), model, tower).is_none();
    let form = || forms.iter().find(fits).or(forms.first()).cloned();
    if is_plain { form() } else { None }
}

/// The registered models that match one of the forms. They match NaFlex's own models too, so the tensors alone do not show which
/// they are.
pub(super) fn identified_plain(forms: &[Converted]) -> Option<Identification> {
    let mut found = forms.iter().map(|form| identified(&form.infos()));
    found.find(|found| !found.names().is_empty())
}

/// Whether the weights are of such a tower: by their layout, or because they were given another form.
pub(super) fn is_forced(layout: &Layout, is_reshaped: bool) -> bool {
    is_reshaped || layout.name == layout::FORCED_NAFLEX
}
