//! Merges names that differ only in their numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Maximum number of numbers in a name that is merged; a name with more stays as it is.
const MOST_NUMBERS: usize = 6;

/// Maximum number of digits: longer numbers, and those with leading zeros, are text.
const MOST_DIGITS: usize = 9;

/// Maximum number of ranges written out.
const MOST_RUNS: usize = 16;

/// A name split into its numbers and the text around them: one text more than numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) texts: Vec<String>,
    pub(super) numbers: Vec<u32>,
}

impl Numbered {
    pub(super) fn new(name: &str) -> Numbered {
        let mut found = Numbered { texts: vec![String::new()], numbers: Vec::new() };
        let mut rest = name;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits =
                rest[start..].len() - rest[start..].trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (before, word) = (&rest[..start], &rest[start..start + digits]);
            found.push_text(before);
            rest = &rest[start + digits..];
            let is_plain = digits <= MOST_DIGITS && (digits == 1 || !word.starts_with('0'));
            match word.parse().ok().filter(|_| is_plain) {
                Some(number) => {
                    found.numbers.push(number);
                    found.texts.push(String::new());
                }
                None => found.push_text(word),
            }
        }
        found.push_text(rest);
        if found.numbers.len() > MOST_NUMBERS {
            return Numbered { texts: vec![name.to_owned()], numbers: Vec::new() };
        }
        found
    }

    fn push_text(&mut self, text: &str) {
        if let Some(last) = self.texts.last_mut() {
            last.push_str(text);
        }
    }
}

/// The message about a name: names with the same message can be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) about: String,
    /// A second name, which may share the first one's numbers.
    pub(super) other: Option<String>,
}

/// Merged names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Together {
    /// The name, with several numbers in braces: `blocks.{0..5,7}.bias`.
    pub(super) name: String,
    pub(super) about: String,
    /// The second name, with the shared numbers.
    pub(super) other: Option<String>,
    /// How many names were merged.
    pub(super) count: usize,
}

/// A number of the second name: taken from a position of the first, or its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Shared {
    With(usize),
    Own(u32),
}

/// What names must share to be merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    texts: Vec<String>,
    about: String,
    other: Option<(Vec<String>, Vec<Shared>)>,
}

/// Names with every combination of these numbers.
#[derive(Clone, Debug)]
struct Block {
    numbers: Vec<BTreeSet<u32>>,
    count: usize,
    /// Index of the first of them.
    first: usize,
}

