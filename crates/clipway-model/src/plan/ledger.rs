//! The ledger: where every tensor of the source went.

use std::collections::{HashMap, HashSet};
use std::fmt;

use clipway_formats::{TensorInfo, shown};
use serde::{Deserialize, Serialize};

use super::{Plan, PlannedTensor, Step};
use crate::state_dict::Weights;

/// What happened to a source tensor, or how a tensor without a source was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Written unchanged.
    Written,
    /// Written after the steps named by the rule.
    Consumed,
    /// Not written.
    Dropped,
    /// Written, with nothing from the source.
    Made,
}

/// Source tensors that share a fate and a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerGroup {
    /// What happened to them.
    pub fate: Fate,
    /// The steps or the rule.
    pub rule: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Their bytes in the source, or of the made tensors.
    pub bytes: u64,
}

/// The account of an export. It can only be created if it balances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Number of source tensors.
    pub source_tensors: usize,
    /// Their size in bytes.
    pub source_bytes: u64,
    /// Number of written tensors.
    pub written_tensors: usize,
    /// Their size in bytes.
    pub written_bytes: u64,
    /// Every source tensor, grouped by fate; then the made ones.
    pub groups: Vec<LedgerGroup>,
}

/// Source tensors that are unaccounted for or accounted for twice: a bug in a layout's plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not balance: unaccounted {}; accounted twice {}", list(unaccounted), list(twice))]
pub struct Imbalance {
    /// Tensors that are neither written, consumed nor dropped.
    pub unaccounted: Vec<String>,
    /// Tensors that are both used and dropped, or dropped twice.
    pub twice: Vec<String>,
}

fn list(names: &[String]) -> String {
    const MOST: usize = 5;
    let quoted: Vec<String> = names.iter().take(MOST).map(|name| format!("`{}`", shown(name))).collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > MOST => format!("{} and {} more", quoted.join(", "), count - MOST),
        _ => quoted.join(", "),
    }
}

impl Ledger {
    /// Accounts for every tensor of the source file: `all` tensors, of which `weights` are the model's, used by `plan`.
    ///
    /// # Errors
    /// Tensors with no fate or two.
    pub fn balance(all: &[TensorInfo], weights: &Weights, plan: &Plan) -> Result<Ledger, Imbalance> {
        let mut fates: Vec<Option<(Fate, String)>> = vec![None; all.len()];
        let mut twice = Vec::new();
        let mut used = HashSet::new();
        let mut set = |index: usize, fate: Fate, rule: &str| {
            if fates[index].replace((fate, rule.to_owned())).is_some() {
                twice.push(all[index].name.clone());
            }
        };
        let state_dict = &weights.state_dict;
        let stored = |name: &str| state_dict.find(name).map(|index| state_dict.stored_index(index));
        let mut strangers = Vec::new();
        for planned in &plan.tensors {
            let fate = if planned.steps.is_empty() { Fate::Written } else { Fate::Consumed };
            let rule = steps_of(planned);
            for source in &planned.sources {
                match stored(&source.name) {
                    // A tensor that is split among several targets counts once.
                    Some(index) if used.insert(index) => set(index, fate, &rule),
                    Some(_) => {}
                    None => strangers.push(source.name.clone()),
                }
            }
        }
        for dropped in &plan.dropped {
            match stored(&dropped.tensor.name) {
                Some(index) => set(index, Fate::Dropped, dropped.rule),
                None => strangers.push(dropped.tensor.name.clone()),
            }
        }
        for part in &weights.left_out {
            part.tensors.iter().for_each(|&index| set(index, Fate::Dropped, part.kind.name()));
        }
        let unaccounted = fates.iter().zip(all).filter(|(fate, _)| fate.is_none());
        let mut unaccounted: Vec<String> = unaccounted.map(|(_, tensor)| tensor.name.clone()).collect();
        unaccounted.append(&mut strangers);
        if !(unaccounted.is_empty() && twice.is_empty()) {
            return Err(Imbalance { unaccounted, twice });
        }
        let made = plan.tensors.iter().filter(|planned| planned.sources.is_empty());
        let made = made.map(|planned| ((Fate::Made, steps_of(planned)), &planned.target));
        Ok(Ledger {
            source_tensors: all.len(),
            source_bytes: all.iter().map(|tensor| tensor.bytes() as u64).sum(),
            written_tensors: plan.tensors.len(),
            written_bytes: plan.bytes(),
            groups: grouped(fates.into_iter().flatten().zip(all).chain(made)),
        })
    }

    /// Tensors that are not written.
    pub fn dropped(&self) -> impl Iterator<Item = &LedgerGroup> {
        self.groups.iter().filter(|group| group.fate == Fate::Dropped)
    }
}

/// A short description of a tensor's steps.
fn steps_of(planned: &PlannedTensor) -> String {
    let rename = planned.is_renamed().then_some("rename");
    let steps: Vec<&str> = rename.into_iter().chain(planned.steps.iter().map(Step::name)).collect();
    if steps.is_empty() { "unchanged".to_owned() } else { steps.join(", ") }
}

/// Totals by fate and rule, in order of first occurrence.
fn grouped<'a>(fates: impl Iterator<Item = ((Fate, String), &'a TensorInfo)>) -> Vec<LedgerGroup> {
    let mut groups: Vec<LedgerGroup> = Vec::new();
    let mut places: HashMap<(u8, String), usize> = HashMap::new();
    for ((fate, rule), tensor) in fates {
        let place = *places.entry((fate as u8, rule.clone())).or_insert_with(|| {
            groups.push(LedgerGroup { fate, rule, tensors: 0, bytes: 0 });
            groups.len() - 1
        });
        groups[place].tensors += 1;
        groups[place].bytes += tensor.bytes() as u64;
    }
    groups.sort_by_key(|group| group.fate as u8);
    groups
}

/// One line per group, then the totals.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for LedgerGroup { fate, rule, tensors, bytes } in &self.groups {
            let fate = match fate {
                Fate::Written => "written",
                Fate::Consumed => "changed",
                Fate::Dropped => "dropped",
                Fate::Made => "made",
            };
            writeln!(f, "{fate:8} {tensors:6} tensors {bytes:14} bytes  {rule}")?;
        }
        writeln!(f, "{:8} {:6} tensors {:14} bytes", "in", self.source_tensors, self.source_bytes)?;
        writeln!(f, "{:8} {:6} tensors {:14} bytes", "out", self.written_tensors, self.written_bytes)
    }
}
