//! How tensors differ from what a model expects.

use crate::architecture::build;
use crate::config::ModelConfig;
use crate::differences::Differences;
use crate::layout::Layout;
use crate::plan::{Converted, PlanError, PlanOptions, Towers, build_plan};

/// How tensors differ from a model's.
pub(super) fn differences(
    layout: &Layout,
    converted: Converted,
    model: &ModelConfig,
    tower: Towers,
) -> Option<Differences> {
    let parameters = build(model).ok()?.parameters;
    let options = PlanOptions { tower, ..PlanOptions::default() };
    match build_plan(layout.name, converted, [model, model], &parameters, options) {
        Err(PlanError::Differs(differences)) => Some(*differences),
        _ => None,
    }
}
