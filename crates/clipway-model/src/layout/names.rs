//! Name tables: a project's tensor names paired with open_clip's, for both directions.

use clipway_formats::TensorInfo;

use crate::plan::{Converted, DroppedTensor, PlannedTensor, Step, StepError};
use crate::state_dict::StateDict;

/// A model's names in another project, paired with open_clip's.
#[derive(Debug)]
pub(crate) struct NameTable {
    /// Tensors, by full name.
    pub(super) tensors: &'static [(&'static str, &'static str, Change)],
    /// Modules, whose tensors keep their leaf names.
    pub(super) modules: &'static [(&'static str, &'static str)],
    /// Modules that open_clip splits in two: `q` and `kv`.
    pub(super) poolers: &'static [(&'static str, [&'static str; 2])],
    /// Blocks of transformers.
    pub(super) blocks: &'static [Blocks],
    /// Endings of tensors that are not part of the model, with the rule that drops them.
    pub(super) leftovers: &'static [(&'static str, &'static str)],
}

/// A change made to a tensor along with its name. Each is its own inverse, but for what depends on the source's shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// No change.
    None,
    /// The other project has a linear layer where open_clip has a projection matrix.
    Transposed,
    /// The other project has no batch axis before the positions.
    Batched,
    /// A convolution over patches, which MLX stores with the channels last.
    Patches,
    /// The other project has a number without axes.
    Number,
    /// The other project has a number with one axis.
    OneNumber,
}

/// Blocks of a transformer, by index.
#[derive(Debug)]
pub(super) struct Blocks {
    /// What comes before the index in the other project.
    pub(super) theirs: &'static str,
    /// What comes before it in open_clip.
    pub(super) ours: &'static str,
    /// Modules of a block.
    pub(super) modules: &'static [(&'static str, &'static str)],
    /// Queries, keys and values in the other project.
    pub(super) projections: [&'static str; 3],
    /// The joined name in open_clip, before `weight` or `bias`.
    pub(super) fused: &'static str,
}

/// Tensors of a projection.
const KINDS: [&str; 2] = ["weight", "bias"];

impl NameTable {
    /// The tensors of a state dict under open_clip's names. Unknown names stay, to be reported as unused.
    pub(super) fn to_open_clip(&self, state_dict: &StateDict) -> Result<Converted, StepError> {
        let mut converted = Converted::default();
        for tensor in state_dict.tensors() {
            let leftover = self.leftovers.iter().find(|(end, _)| tensor.name.ends_with(end));
            if let Some((_, rule)) = leftover {
                converted.dropped.push(DroppedTensor { tensor: tensor.clone(), rule });
            } else if let Some(parts) = self.pooler_of(tensor)? {
                converted.tensors.extend(parts);
            } else if let Some(joined) = self.joined(tensor, state_dict)? {
                converted.tensors.extend(joined);
            } else {
                converted.tensors.push(self.renamed(tensor)?);
            }
        }
        Ok(converted)
    }

    fn renamed(&self, tensor: &TensorInfo) -> Result<PlannedTensor, StepError> {
        let mut planned = PlannedTensor::same(tensor);
        if let Some((_, ours, change)) = self.tensors.iter().find(|(theirs, ..)| *theirs == tensor.name) {
            planned.target.name = (*ours).to_owned();
            let shape = &tensor.shape;
            match change {
                Change::Transposed if shape.len() == 2 => planned.then(transpose())?,
                Change::Batched if shape.len() == 2 => {
                    let shape = [&[1], &shape[..]].concat();
                    planned.then(Step::Reshape { shape })?;
                }
                Change::Patches if has_channels_last(shape) => {
                    planned.then(Step::Transpose { axes: vec![0, 3, 1, 2] })?;
                }
                _ => {}
            }
            return Ok(planned);
        }
        let name = replaced(&tensor.name, self.modules.iter().copied()).or_else(|| {
            let (block, number, leaf) = self.block(&tensor.name, |block| block.theirs)?;
            let leaf = replaced(leaf, block.modules.iter().copied())?;
            Some(format!("{}{number}.{leaf}", block.ours))
        });
        planned.target.name = name.unwrap_or(planned.target.name);
        Ok(planned)
    }

