//! How a checkpoint's tensors become an artifact's, as data.
//!
//! A [`Plan`] states for every written tensor its sources and steps, and for every other one the rule that drops it. It
//! is made from names, dtypes and shapes alone, so it can be printed, stored and tested without weights;
//! [`Plan::check`] follows the shapes through all steps.

mod converted;
mod precision;
mod towers;
mod text_tower;
mod apply;
mod build;
mod fit;
mod fold;
mod ledger;
mod mix;
mod int8;
mod int4;
mod quantize;
mod rounding;
mod regroup;
mod resample;
mod step;
mod take;

pub use apply::{Applied, ApplyError, apply, apply_all, apply_together};
pub use build::PlanError;
pub(crate) use build::{PlanOptions, build_plan};
pub(crate) use converted::Converted;
pub(crate) use fit::is_patch_embedding;
pub use fold::{FoldAddend, FoldNorm, FoldPart};
pub use int4::Int4Row;
pub use int8::quantize_row;
pub use ledger::{Fate, Imbalance, Ledger, LedgerGroup};
pub use precision::Precision;
pub use quantize::{GROUP_SCALE_SUFFIX, Integers, SCALE_SUFFIX, check_int8_row, rounded_together};
pub(crate) use regroup::{FUSED, SPLIT, attention_part};
pub use resample::{resample_distances, resample_grid};
pub use rounding::PartSink;
pub use step::{Step, StepError};
pub(crate) use text_tower::ROOT_PARTS;
pub use towers::Towers;
pub(crate) use towers::is_shared;

use std::fmt;

use clipway_formats::{Dtype, TensorInfo};
use serde::{Serialize, Serializer};

/// How the tensors of a state dict become others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the source's layout.
    pub layout: String,
    /// The tensors to write, in order.
    pub tensors: Vec<PlannedTensor>,
    /// The tensors not written.
    pub dropped: Vec<DroppedTensor>,
}

/// A tensor to write, and its sources.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedTensor {
    /// Its name, dtype and shape.
    pub target: TensorInfo,
    /// Its sources; several if the first step joins them, none if it fills.
    pub sources: Vec<TensorInfo>,
    /// The steps, in order. Without steps, the bytes are copied under the target's name.
    pub steps: Vec<Step>,
}

/// A tensor that is not written.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTensor {
    /// The tensor.
    pub tensor: TensorInfo,
    /// Name of the rule that drops it.
    pub rule: &'static str,
}

impl PlannedTensor {
    /// A tensor that is written unchanged.
    pub fn same(tensor: &TensorInfo) -> PlannedTensor {
        PlannedTensor { target: tensor.clone(), sources: vec![tensor.clone()], steps: Vec::new() }
    }

