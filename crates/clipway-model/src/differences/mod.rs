//! All differences between the tensors that a model needs and the existing ones.

mod nearest;
mod numbered;

use std::collections::HashMap;
use std::fmt;

use clipway_formats::{Dtype, shown_up_to};
use serde::{Serialize, Serializer};

use crate::graph::Parameters;
use crate::problems::Lines;
use nearest::find_nearest;
use numbered::{Said, Together, together};

/// Maximum number of characters shown of a name: more than any model's names have.
const NAME: usize = 160;

/// A tensor that is needed but missing, or present but not needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The most similar name on the other side, if any is similar.
    pub nearest: Option<String>,
}

/// A tensor with the wrong shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// The expected shape.
    pub expected: Vec<usize>,
    /// The shape found.
    pub found: Vec<usize>,
}

/// A tensor of integers where floating-point numbers are needed, or vice versa.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongDtype {
    /// Its name.
    pub name: String,
    /// A dtype of the right kind.
    #[serde(serialize_with = "dtype_name")]
    pub expected: Dtype,
    /// The dtype found.
    #[serde(serialize_with = "dtype_name")]
    pub found: Dtype,
}

/// Two tensors of a source that map to the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubled {
    /// Its name.
    pub name: String,
    /// The two source tensors.
    pub sources: [String; 2],
}

/// A number stored beside a source's tensors that contradicts their shapes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WrongNumber {
    /// Its name.
    pub name: String,
    /// The value according to the shapes.
    pub expected: f64,
    /// The stored number.
    pub found: f64,
}

/// All differences from the needed tensors, each kind in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// Needed but missing.
    pub missing: Vec<Unmatched>,
    /// Present but not needed.
    pub unused: Vec<Unmatched>,
    /// Present with another shape.
    pub mismatched: Vec<Mismatch>,
    /// Present with another kind of dtype; names and shapes alone do not show it.
    pub dtypes: Vec<WrongDtype>,
    /// Present twice, under the names of a layout.
    pub doubled: Vec<Doubled>,
    /// Numbers that contradict the shapes.
    pub numbers: Vec<WrongNumber>,
}

/// One of the [`Differences`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference<'a> {
    /// A number that contradicts the shapes.
    Number(&'a WrongNumber),
    /// Wrong shape.
    Shape(&'a Mismatch),
    /// Wrong kind of dtype.
    Dtype(&'a WrongDtype),
    /// Present twice.
    Doubled(&'a Doubled),
    /// Needed but missing.
    Missing(&'a Unmatched),
    /// Present but not needed.
    Unused(&'a Unmatched),
}

fn dtype_name<S: Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

impl Unmatched {
    /// A tensor without a similar name.
    pub(crate) fn new(name: &str, shape: &[usize]) -> Unmatched {
        Unmatched { name: name.to_owned(), shape: shape.to_vec(), nearest: None }
    }
}

impl Differences {
    /// Compares the needed tensors with the existing ones. A logit scale or bias may be stored as `[]` or as `[1]`, as
    /// in open_clip.
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
                None => differences.missing.push(Unmatched::new(&parameter.name, &parameter.shape)),
                Some(shape) if same_shape(&parameter.name, &parameter.shape, shape) => {}
                Some(shape) => differences.mismatched.push(Mismatch {
                    name: parameter.name.clone(),
                    expected: parameter.shape.clone(),
                    found: shape.to_vec(),
                }),
            }
        }
        let unused = found.iter().filter(|(name, _)| expected.find(name).is_none());
        differences.unused = unused.map(|(name, shape)| Unmatched::new(name, shape)).collect();
        differences
    }

    /// Whether there are no differences.
    pub fn is_empty(&self) -> bool {
        *self == Differences::default()
    }

    /// All differences, in the order in which they are reported.
    pub fn iter(&self) -> impl Iterator<Item = Difference<'_>> {
        let numbers = self.numbers.iter().map(Difference::Number);
        let shapes = self.mismatched.iter().map(Difference::Shape);
        let dtypes = self.dtypes.iter().map(Difference::Dtype);
        let doubled = self.doubled.iter().map(Difference::Doubled);
        let missing = self.missing.iter().map(Difference::Missing);
        let unused = self.unused.iter().map(Difference::Unused);
        numbers.chain(shapes).chain(dtypes).chain(doubled).chain(missing).chain(unused)
    }

    /// Stable code of the differences: that of the only kind, or `mismatch` for shapes, names and mixtures.
    pub fn code(&self) -> &'static str {
        let named = [&self.missing, &self.unused].iter().any(|list| !list.is_empty());
        let tensors = named || !self.mismatched.is_empty();
        match (tensors, self.dtypes.is_empty(), self.doubled.is_empty(), self.numbers.is_empty()) {
            (false, false, true, true) => "dtype-mismatch",
            (false, true, false, true) => "duplicate",
            (false, true, true, false) => "contradiction",
            _ => "mismatch",
        }
    }

    /// The same with nearest names. Finding them takes time, so this is only for reports.
    pub fn with_nearest(mut self) -> Differences {
        find_nearest(&mut self.missing, &mut self.unused);
        self
    }
}

