//! Models made of others: weighted sums of several sources, and towers of two sources put together.
//!
//! The result is a [`Checkpoint`] with the tensors of every source, under open_clip's names and after the source's own
//! plan, as `1/visual.proj` and `2/visual.proj`. How they become one model is stated by steps of the plan,
//! so such a model is inspected, exported and verified like any other.

mod error;
mod file;
mod pair;
mod unlike;

pub use error::MixError;
pub use pair::{ScaleFrom, pair};

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use clipway_formats::TensorInfo;

use crate::artifact::Part;
use crate::checkpoint::Checkpoint;
use crate::contract::Contract;
use crate::license::Stated;
use crate::plan::{Converted, DroppedTensor, PlannedTensor, Step};
use crate::source::{Composed, Source};
use file::{PartsFile, name_in};

/// Several sources as one: what [`Source::of`] resolves, with [`Composed`] among its options.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The tensors of all sources.
    pub checkpoint: Arc<Checkpoint>,
    /// How they become one model.
    pub composed: Arc<Composed>,
}

impl Mixed {
    fn of(base: &Checkpoint, sources: Vec<Source>, composed: Composed) -> Mixed {
        let file = PartsFile::new(sources);
        let files = file.files();
        let checkpoint = Checkpoint::composed(base, Arc::new(file), files);
        Mixed { checkpoint: Arc::new(checkpoint), composed: Arc::new(composed) }
    }
}

/// How far the shares of a mix may be from adding up to 1: decimal shares such as 0.333333 thrice are near enough.
const SHARE_TOLERANCE: f64 = 1e-5;

/// Rule for integers of other sources than the first.
const COUNTERS: &str = "training counters are the first source's";

/// The weighted sum of several sources, such as WiSE-FT (<https://arxiv.org/abs/2109.01903>) and model soups
/// (<https://arxiv.org/abs/2203.05482>). Every element is `Σ share · value`, added in f64 in the order of the sources and
/// rounded once. Everything else, such as the tokenizer's files, is the first source's.
///
/// # Errors
/// Fewer than two sources, shares that do not add up to 1, and sources that differ in anything but the values of their
/// weights: all differences at once.
///
/// # Panics
/// If there are not as many shares as sources.
pub fn mix(sources: Vec<Source>, shares: &[f64]) -> Result<Mixed, MixError> {
    assert_eq!(sources.len(), shares.len(), "a share for each source");
    if sources.len() < 2 {
        return Err(MixError::TooFew);
    }
    check_shares(shares)?;
    let (first, others) = sources.split_first().expect("there are two");
    let mut differences = Vec::new();
    for (index, other) in others.iter().enumerate() {
        differences.extend(unlike::differences([(1, first), (index + 2, other)]));
    }
    if !differences.is_empty() {
        return Err(MixError::Unlike(differences));
    }
    let places: Vec<_> = sources.iter().map(file::places).collect();
    let mut converted = Converted::default();
    for planned in &first.plan().tensors {
        let name = &planned.target.name;
        let all = places.iter().enumerate().map(|(part, places)| {
            let found = &sources[part].plan().tensors[places[name.as_str()]].target;
            TensorInfo { name: name_in(part, name), ..found.clone() }
        });
        let mut all: Vec<TensorInfo> = all.collect();
        if !planned.target.dtype.is_float() {
            let rest = all.split_off(1);
            converted.dropped.extend(rest.into_iter().map(|tensor| DroppedTensor { tensor, rule: COUNTERS }));
            converted.tensors.push(renamed(&all[0], name));
            continue;
        }
        let to = widest(&all);
        let target = TensorInfo { name: name.clone(), ..all[0].clone() };
        let mut mixed = PlannedTensor { target, sources: all, steps: Vec::new() };
        let step = Step::Mix { shares: shares.to_vec(), to };
        mixed.then(step).map_err(|cause| MixError::Step(cause.to_string()))?;
        converted.tensors.push(mixed);
    }
    let mut contract = first.contract().clone();
    let mut notes = first.notes().to_vec();
    notes.extend(settle_license(&mut contract, sources.iter()));
    notes.extend(unused(&sources));
    let described: Vec<String> = sources
        .iter()
        .zip(shares)
        .enumerate()
        .map(|(part, (source, share))| format!("{share} of {} (`{}`)", part + 1, source.shown_name()))
        .collect();
    notes.push(format!("the weights are a sum, in f64 and rounded once: {}", described.join(", ")));
    let part = |(source, &share): (&Source, &f64)| Part {
        name: source.shown_name(),
        share: Some(share),
        tower: None,
    };
    let parts = sources.iter().zip(shares).map(part).collect();
    let composed = composed(first, converted, contract, notes, parts);
    let base = Arc::clone(first.checkpoint());
    Ok(Mixed::of(&base, sources, composed))
}

