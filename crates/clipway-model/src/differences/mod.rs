//! What differs between the tensors that a model needs and the existing ones, all at once.

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

/// Most characters of a name that are shown: more than any name of a model has.
const NAME: usize = 160;

/// A tensor that is needed and not there, or there and not needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The name on the other side most like it, if one is like it.
    pub nearest: Option<String>,
}

/// A tensor whose shape is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// The shape that is needed.
    pub expected: Vec<usize>,
    /// The shape found.
    pub found: Vec<usize>,
}

/// A tensor of integers where numbers with fractions are needed, or the other way round.
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

/// Two tensors of a source that would be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubled {
    /// Its name.
    pub name: String,
    /// The tensors of the source.
    pub sources: [String; 2],
}

/// A number that a source holds beside its tensors, and that their shapes contradict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WrongNumber {
    /// Its name.
    pub name: String,
    /// What the shapes say.
    pub expected: f64,
    /// The number.
    pub found: f64,
}

/// Everything in which tensors differ from those that are needed, each kind in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// Needed, not there.
    pub missing: Vec<Unmatched>,
    /// There, not needed.
    pub unused: Vec<Unmatched>,
    /// There, with another shape.
    pub mismatched: Vec<Mismatch>,
    /// There, with another kind of dtype; names and shapes alone do not show it.
    pub dtypes: Vec<WrongDtype>,
    /// There twice, under the names of a layout.
    pub doubled: Vec<Doubled>,
    /// Numbers that the shapes contradict.
    pub numbers: Vec<WrongNumber>,
}

/// One of the [`Differences`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference<'a> {
    /// A number that the shapes contradict.
    Number(&'a WrongNumber),
    /// Another shape.
    Shape(&'a Mismatch),
    /// Another kind of dtype.
    Dtype(&'a WrongDtype),
    /// There twice.
    Doubled(&'a Doubled),
    /// Needed, not there.
    Missing(&'a Unmatched),
    /// There, not needed.
    Unused(&'a Unmatched),
}

fn dtype_name<S: Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

impl Unmatched {
    /// A tensor without a name that is like its own.
    pub(crate) fn new(name: &str, shape: &[usize]) -> Unmatched {
        Unmatched { name: name.to_owned(), shape: shape.to_vec(), nearest: None }
    }
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

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Differences::default()
    }

    /// Every one, in the order in which they are reported.
    pub fn iter(&self) -> impl Iterator<Item = Difference<'_>> {
        let numbers = self.numbers.iter().map(Difference::Number);
        let shapes = self.mismatched.iter().map(Difference::Shape);
        let dtypes = self.dtypes.iter().map(Difference::Dtype);
        let doubled = self.doubled.iter().map(Difference::Doubled);
        let missing = self.missing.iter().map(Difference::Missing);
        let unused = self.unused.iter().map(Difference::Unused);
        numbers.chain(shapes).chain(dtypes).chain(doubled).chain(missing).chain(unused)
    }

    /// Stable name of what differs: the one kind, or `mismatch` for shapes, names and several kinds.
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

    /// The same with the nearest names, which take some time, so this is for reports alone.
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
    /// The tensor, what is said of it, and the name that may have been meant.
    fn said(&self) -> Said {
        let (name, about, other) = match self {
            Difference::Number(WrongNumber { name, expected, found }) => {
                (name, format!("{found}, but the shapes say {expected}"), None)
            }
            Difference::Shape(Mismatch { name, expected, found }) => {
                (name, format!("expected {expected:?}, found {found:?}"), None)
            }
            Difference::Dtype(WrongDtype { name, expected, found }) => {
                (name, format!("expected {expected}, found {found}"), None)
            }
            Difference::Doubled(Doubled { name, sources: [one, other] }) => {
                let [one, other] = [one, other].map(|source| shown_up_to(source, NAME));
                (name, format!("twice, as `{one}` and as `{other}`"), None)
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
                (false, false) => "should it be",
                (false, true) => "should they be",
            };
            line.push_str(&format!("; {asked} `{}`?", shown_up_to(other, NAME)));
        }
        line
    }
}

impl Differences {
    /// A line for tensors whose names differ in nothing but their numbers and of which the same is said.
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
    /// Its lines, indented by two spaces, without a line end after the last; of a kind with more than any two models
    /// differ in, the rest is counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines::default();
        for kind in self.kinds() {
            lines.extend(kind.iter().map(|together| (together.line(), together.count)));
        }
        f.write_str(lines.text().trim_start_matches('\n'))
    }
}
