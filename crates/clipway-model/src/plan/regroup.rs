//! Joins or splits queries, keys and values of an attention, as the model requires.

use std::collections::{HashMap, HashSet};

use super::{PlannedTensor, Step, StepError};
use crate::graph::Parameter;

/// Ending of a tensor that holds all three, before `weight` or `bias`.
pub(crate) const FUSED: [&str; 2] = ["attn.in_proj_", "attn.qkv."];

/// Endings of tensors that hold one of the three.
pub(crate) const SPLIT: [&str; 3] = ["attn.q_proj.", "attn.k_proj.", "attn.v_proj."];

/// The source tensors that are still unused.
pub(super) struct Left {
    pub(super) tensors: Vec<Option<PlannedTensor>>,
    /// Index of each name.
    places: HashMap<String, usize>,
    /// Tensors of which some parts are used.
    parted: HashSet<usize>,
}

impl Left {
    pub(super) fn new(tensors: Vec<PlannedTensor>, places: HashMap<String, usize>) -> Left {
        Left { tensors: tensors.into_iter().map(Some).collect(), places, parted: HashSet::new() }
    }

    /// Takes the sources of a parameter: the tensor with its name, or the split or joined tensors that hold it.
    pub(super) fn take(&mut self, parameter: &Parameter) -> Result<Option<PlannedTensor>, StepError> {
        if let Some(planned) = self.places.get(&parameter.name).and_then(|&place| self.tensors[place].take())
        {
            return Ok(Some(planned));
        }
        if let Some(joined) = self.joined(parameter) {
            return joined.map(Some);
        }
        self.part(parameter).transpose()
    }

    /// The tensors that are still unused.
    pub(super) fn unused(self) -> impl Iterator<Item = PlannedTensor> {
        let parted = self.parted;
        let left = self.tensors.into_iter().enumerate();
        left.filter(move |(place, _)| !parted.contains(place)).filter_map(|(_, planned)| planned)
    }

    /// Joins three tensors.
    fn joined(&mut self, parameter: &Parameter) -> Option<Result<PlannedTensor, StepError>> {
        let (stem, kind) = attention_part(&parameter.name, &FUSED)?;
        let places: Vec<usize> = SPLIT
            .iter()
            .filter_map(|part| self.places.get(&format!("{stem}{part}{kind}")).copied())
            .collect();
        let there = |place: &usize| self.tensors[*place].as_ref();
        let parts: Vec<PlannedTensor> = places.iter().filter_map(there).cloned().collect();
        let alike = parts.iter().all(|part| {
            part.steps.is_empty()
                && part.target.shape == parts[0].target.shape
                && part.target.dtype == parts[0].target.dtype
                && !part.target.shape.is_empty()
        });
        if parts.len() != SPLIT.len() || !alike {
            return None;
        }
        places.iter().for_each(|&place| self.tensors[place] = None);
        let mut target = parts[0].target.clone();
        target.name.clone_from(&parameter.name);
        let sources = parts.into_iter().flat_map(|part| part.sources).collect();
        let mut planned = PlannedTensor { target, sources, steps: Vec::new() };
        Some(planned.then(Step::Concatenate { axis: 0 }).map(|()| planned))
    }

    /// Takes a third of a tensor.
    fn part(&mut self, parameter: &Parameter) -> Option<Result<PlannedTensor, StepError>> {
        let (stem, kind) = attention_part(&parameter.name, &SPLIT)?;
        let index = SPLIT.iter().position(|part| parameter.name == format!("{stem}{part}{kind}"))?;
        let place =
            FUSED.iter().find_map(|fused| self.places.get(&format!("{stem}{fused}{kind}")).copied())?;
        let whole = self.tensors[place].as_ref()?;
        let rows = whole.target.shape.first().copied().filter(|rows| rows.is_multiple_of(3))? / 3;
        let mut planned = whole.clone();
        planned.target.name.clone_from(&parameter.name);
        self.parted.insert(place);
        let step = Step::Slice { axis: 0, start: index * rows, end: (index + 1) * rows };
        Some(planned.then(step).map(|()| planned))
    }
}

/// What comes before one of these endings, and the `weight` or `bias` after it.
pub(crate) fn attention_part<'n>(name: &'n str, endings: &[&str]) -> Option<(&'n str, &'n str)> {
    let (rest, kind) = ["weight", "bias"]
        .into_iter()
        .find_map(|kind| Some((name.strip_suffix(kind)?, &name[name.len() - kind.len()..])))?;
    endings.iter().find_map(|ending| rest.strip_suffix(ending)).map(|stem| (stem, kind))
}
