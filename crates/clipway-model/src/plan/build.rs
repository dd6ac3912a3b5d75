//! Builds a plan from a layout's tensors and a config's parameters.

use std::collections::{HashMap, HashSet};

use clipway_formats::{Dtype, TensorInfo};

use super::fit::{Sizes, by_name, fit, spell_text_tower};
use super::regroup::Left;
use super::{Converted, DroppedTensor, Plan, PlannedTensor, Precision, Step, StepError, Towers, fold};
use crate::config::ModelConfig;
use crate::differences::{Differences, Doubled, Mismatch, Unmatched, WrongDtype};
use crate::graph::{Parameter, Parameters};

impl Differences {
    /// A plan; if anything differs, the problems of the plan as well.
    ///
    /// # Errors
    /// All differences, or a layout that does not match its tensors.
    pub(crate) fn add_to(self, plan: Result<Plan, PlanError>) -> Result<Plan, PlanError> {
        match plan {
            Ok(plan) if self.is_empty() => Ok(plan),
            Ok(_) => Err(PlanError::Differs(Box::new(self))),
            Err(PlanError::Differs(mut others)) => {
                others.numbers.extend(self.numbers);
                others.mismatched.splice(0..0, self.mismatched);
                Err(PlanError::Differs(others))
            }
            Err(other) => Err(other),
        }
    }
}

/// Requirements on a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    /// Dtype of floating-point tensors; `None` keeps each as it is.
    pub precision: Option<Precision>,
    /// Which towers to write.
    pub tower: Towers,
    /// Whether to fold branches into the convolutions that the target has instead.
    pub fold: bool,
}

/// The tensors do not match the model of the config.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// All tensors that are missing, unused, duplicated, or of another shape or dtype.
    #[error("the tensors do not match the model:\n{0}")]
    Differs(Box<Differences>),
    /// A layout does not match its tensors.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl PlanError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            PlanError::Differs(differences) => differences.code(),
            PlanError::Step(_) => "shape-mismatch",
        }
    }
}

