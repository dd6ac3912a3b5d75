//! What differs between the tensors that a model needs and those that are there, all at once.

use std::collections::HashMap;
use std::fmt;

use clipway_formats::{Dtype, shown};

use crate::graph::Parameters;

/// Most tensors of one kind that are printed; the rest is counted.
const PRINTED: usize = 20;

/// A tensor that is needed and not there, or there and not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The name on the other side most like it, if one is like it.
    pub nearest: Option<String>,
}

/// A tensor whose shape is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// The shape that is needed.
    pub expected: Vec<usize>,
    /// The shape that is there.
    pub found: Vec<usize>,
}

/// A tensor of integers where numbers with fractions are needed, or the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongDtype {
    /// Its name.
    pub name: String,
    /// A dtype of the right kind.
    pub expected: Dtype,
    /// The dtype that is there.
    pub found: Dtype,
}

/// Two tensors of a source that would be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubled {
    /// Its name.
    pub name: String,
    /// The tensors of the source.
    pub sources: [String; 2],
}

/// Everything in which tensors differ from those that are needed, each kind in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Needed, not there.
    pub missing: Vec<Unmatched>,
    /// There, not needed.
    pub unused: Vec<Unmatched>,
    /// There, with another shape.
    pub mismatched: Vec<Mismatch>,
    /// There, with another kind of dtype; names and shapes alone do not tell it.
    pub dtypes: Vec<WrongDtype>,
    /// There twice, under the names of a layout.
    pub doubled: Vec<Doubled>,
}

impl Differences {
    /// Compares what a model needs with what is there. A logit scale or bias may be stored as `[]` or as `[1]`, as
    /// open_clip allows.
    pub fn between<'a>(
        expected: &Parameters,
        found: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Differences {
        let found: Vec<(&str, &[usize])> = found.into_iter().collect();
        let by_name: HashMap<&str, &[usize]> = found.iter().copied().collect();
        let mut differences = Differences::default();
        for id in expected.in_state_dict_order() {
            let parameter = expected.get(id);
            match by_name.get(parameter.name.as_str()) {
                None => differences.missing.push(unmatched(&parameter.name, &parameter.shape)),
                Some(shape) if same_shape(&parameter.name, &parameter.shape, shape) => {}
                Some(shape) => differences.mismatched.push(Mismatch {
                    name: parameter.name.clone(),
                    expected: parameter.shape.clone(),
                    found: shape.to_vec(),
                }),
            }
        }
        let unused = found.iter().filter(|(name, _)| expected.find(name).is_none());
        differences.unused = unused.map(|(name, shape)| unmatched(name, shape)).collect();
        differences
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Differences::default()
    }

    /// Stable name of what differs: the one kind, or `mismatch` for shapes, names and several kinds.
    pub fn code(&self) -> &'static str {
        let named = [&self.missing, &self.unused].iter().any(|list| !list.is_empty());
        match (named || !self.mismatched.is_empty(), self.dtypes.is_empty(), self.doubled.is_empty()) {
            (false, false, true) => "dtype-mismatch",
            (false, true, false) => "duplicate",
            _ => "mismatch",
        }
    }

    /// The same with the nearest names of the tensors that are printed. This takes time in proportion to their
    /// number times that of the others, so it is for reports alone.
    pub fn with_nearest(mut self) -> Differences {
        let missing: Vec<(String, Vec<usize>)> = names_and_shapes(&self.missing);
        let unused: Vec<(String, Vec<usize>)> = names_and_shapes(&self.unused);
        for (list, others) in [(&mut self.missing, &unused), (&mut self.unused, &missing)] {
            for one in list.iter_mut().take(PRINTED) {
                one.nearest = nearest(&one.name, &one.shape, others);
            }
        }
        self
    }
}

fn unmatched(name: &str, shape: &[usize]) -> Unmatched {
    Unmatched { name: name.to_owned(), shape: shape.to_vec(), nearest: None }
}

fn names_and_shapes(list: &[Unmatched]) -> Vec<(String, Vec<usize>)> {
    list.iter().map(|one| (one.name.clone(), one.shape.clone())).collect()
}

fn same_shape(name: &str, expected: &[usize], found: &[usize]) -> bool {
    let one_number = |shape: &[usize]| matches!(shape, [] | [1]);
    expected == found
        || matches!(name, "logit_scale" | "logit_bias") && one_number(expected) && one_number(found)
}

/// The name most like `name`; one of the same shape goes before others.
fn nearest(name: &str, shape: &[usize], others: &[(String, Vec<usize>)]) -> Option<String> {
    /// A tensor's name longer than this is no name of a model.
    const LONGEST: usize = 200;
    let score = |(other, other_shape): &(String, Vec<usize>)| {
        let bonus = if other_shape == shape { 0.2 } else { 0.0 };
        strsim::normalized_levenshtein(name, other) + bonus
    };
    let scored = others
        .iter()
        .filter(|(other, _)| other.len() < LONGEST && name.len() < LONGEST)
        .map(|other| (score(other), &other.0))
        .filter(|(score, _)| *score > 0.7);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name.clone())
}

impl fmt::Display for Differences {
    /// One line a tensor, indented by two spaces, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for Mismatch { name, expected, found } in self.mismatched.iter().take(PRINTED) {
            lines.push(format!("`{}`: expected {expected:?}, found {found:?}", shown(name)));
        }
        rest(&mut lines, self.mismatched.len(), "of another shape");
        for WrongDtype { name, expected, found } in self.dtypes.iter().take(PRINTED) {
            lines.push(format!("`{}`: expected {expected}, found {found}", shown(name)));
        }
        rest(&mut lines, self.dtypes.len(), "of another dtype");
        for Doubled { name, sources: [one, other] } in self.doubled.iter().take(PRINTED) {
            lines.push(format!("`{}`: twice, as `{}` and as `{}`", shown(name), shown(one), shown(other)));
        }
        rest(&mut lines, self.doubled.len(), "that are there twice");
        for (list, kind) in [(&self.missing, "missing"), (&self.unused, "unused")] {
            for Unmatched { name, shape, nearest } in list.iter().take(PRINTED) {
                let nearest = match nearest {
                    Some(nearest) if kind == "missing" => format!("; is it `{}`?", shown(nearest)),
                    Some(nearest) => format!("; should it be `{}`?", shown(nearest)),
                    None => String::new(),
                };
                lines.push(format!("`{}`: {kind}, {shape:?}{nearest}", shown(name)));
            }
            rest(&mut lines, list.len(), kind);
        }
        let lines: Vec<String> = lines.into_iter().map(|line| format!("  {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn rest(lines: &mut Vec<String>, count: usize, kind: &str) {
    if count > PRINTED {
        lines.push(format!("and {} more {kind}", count - PRINTED));
    }
}