/// Merges names, in order of first occurrence: first those that differ in one number, then the results that differ in
/// another.
pub(super) fn together(said: impl IntoIterator<Item = Said>) -> Vec<Together> {
    let mut kinds: HashMap<Kind, Vec<Block>> = HashMap::new();
    for (first, Said { name, about, other }) in said.into_iter().enumerate() {
        let Numbered { texts, numbers } = Numbered::new(&name);
        let other = other.map(|other| share(&numbers, Numbered::new(&other)));
        let numbers = numbers.into_iter().map(|number| BTreeSet::from([number])).collect();
        kinds.entry(Kind { texts, about, other }).or_default().push(Block { numbers, count: 1, first });
    }
    let mut lines = Vec::new();
    for (kind, mut blocks) in kinds {
        for place in 0..kind.texts.len() - 1 {
            blocks = merge(blocks, place);
        }
        for Block { numbers, count, first } in blocks {
            let other = kind.other.as_ref().map(|(texts, shared)| {
                let of = |shared: &Shared| match shared {
                    Shared::With(place) => numbers[*place].clone(),
                    Shared::Own(number) => BTreeSet::from([*number]),
                };
                written(texts, &shared.iter().map(of).collect::<Vec<_>>())
            });
            let name = written(&kind.texts, &numbers);
            lines.push((first, Together { name, about: kind.about.clone(), other, count }));
        }
    }
    lines.sort_by_key(|(first, _)| *first);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Which of the first name's numbers another name uses, in order.
fn share(numbers: &[u32], other: Numbered) -> (Vec<String>, Vec<Shared>) {
    let mut next = 0;
    let of = |number: u32| match numbers[next..].iter().position(|known| *known == number) {
        Some(place) => {
            next += place + 1;
            Shared::With(next - 1)
        }
        None => Shared::Own(number),
    };
    (other.texts, other.numbers.into_iter().map(of).collect())
}

/// Merges blocks that differ at one position only.
fn merge(blocks: Vec<Block>, place: usize) -> Vec<Block> {
    let mut joined: BTreeMap<Vec<BTreeSet<u32>>, Block> = BTreeMap::new();
    for mut block in blocks {
        let own = std::mem::take(&mut block.numbers[place]);
        let known = joined.entry(block.numbers.clone()).or_insert(Block { count: 0, ..block.clone() });
        known.numbers[place].extend(own);
        known.count += block.count;
        known.first = known.first.min(block.first);
    }
    joined.into_values().collect()
}

fn written(texts: &[String], numbers: &[BTreeSet<u32>]) -> String {
    let mut name = texts[0].clone();
    for (numbers, text) in numbers.iter().zip(&texts[1..]) {
        match numbers.first() {
            Some(number) if numbers.len() == 1 => name.push_str(&number.to_string()),
            _ => write_runs(&mut name, numbers),
        }
        name.push_str(text);
    }
    name
}

/// Numbers in braces, with consecutive ones as a range.
fn write_runs(name: &mut String, numbers: &BTreeSet<u32>) {
    let mut runs: Vec<[u32; 2]> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some([_, last]) if *last + 1 == number => *last = number,
            _ => runs.push([number; 2]),
        }
    }
    for (index, [first, last]) in runs.iter().take(MOST_RUNS).enumerate() {
        name.push(if index == 0 { '{' } else { ',' });
        // Writing to a string cannot fail.
        let _ = match last - first {
            0 => write!(name, "{first}"),
            1 => write!(name, "{first},{last}"),
            _ => write!(name, "{first}..{last}"),
        };
    }
    name.push_str(if runs.len() > MOST_RUNS { ",…}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[(&str, Option<&str>)], expected: &[(&str, Option<&str>, usize)]) {
        let said = names.iter().map(|&(name, other)| Said {
            name: name.to_owned(),
            about: "missing".to_owned(),
            other: other.map(str::to_owned),
        });
        let found = together(said);
        let found: Vec<(&str, Option<&str>, usize)> =
            found.iter().map(|line| (line.name.as_str(), line.other.as_deref(), line.count)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_that_differ_in_numbers_are_one() {
        check(
            &[("a.0.w", None), ("b", None), ("a.1.w", None), ("a.2.w", None)],
            &[("a.{0..2}.w", None, 3), ("b", None, 1)],
        );
        check(
            &[("a.9.w", None), ("a.3.w", None), ("a.10.w", None), ("a.5.w", None)],
            &[("a.{3,5,9,10}.w", None, 4)],
        );
        check(&[("a.3.w", None)], &[("a.3.w", None, 1)]);
        // Leading zeros and overlong numbers are text.
        check(
            &[("a.01", None), ("a.1", None), ("a.02", None)],
            &[("a.01", None, 1), ("a.1", None, 1), ("a.02", None, 1)],
        );
        check(
            &[("a.1234567890", None), ("a.2234567890", None)],
            &[("a.1234567890", None, 1), ("a.2234567890", None, 1)],
        );
        check(
            &[("1.1.1.1.1.1.1", None), ("1.1.1.1.1.1.2", None)],
            &[("1.1.1.1.1.1.1", None, 1), ("1.1.1.1.1.1.2", None, 1)],
        );
    }

    #[test]
    fn several_numbers_are_one_where_every_combination_is_there() {
        let square: Vec<String> =
            (0..4).flat_map(|a| (1..=2).map(move |b| format!("l.{a}.ln_{b}"))).collect();
        let mut names: Vec<(&str, Option<&str>)> = square.iter().map(|name| (name.as_str(), None)).collect();
        check(&names, &[("l.{0..3}.ln_{1,2}", None, 8)]);
        names.push(("l.4.ln_2", None));
        check(&names, &[("l.{0..3}.ln_1", None, 4), ("l.{0..4}.ln_2", None, 5)]);
    }

    #[test]
    fn another_name_has_the_numbers_that_it_shares() {
        check(
            &[("b.0.ln1", Some("b.0.ln_1")), ("b.1.ln1", Some("b.1.ln_1")), ("b.2.ln1", Some("b.2.ln_1"))],
            &[("b.{0..2}.ln1", Some("b.{0..2}.ln_1"), 3)],
        );
        check(
            &[("b.5.w", Some("c.9.w")), ("b.6.w", Some("c.9.w")), ("b.7.w", None)],
            &[("b.{5,6}.w", Some("c.9.w"), 2), ("b.7.w", None, 1)],
        );
    }

    #[test]
    fn what_is_told_is_bounded() {
        let names: Vec<String> = (0..200).map(|number| format!("a.{}", 2 * number)).collect();
        let names: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), None)).collect();
        check(&names, &[("a.{0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,…}", None, 200)]);
    }
}