    /// A tensor filled with one number, without a source.
    ///
    /// # Errors
    /// A dtype that cannot be filled.
    pub fn filled(
        name: String,
        value: i64,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<PlannedTensor, StepError> {
        let target = TensorInfo { name, dtype, shape: shape.to_vec() };
        let mut planned = PlannedTensor { target, sources: Vec::new(), steps: Vec::new() };
        planned.then(Step::Fill { value, dtype, shape: shape.to_vec() })?;
        Ok(planned)
    }

    /// A projection that changes nothing, from no source.
    ///
    /// # Errors
    /// A dtype that is not floating-point.
    pub(crate) fn identity(name: &str, dtype: Dtype, size: usize) -> Result<PlannedTensor, StepError> {
        let target = TensorInfo { name: name.to_owned(), dtype, shape: vec![size; 2] };
        let mut planned = PlannedTensor { target, sources: Vec::new(), steps: Vec::new() };
        planned.then(Step::Identity { dtype, size })?;
        Ok(planned)
    }

    /// Whether the name changes; folded tensors, sums and scales have names of their own.
    pub fn is_renamed(&self) -> bool {
        let is_named_anew =
            matches!(
                self.steps.first(),
                Some(Step::Fold { .. } | Step::Dequantize { .. } | Step::Mix { .. })
            ) || matches!(self.steps.last(), Some(Step::GroupScales | Step::RowScales { .. }));
        !is_named_anew && self.sources.iter().any(|source| source.name != self.target.name)
    }

    /// Adds a step, and updates the target's dtype and shape.
    ///
    /// # Errors
    /// A step that does not match the shape.
    pub fn then(&mut self, step: Step) -> Result<(), StepError> {
        let inputs = if self.steps.is_empty() { self.sources.clone() } else { vec![self.target.clone()] };
        let (dtype, shape) = step.result(&inputs)?;
        self.target = TensorInfo { name: std::mem::take(&mut self.target.name), dtype, shape };
        match (&step, self.steps.last()) {
            // A sum is rounded once.
            (Step::Cast { to }, Some(Step::Mix { shares, .. })) => {
                let mixed = Step::Mix { shares: shares.clone(), to: *to };
                *self.steps.last_mut().expect("there is a last step") = mixed;
            }
            // Transposing twice changes nothing.
            (Step::Transpose { axes }, Some(Step::Transpose { axes: before }))
                if axes.iter().map(|&axis| before[axis]).eq(0..axes.len()) =>
            {
                self.steps.pop();
            }
            _ => self.steps.push(step),
        }
        Ok(())
    }

    /// The tensor after its first steps.
    ///
    /// # Errors
    /// Steps that do not match each other.
    pub(super) fn up_to(&self, count: usize) -> Result<PlannedTensor, StepError> {
        let mut made = PlannedTensor { steps: Vec::new(), ..self.clone() };
        if let [source] = &self.sources[..] {
            made.target = TensorInfo { name: self.target.name.clone(), ..source.clone() };
        }
        for step in &self.steps[..count] {
            made.then(step.clone())?;
        }
        Ok(made)
    }

    /// Splits the tensor into equal parts along the first axis, with these names: slices, or the sources themselves if
    /// joining them is the only step.
    ///
    /// # Errors
    /// A first axis that cannot be split so.
    pub fn split(&self, names: &[String]) -> Result<Vec<PlannedTensor>, StepError> {
        let rows = self.target.shape.first().map_or(0, |rows| rows / names.len().max(1));
        let is_joined = self.steps == [Step::Concatenate { axis: 0 }]
            && self.sources.len() == names.len()
            && self.sources.iter().all(|source| source.shape.first() == Some(&rows));
        let part = |(index, name): (usize, &String)| {
            if is_joined {
                let mut part = PlannedTensor::same(&self.sources[index]);
                part.target.name.clone_from(name);
                return Ok(part);
            }
            let mut part = self.clone();
            part.target.name.clone_from(name);
            part.then(Step::Slice { axis: 0, start: index * rows, end: (index + 1) * rows })?;
            Ok(part)
        };
        names.iter().enumerate().map(part).collect()
    }
}

impl Plan {
    /// Follows the shapes through every step.
    ///
    /// # Errors
    /// The first tensor whose steps do not match each other or do not end at its dtype and shape.
    pub fn check(&self) -> Result<(), StepError> {
        for planned in &self.tensors {
            let again = planned.up_to(planned.steps.len())?;
            if again.target != planned.target {
                return Err(StepError {
                    tensor: planned.target.name.clone(),
                    cause: format!(
                        "the steps end at {} {:?}, not at {} {:?}",
                        again.target.dtype, again.target.shape, planned.target.dtype, planned.target.shape
                    ),
                });
            }
        }
        Ok(())
    }

    /// Bytes of all written tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|planned| planned.target.bytes() as u64).sum()
    }
}

/// One line per tensor: what is written from what, and which rule drops what.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlannedTensor { target, sources, steps } in &self.tensors {
            write!(f, "{}  {} {:?}", target.name, target.dtype, target.shape)?;
            if !sources.is_empty() && (sources.len() != 1 || sources[0].name != target.name) {
                let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
                write!(f, "  <- {}", names.join(" + "))?;
            }
            for step in steps {
                write!(f, "  {step}")?;
            }
            writeln!(f)?;
        }
        for DroppedTensor { tensor, rule } in &self.dropped {
            writeln!(f, "{}  {} {:?}  dropped: {rule}", tensor.name, tensor.dtype, tensor.shape)?;
        }
        Ok(())
    }
}

/// Name, dtype and shape of a tensor in JSON.
#[derive(Serialize)]
struct TensorRecord<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [usize],
}

impl<'a> TensorRecord<'a> {
    fn of(info: &'a TensorInfo) -> TensorRecord<'a> {
        TensorRecord { name: &info.name, dtype: info.dtype.name(), shape: &info.shape }
    }
}

impl Serialize for PlannedTensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'a> {
            #[serde(flatten)]
            target: TensorRecord<'a>,
            sources: Vec<TensorRecord<'a>>,
            steps: &'a [Step],
        }
        let sources = self.sources.iter().map(TensorRecord::of).collect();
        Record { target: TensorRecord::of(&self.target), sources, steps: &self.steps }.serialize(serializer)
    }
}

impl Serialize for DroppedTensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'a> {
            #[serde(flatten)]
            tensor: TensorRecord<'a>,
            rule: &'a str,
        }
        Record { tensor: TensorRecord::of(&self.tensor), rule: self.rule }.serialize(serializer)
    }
}

/// Serializes a dtype by its name.
fn dtype_name<S: Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}