/// A model with the config of `base`.
fn composed(
    base: &Source,
    converted: Converted,
    contract: Contract,
    notes: Vec<String>,
    parts: Vec<Part>,
) -> Composed {
    Composed {
        converted,
        config: base.config().clone(),
        origin: base.origin().clone(),
        layout: base.layout(),
        contract,
        text_model_file: base.text_model_file().map(<[u8]>::to_vec),
        notes,
        parts,
    }
}

/// Refuses shares that are no weights of a mean.
fn check_shares(shares: &[f64]) -> Result<(), MixError> {
    if let Some(share) = shares.iter().find(|share| !share.is_finite() || **share == 0.0) {
        return Err(MixError::Share(*share));
    }
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() > SHARE_TOLERANCE { Err(MixError::Sum(sum)) } else { Ok(()) }
}

/// The dtype that holds every source's values: the common one, else f32.
fn widest(all: &[TensorInfo]) -> clipway_formats::Dtype {
    let dtypes: HashSet<&str> = all.iter().map(|info| info.dtype.name()).collect();
    match (dtypes.len(), all[0].dtype) {
        (1, dtype @ (clipway_formats::Dtype::F16 | clipway_formats::Dtype::BF16)) => dtype,
        _ => clipway_formats::Dtype::F32,
    }
}

/// A tensor that is only renamed.
fn renamed(tensor: &TensorInfo, name: &str) -> PlannedTensor {
    let mut planned = PlannedTensor::same(tensor);
    name.clone_into(&mut planned.target.name);
    planned
}

/// Keeps the license on which all sources agree; returns a note if they do not.
fn settle_license<'a>(contract: &mut Contract, sources: impl Iterator<Item = &'a Source>) -> Option<String> {
    let licenses: BTreeSet<Option<String>> =
        sources.map(|source| source.licenses().chosen().map(Stated::name)).collect();
    if licenses.len() < 2 {
        return None;
    }
    let named =
        |license: &Option<String>| license.as_ref().map_or("none".to_owned(), |name| format!("`{name}`"));
    let named = licenses.iter().map(named).collect::<Vec<_>>().join(", ");
    contract.license = None;
    contract.license_terms = None;
    Some(format!("the sources state different licenses ({named}), so none is recorded"))
}

/// What each source has besides the model, which its own ledger accounts for.
fn unused(sources: &[Source]) -> Vec<String> {
    let note = |(index, source): (usize, &Source)| {
        let groups: Vec<_> = source.ledger().dropped().collect();
        let tensors: usize = groups.iter().map(|group| group.tensors).sum();
        let rules: Vec<&str> = groups.iter().map(|group| group.rule.as_str()).collect();
        let (number, name, rules) = (index + 1, source.shown_name(), rules.join(", "));
        (tensors > 0)
            .then(|| format!("source {number} (`{name}`) has {tensors} tensors that are not used: {rules}"))
    };
    sources.iter().enumerate().filter_map(note).collect()
}