/// Builds the plan that turns the tensors of a layout, given by name, into a model. `base` is the config of the source
/// and `target` that of the result, with the result's `parameters`; they differ in changed sizes.
///
/// # Errors
/// All tensors that are missing, unused or of the wrong shape.
pub fn build_plan(
    layout: &str,
    converted: Converted,
    [base, target]: [&ModelConfig; 2],
    parameters: &Parameters,
    options: PlanOptions,
) -> Result<Plan, PlanError> {
    let Converted { mut tensors, mut dropped } = converted;
    spell_text_tower(&mut tensors, target);
    let places = by_name(&tensors);
    let mut left = Left::new(tensors, places.clone());
    let sizes = Sizes { base, target };
    let mut written = Vec::new();
    let mut differences = Differences::default();
    let folds = parameters.folds().iter().filter(|fold| {
        let name = &parameters.get(fold.weight).name;
        options.fold && options.tower.has(name) && !places.contains_key(name)
    });
    let mut folded = HashMap::new();
    let mut folded_in_vain = HashSet::new();
    for fold in folds {
        let mut branches = Vec::new();
        for (id, branch) in fold.branches.iter() {
            match places.get(&branch.name).and_then(|&place| left.tensors[place].take()) {
                None => differences.missing.push(Unmatched::new(&branch.name, &branch.shape)),
                Some(found) if found.target.shape != branch.shape => {
                    let (name, expected) = (branch.name.clone(), branch.shape.clone());
                    differences.mismatched.push(Mismatch { name, expected, found: found.target.shape });
                }
                Some(found) => match wrong_dtype(&found.target, branch) {
                    Some(wrong) => differences.dtypes.push(wrong),
                    None => branches.push((id, untouched(found)?)),
                },
            }
        }
        if branches.len() == fold.branches.len() {
            let counters = branches.iter().filter(|(_, tensor)| !tensor.dtype.is_float());
            dropped.extend(
                counters.map(|(_, tensor)| DroppedTensor { tensor: tensor.clone(), rule: fold::COUNTERS }),
            );
            folded.extend(fold::planned(fold, parameters, &|id| branches[id.index()].1.clone())?);
        } else {
            // Missing ones were found by the names of the branches.
            folded_in_vain.extend([fold.weight, fold.bias]);
        }
    }
    for id in parameters.in_state_dict_order() {
        let parameter = parameters.get(id);
        if !options.tower.has(&parameter.name) || folded_in_vain.contains(&id) {
            continue;
        }
        if let Some(mut planned) = folded.remove(&id) {
            cast(&mut planned, options.precision)?;
            written.push(planned);
            continue;
        }
        let Some(mut planned) = left.take(parameter)? else {
            if !options.tower.can_lack(&parameter.name) {
                differences.missing.push(Unmatched::new(&parameter.name, &parameter.shape));
            }
            continue;
        };
        if let Some(wrong) = wrong_dtype(&planned.target, parameter) {
            differences.dtypes.push(wrong);
            continue;
        }
        if fit(&mut planned, parameter, &sizes)? {
            cast(&mut planned, options.precision)?;
            written.push(planned);
        } else {
            let Parameter { name, shape: expected, .. } = parameter.clone();
            differences.mismatched.push(Mismatch { name, expected, found: planned.target.shape });
        }
    }
    let taken: HashMap<&str, &PlannedTensor> =
        written.iter().map(|planned| (planned.target.name.as_str(), planned)).collect();
    let mut seen: HashSet<String> = HashSet::new();
    for planned in left.unused() {
        let name = &planned.target.name;
        if let Some(twin) = taken.get(name.as_str()) {
            let source = |one: &PlannedTensor| one.sources.first().map(|source| source.name.clone());
            let sources = [twin, &planned].map(|one| source(one).unwrap_or_default());
            differences.doubled.push(Doubled { name: name.clone(), sources });
        } else if options.tower.has(name) {
            differences.unused.push(Unmatched::new(name, &planned.target.shape));
        } else {
            let rule = options.tower.rule();
            // A tensor that was split is dropped once.
            let sources = planned.sources.into_iter().filter(|tensor| seen.insert(tensor.name.clone()));
            dropped.extend(sources.map(|tensor| DroppedTensor { tensor, rule }));
        }
    }
    if !differences.is_empty() {
        return Err(PlanError::Differs(Box::new(differences.with_nearest())));
    }
    let plan = Plan { layout: layout.to_owned(), tensors: written, dropped };
    plan.check()?;
    Ok(plan)
}

/// The source tensor of a branch, which no step may change before it is folded.
fn untouched(planned: PlannedTensor) -> Result<TensorInfo, StepError> {
    match <[TensorInfo; 1]>::try_from(planned.sources) {
        Ok([tensor]) if planned.steps.is_empty() => Ok(tensor),
        _ => {
            let cause = "a branch that the layout changes cannot be folded".to_owned();
            Err(StepError { tensor: planned.target.name, cause })
        }
    }
}

/// Integers used as weights, and weights used as counters.
fn wrong_dtype(found: &TensorInfo, parameter: &Parameter) -> Option<WrongDtype> {
    let is_right = found.dtype.is_float() == parameter.dtype.is_float() && found.dtype != Dtype::Bool;
    let (name, expected, found) = (parameter.name.clone(), parameter.dtype, found.dtype);
    (!is_right).then_some(WrongDtype { name, expected, found })
}

/// Casts a floating-point tensor, or back to its stored dtype if a step has made it f32.
fn cast(planned: &mut PlannedTensor, precision: Option<Precision>) -> Result<(), StepError> {
    if !planned.target.dtype.is_float() {
        return Ok(());
    }
    let stored = match planned.steps.first() {
        // A sum of several dtypes has the dtype that holds all of them.
        Some(Step::Mix { to, .. }) => *to,
        _ => planned.sources.first().map_or(planned.target.dtype, |source| source.dtype),
    };
    let kept = if matches!(stored, Dtype::F16 | Dtype::BF16) { stored } else { planned.target.dtype };
    let wanted = precision.map_or(kept, Precision::dtype);
    if wanted == planned.target.dtype { Ok(()) } else { planned.then(Step::Cast { to: wanted }) }
}