    /// The block that contains a tensor, its index and the rest of the name.
    fn block<'n>(
        &self,
        name: &'n str,
        prefix: impl Fn(&Blocks) -> &'static str,
    ) -> Option<(&'static Blocks, &'n str, &'n str)> {
        self.blocks.iter().find_map(|block| {
            let (number, leaf) = name.strip_prefix(prefix(block))?.split_once('.')?;
            Some((block, number, leaf))
        })
    }

    /// Joins queries, keys and values of a block, at the position of the first in the file. `None` for any other
    /// tensor; nothing for the other two; an incomplete or mismatched set is left as it is.
    fn joined(
        &self,
        tensor: &TensorInfo,
        state_dict: &StateDict,
    ) -> Result<Option<Vec<PlannedTensor>>, StepError> {
        let Some((block, number, leaf)) = self.block(&tensor.name, |block| block.theirs) else {
            return Ok(None);
        };
        let kind = block.projections.iter().find_map(|projection| leaf.strip_prefix(projection));
        let Some(kind) = kind.filter(|kind| KINDS.contains(kind)) else { return Ok(None) };
        let names = block.projections.map(|module| format!("{}{number}.{module}{kind}", block.theirs));
        let target = format!("{}{number}.{}{kind}", block.ours, block.fused);
        join(tensor, state_dict, &names, target, 0)
    }

    /// The two tensors of a pooler: queries, and keys with values.
    fn pooler_of(&self, tensor: &TensorInfo) -> Result<Option<[PlannedTensor; 2]>, StepError> {
        let found = self.poolers.iter().find_map(|(theirs, ours)| {
            let kind = tensor.name.strip_prefix(theirs).filter(|kind| KINDS.contains(kind))?;
            let rows = tensor.shape.first().copied().filter(|rows| *rows > 0 && rows.is_multiple_of(3))?;
            Some((ours, kind, rows))
        });
        let Some((ours, kind, rows)) = found else { return Ok(None) };
        let part = |name: &str, start: usize, end: usize| {
            let mut part = PlannedTensor::same(tensor);
            part.target.name = format!("{name}{kind}");
            part.then(Step::Slice { axis: 0, start, end })?;
            Ok(part)
        };
        Ok(Some([part(ours[0], 0, rows / 3)?, part(ours[1], rows / 3, rows)?]))
    }

    /// A model's tensors under the other project's names.
    ///
    /// # Errors
    /// A tensor without a name in the other project, or with a shape that differs from the table's.
    pub(crate) fn spelled_from(&self, tensors: &[PlannedTensor]) -> Result<Vec<PlannedTensor>, StepError> {
        let mut written = Vec::new();
        for planned in tensors {
            let name = planned.target.name.as_str();
            let pooler = self.poolers.iter().find_map(|(theirs, [queries, others])| {
                let others = (*others, name.strip_prefix(queries));
                Some((*theirs, others.0, others.1.filter(|kind| KINDS.contains(kind))?))
            });
            let is_second = self
                .poolers
                .iter()
                .any(|(_, [_, others])| name.strip_prefix(others).is_some_and(|kind| KINDS.contains(&kind)));
            if let Some((theirs, others, kind)) = pooler {
                let others = format!("{others}{kind}");
                let others = tensors.iter().find(|planned| planned.target.name == others);
                written.push(whole(planned, others, format!("{theirs}{kind}"))?);
            } else if is_second {
                // It is written together with the queries.
            } else if let Some(names) = self.split_names(name) {
                written.extend(planned.split(&names)?);
            } else {
                written.push(self.renamed_back(planned)?);
            }
        }
        Ok(written)
    }

    fn renamed_back(&self, planned: &PlannedTensor) -> Result<PlannedTensor, StepError> {
        let mut planned = planned.clone();
        let name = planned.target.name.clone();
        if let Some((theirs, _, change)) = self.tensors.iter().find(|(_, ours, _)| *ours == name) {
            planned.target.name = (*theirs).to_owned();
            let shape = planned.target.shape.clone();
            match change {
                Change::Transposed => planned.then(transpose())?,
                Change::Batched => planned.then(Step::Reshape { shape: shape[1..].to_vec() })?,
                Change::Number if !shape.is_empty() => planned.then(Step::Reshape { shape: Vec::new() })?,
                Change::OneNumber if shape.is_empty() => planned.then(Step::Reshape { shape: vec![1] })?,
                Change::None | Change::Patches | Change::Number | Change::OneNumber => {}
            }
            return Ok(planned);
        }
        let back = |(theirs, ours): &(&'static str, &'static str)| (*ours, *theirs);
        let found = replaced(&name, self.modules.iter().map(back)).or_else(|| {
            let (block, number, leaf) = self.block(&name, |block| block.ours)?;
            let leaf = replaced(leaf, block.modules.iter().map(back))?;
            Some(format!("{}{number}.{leaf}", block.theirs))
        });
        planned.target.name = found.ok_or_else(|| StepError {
            tensor: name,
            cause: "it has no name in the other project".to_owned(),
        })?;
        Ok(planned)
    }