fn same_shape(name: &str, expected: &[usize], found: &[usize]) -> bool {
    let one_number = |shape: &[usize]| matches!(shape, [] | [1]);
    expected == found
        || matches!(name, "logit_scale" | "logit_bias") && one_number(expected) && one_number(found)
}

impl Difference<'_> {
    /// The tensor, the message about it, and the name that may have been meant.
    fn said(&self) -> Said {
        let (name, about, other) = match self {
            Difference::Number(WrongNumber { name, expected, found }) => {
                (name, format!("{found}, but the shapes imply {expected}"), None)
            }
            Difference::Shape(Mismatch { name, expected, found }) => {
                (name, format!("expected {expected:?}, found {found:?}"), None)
            }
            Difference::Dtype(WrongDtype { name, expected, found }) => {
                (name, format!("expected {expected}, found {found}"), None)
            }
            Difference::Doubled(Doubled { name, sources: [one, other] }) => {
                let [one, other] = [one, other].map(|source| shown_up_to(source, NAME));
                (name, format!("stored twice, as `{one}` and as `{other}`"), None)
            }
            Difference::Missing(Unmatched { name, shape, nearest }) => {
                (name, format!("missing, {shape:?}"), nearest.clone())
            }
            Difference::Unused(Unmatched { name, shape, nearest }) => {
                (name, format!("unused, {shape:?}"), nearest.clone())
            }
        };
        Said { name: name.clone(), about, other }
    }
}

impl Together {
    fn line(&self) -> String {
        let Together { name, about, other, count } = self;
        let mut line = format!("`{}`: {about}", shown_up_to(name, NAME));
        if *count > 1 {
            line.push_str(&format!(" ({count} tensors)"));
        }
        if let Some(other) = other {
            let asked = match (about.starts_with("missing"), *count > 1) {
                (true, false) => "is it",
                (true, true) => "are they",
                (false, false) => "did you mean",
                (false, true) => "did you mean",
            };
            line.push_str(&format!("; {asked} `{}`?", shown_up_to(other, NAME)));
        }
        line
    }
}

impl Differences {
    /// One line for tensors whose names differ only in numbers and that share a message.
    pub fn lines(&self) -> Vec<String> {
        self.kinds().iter().flatten().map(Together::line).collect()
    }

    fn kinds(&self) -> Vec<Vec<Together>> {
        let all: Vec<Difference<'_>> = self.iter().collect();
        let kinds = all.chunk_by(|one, next| std::mem::discriminant(one) == std::mem::discriminant(next));
        kinds.map(|kind| together(kind.iter().map(Difference::said))).collect()
    }
}

impl fmt::Display for Differences {
    /// The lines, indented by two spaces, without a final newline. Entries beyond a limit are only counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines::default();
        for kind in self.kinds() {
            lines.extend(kind.iter().map(|together| (together.line(), together.count)));
        }
        f.write_str(lines.text().trim_start_matches('\n'))
    }
}
