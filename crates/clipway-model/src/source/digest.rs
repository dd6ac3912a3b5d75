//! What a tower computes, as one digest: its operations and its weights, whatever file holds them.

use clipway_formats::{FormatError, TensorInfo};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Source, SourceError};
use crate::artifact::hex;
use crate::plan::{PlannedTensor, Towers, apply_all, is_shared};

impl Source {
    /// SHA-256 of a tower: its graph, and the floating-point tensors by open_clip's names as the plan makes them. Formats,
    /// shards and other libraries' names do not change it; another dtype does. The logit scale and bias are of no tower.
    ///
    /// Tensors that a `clipway.json` lists and the plan does not change are not read: its hashes are used.
    ///
    /// # Errors
    /// Weights that cannot be read.
    ///
    /// # Panics
    /// If `tower` is not one tower.
    pub fn tower_digest(&self, tower: Towers) -> Result<String, SourceError> {
        let graph = match tower {
            Towers::Image => &self.model.image,
            Towers::Text => &self.model.text,
            Towers::Both => panic!("a digest is of one tower"),
        };
        let is_of_tower = |name: &str| tower.has(name) && !is_shared(name);
        let mut planned: Vec<&PlannedTensor> = self
            .plan
            .tensors
            .iter()
            .filter(|planned| planned.target.dtype.is_float() && is_of_tower(&planned.target.name))
            .collect();
        planned.sort_by(|a, b| a.target.name.cmp(&b.target.name));
        let lines: Result<Vec<String>, FormatError> =
            planned.into_par_iter().map(|planned| self.line(planned)).collect();
        let refuse = |cause| SourceError::Read { path: self.checkpoint.weights_path().to_owned(), cause };
        let described = serde_json::to_vec(&graph.describe(&self.model.parameters));
        let mut digest = Sha256::new_with_prefix(described.expect("a description is plain data"));
        lines.map_err(refuse)?.iter().for_each(|line| digest.update(line));
        Ok(hex(digest))
    }

    /// Name, dtype and hash of a tensor as the engine gets it. Integers stay as stored, with their scales.
    fn line(&self, planned: &PlannedTensor) -> Result<String, FormatError> {
        let PlannedTensor { target, sources, steps } = planned;
        let hashes = match &sources[..] {
            [_] if steps.is_empty() => vec![self.stored_hash(&sources[0])?],
            _ if planned.integers().is_some() => {
                sources.iter().map(|source| self.stored_hash(source)).collect::<Result<_, _>>()?
            }
            _ => {
                let mut digest = Sha256::new();
                apply_all(planned, &self.weights.state_dict, &mut |piece| digest.update(piece))?;
                vec![hex(digest)]
            }
        };
        let dtype = sources
            .first()
            .filter(|_| planned.integers().is_some())
            .map_or(target.dtype, |first| first.dtype);
        Ok(format!("{} {} {}\n", target.name, dtype.name(), hashes.join(" ")))
    }

    /// SHA-256 of a tensor's bytes as they are stored.
    fn stored_hash(&self, info: &TensorInfo) -> Result<String, FormatError> {
        let listed = self.artifact().and_then(|artifact| artifact.tensors.get(&info.name));
        if let Some(listed) = listed.filter(|listed| listed.dtype == info.dtype.name()) {
            return Ok(listed.sha256.clone());
        }
        let weights = &self.weights.state_dict;
        let index = weights.find(&info.name).expect("the plan was made for this source");
        let mut digest = Sha256::new();
        weights.read_chunks(index, &mut |piece| digest.update(piece))?;
        Ok(hex(digest))
    }
}