    /// The other project's names of queries, keys and values, for the one joined tensor of open_clip.
    fn split_names(&self, name: &str) -> Option<[String; 3]> {
        let (block, number, leaf) = self.block(name, |block| block.ours)?;
        let kind = leaf.strip_prefix(block.fused).filter(|kind| KINDS.contains(kind))?;
        Some(block.projections.map(|module| format!("{}{number}.{module}{kind}", block.theirs)))
    }
}

/// Joins several tensors of a state dict under another name, at the position of the first in the file. The other
/// positions become empty; `None` if the tensors are incomplete or do not match.
pub(super) fn join(
    tensor: &TensorInfo,
    state_dict: &StateDict,
    names: &[String],
    target: String,
    axis: usize,
) -> Result<Option<Vec<PlannedTensor>>, StepError> {
    let sources: Vec<TensorInfo> = names.iter().filter_map(|name| state_dict.get(name).cloned()).collect();
    let alike = sources.iter().all(|one| one.shape == tensor.shape && one.dtype == tensor.dtype);
    if sources.len() != names.len() || !alike || axis >= tensor.shape.len() {
        return Ok(None);
    }
    let first = names.iter().filter_map(|name| state_dict.find(name)).min();
    if first != state_dict.find(&tensor.name) {
        return Ok(Some(Vec::new()));
    }
    let target = TensorInfo { name: target, ..tensor.clone() };
    let mut planned = PlannedTensor { target, sources, steps: Vec::new() };
    planned.then(Step::Concatenate { axis })?;
    Ok(Some(vec![planned]))
}

/// Whether a convolution over patches is `[width, height, width, channels]`, as MLX has it. One over patches of 3 pixels is
/// taken as PyTorch's.
pub(super) fn has_channels_last(shape: &[usize]) -> bool {
    matches!(shape, [_, height, width, 3] if *height == *width && *height != 3)
}

pub(super) fn transpose() -> Step {
    Step::Transpose { axes: vec![1, 0] }
}

/// Replaces the beginning of a name if it is one of these.
fn replaced<'t>(name: &str, pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Option<String> {
    let mut pairs = pairs;
    pairs.find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}

/// Joins queries with keys and values: returns what both were sliced from, or a concatenation.
fn whole(
    queries: &PlannedTensor,
    others: Option<&PlannedTensor>,
    name: String,
) -> Result<PlannedTensor, StepError> {
    let refuse = |cause: &str| Err(StepError { tensor: name.clone(), cause: cause.to_owned() });
    let Some(others) = others else { return refuse("keys and values are missing") };
    let cast = |planned: &PlannedTensor| match planned.steps.last() {
        Some(cast @ Step::Cast { .. }) => Some(cast.clone()),
        _ => None,
    };
    let without_cast = |planned: &PlannedTensor| {
        let steps = planned.steps.len() - usize::from(cast(planned).is_some());
        planned.steps[..steps].to_vec()
    };
    let mut made = match (&without_cast(queries)[..], &without_cast(others)[..]) {
        ([], []) => {
            let sources = [&queries.sources[..], &others.sources[..]].concat();
            let target = TensorInfo { name: name.clone(), ..queries.target.clone() };
            let mut made = PlannedTensor { target, sources, steps: Vec::new() };
            made.then(Step::Concatenate { axis: 0 })?;
            made
        }
        ([Step::Slice { axis: 0, start: 0, end }], [Step::Slice { axis: 0, start, end: last }])
            if end == start
                && queries.sources == others.sources
                && queries.sources[0].shape.first() == Some(last) =>
        {
            let mut made = PlannedTensor::same(&queries.sources[0]);
            made.target.name.clone_from(&name);
            made
        }
        _ => return refuse("its steps cannot be joined; export to open_clip's format first"),
    };
    if let Some(cast) = cast(queries) {
        made.then(cast)?;
    }
    Ok(made)
}
