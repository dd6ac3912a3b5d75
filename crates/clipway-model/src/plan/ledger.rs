//! The ledger: where every tensor of the source went.

use std::collections::{HashMap, HashSet};
use std::fmt;

use clipway_formats::{TensorInfo, shown};
use serde::{Deserialize, Serialize};

use super::{Plan, PlannedTensor, Step};
use crate::state_dict::Weights;

/// What became of tensors of the source, and where those come from that have none there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Their bytes are written as they are.
    Written,
    /// Their values are written after the steps that the rule names.
    Consumed,
    /// They are not written.
    Dropped,
    /// They are written, and the source has nothing of them.
    Made,
}

/// Tensors of the source that have a fate and a rule in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerGroup {
    /// What became of them.
    pub fate: Fate,
    /// By which steps or rule.
    pub rule: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Their bytes in the source, or of what is made.
    pub bytes: u64,
}

/// The account of an export: it can only be made if it balances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Tensors in the source.
    pub source_tensors: usize,
    /// Their bytes.
    pub source_bytes: u64,
    /// Tensors that are written.
    pub written_tensors: usize,
    /// Their bytes.
    pub written_bytes: u64,
    /// Every tensor of the source, by what became of it; then those that were made.
    pub groups: Vec<LedgerGroup>,
}

/// Tensors of the source that went nowhere, or two ways: a mistake in a layout's plan.
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
    /// Accounts for every tensor of the source file: `all`, of which `weights` are the model's, which `plan` uses.
    ///
    /// # Errors
    /// Tensors that have no fate, or two.
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
                    // A tensor that is split among several targets is accounted for once.
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

/// What is done with a tensor, in few words.
fn steps_of(planned: &PlannedTensor) -> String {
    let rename = planned.is_renamed().then_some("rename");
    let steps: Vec<&str> = rename.into_iter().chain(planned.steps.iter().map(Step::name)).collect();
    if steps.is_empty() { "as they are".to_owned() } else { steps.join(", ") }
}

/// Sums by fate and rule, in the order in which they first come.
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

/// One line a group, then the sums.
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
