//! Names that other modules wrapped: parts that a wrapper put in, a prefix before the whole model, and tensors beside
//! the model that are left out on request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clipway_formats::TensorFile;

use super::{LeftOut, LeftOutKind, SelectError, StateDict, Weights, WeightsChoice};

/// Parts of names that wrappers of PyTorch put in: `torch.compile`, activation checkpointing, FSDP, DeepSpeed and data
/// parallel. No supported model has a module of these names.
const WRAPPERS: [&str; 5] =
    ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_forward_module", "module"];

/// Numbers that compare the features of both towers.
const SHARED: [&str; 2] = ["logit_scale", "logit_bias"];

/// Most prefixes that a message lists.
const SHOWN: usize = 8;

impl Weights {
    /// Every tensor of a file, whatever the names say.
    pub(crate) fn whole(file: Arc<dyn TensorFile>) -> Weights {
        let (state_dict, path, left_out) = (StateDict::of_file(file), Vec::new(), Vec::new());
        Weights { state_dict, path, choice: WeightsChoice::Raw, has_both: false, left_out }
    }

    /// The same tensors without the parts of names that wrappers put in.
    ///
    /// # Errors
    /// If two tensors would have one name.
    pub(crate) fn without_wrappers(self) -> Result<Weights, SelectError> {
        let is_wrapped = |name: &str| name.split('.').any(|part| WRAPPERS.contains(&part));
        if !self.state_dict.tensors().iter().any(|tensor| is_wrapped(&tensor.name)) {
            return Ok(self);
        }
        let unwrapped = |name: &str| {
            let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
            Some(parts.join("."))
        };
        self.kept(unwrapped, LeftOutKind::Other)
    }

    /// The same tensors, with a prefix before every name.
    ///
    /// # Errors
    /// None: names that differ still do.
    pub(crate) fn prefixed(self, prefix: &str) -> Result<Weights, SelectError> {
        self.kept(|name| Some(format!("{prefix}.{name}")), LeftOutKind::Other)
    }

    /// The weights without the tensors that a pattern matches; `*` stands for any characters.
    ///
    /// # Errors
    /// A pattern that no tensor matches.
    pub(crate) fn ignoring(self, patterns: &[String]) -> Result<Weights, SelectError> {
        for pattern in patterns {
            if !self.state_dict.tensors().iter().any(|tensor| matches(pattern, &tensor.name)) {
                return Err(SelectError::NothingIgnored { pattern: pattern.clone() });
            }
        }
        let kept =
            |name: &str| (!patterns.iter().any(|pattern| matches(pattern, name))).then(|| name.to_owned());
        self.kept(kept, LeftOutKind::Ignored)
    }

    /// The weights without tensors that went into others, given by their indices in the file.
    ///
    /// # Errors
    /// None: names that differ still do.
    pub(crate) fn without_stored(self, merged: &HashSet<usize>) -> Result<Weights, SelectError> {
        let state_dict = &self.state_dict;
        let names: HashSet<String> = (0..state_dict.tensors().len())
            .filter(|&index| merged.contains(&state_dict.stored_index(index)))
            .map(|index| state_dict.tensors()[index].name.clone())
            .collect();
        if names.is_empty() {
            return Ok(self);
        }
        self.kept(|name| (!names.contains(name)).then(|| name.to_owned()), LeftOutKind::Merged)
    }

    /// The weights below a prefix, under names without it.
    ///
    /// # Errors
    /// A prefix that no name has.
    pub(crate) fn under(self, prefix: &str) -> Result<Weights, SelectError> {
        let prefix = prefix.trim_end_matches('.');
        let below = |name: &str| below(name, prefix);
        if !self.state_dict.tensors().iter().any(|tensor| below(&tensor.name).is_some()) {
            let firsts = first_parts(&self.state_dict);
            return Err(SelectError::NoPrefix { prefix: prefix.to_owned(), firsts });
        }
        let mut found = self.kept(below, LeftOutKind::Other)?;
        found.path.extend(prefix.split('.').map(str::to_owned));
        Ok(found)
    }

    /// The towers below two prefixes as one model; the second part of each says what its names lack before them. A logit
    /// scale or bias is taken from anywhere, if there is only one.
    ///
    /// # Errors
    /// Towers with tensors of one name.
    pub(crate) fn joined(self, towers: [(&str, Option<&str>); 2]) -> Result<Weights, SelectError> {
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let numbers = |number: &str| {
            let all = self.state_dict.tensors().iter();
            all.filter(|tensor| last(&tensor.name) == number).count()
        };
        let shared: Vec<&str> = SHARED.into_iter().filter(|number| numbers(number) == 1).collect();
        let rename = |name: &str| {
            if SHARED.contains(&last(name).as_str()) {
                return shared.contains(&last(name).as_str()).then(|| last(name));
            }
            towers.into_iter().find_map(|(prefix, lacks)| {
                let rest = below(name, prefix)?;
                Some(lacks.map_or(rest.clone(), |lacks| format!("{lacks}.{rest}")))
            })
        };
        self.kept(rename, LeftOutKind::Other)
    }

    /// The tensors that `rename` gives a name; the others are left out, by the first part of their names.
    fn kept(
        self,
        rename: impl Fn(&str) -> Option<String>,
        left: LeftOutKind,
    ) -> Result<Weights, SelectError> {
        let Weights { state_dict, path, choice, has_both, mut left_out } = self;
        let mut part: Vec<(usize, String)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut groups: HashMap<&str, usize> = HashMap::new();
        for (index, tensor) in state_dict.tensors().iter().enumerate() {
            let stored = state_dict.stored_index(index);
            if let Some(name) = rename(&tensor.name) {
                if let Some(other) = places.insert(name.clone(), index) {
                    let names = [other, index].map(|index| state_dict.tensors()[index].name.clone());
                    return Err(SelectError::Collision { names });
                }
                part.push((stored, name));
                continue;
            }
            let first = tensor.name.split('.').next().unwrap_or_default();
            let place = *groups.entry(first).or_insert_with(|| {
                let kind = match LeftOutKind::of_key(first) {
                    LeftOutKind::Other => left,
                    of_training => of_training,
                };
                let whole: Vec<&str> = path.iter().map(String::as_str).chain([first]).collect();
                left_out.push(LeftOut { kind, path: whole.join("."), tensors: Vec::new(), bytes: 0 });
                left_out.len() - 1
            });
            left_out[place].tensors.push(stored);
            left_out[place].bytes += tensor.bytes() as u64;
        }
        left_out.sort_by_key(|part| part.tensors.first().copied());
        let state_dict = StateDict::of_part(Arc::clone(&state_dict.file), part);
        Ok(Weights { state_dict, path, choice, has_both, left_out })
    }
}

/// A name without a prefix; `None` if it is not below that.
pub(super) fn below(name: &str, prefix: &str) -> Option<String> {
    Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned())
}

/// First parts of names, each once.
fn first_parts(state_dict: &StateDict) -> Vec<String> {
    let mut firsts: Vec<String> = Vec::new();
    for tensor in state_dict.tensors() {
        let first = tensor.name.split('.').next().unwrap_or_default();
        if firsts.len() < SHOWN && !firsts.iter().any(|known| known == first) {
            firsts.push(first.to_owned());
        }
    }
    firsts
}

/// Whether a name matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_names() {
        for (pattern, name, expected) in [
            ("head.weight", "head.weight", true),
            ("head", "head.weight", false),
            ("head.*", "head.weight", true),
            ("*.weight", "head.weight", true),
            ("*", "", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*bc", "abc", false),
            ("a**c", "ac", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
