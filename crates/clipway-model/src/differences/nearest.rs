//! Finds the name that was meant: the most similar one.

use std::collections::HashMap;

use super::Unmatched;
use super::numbered::Numbered;

/// Names longer than this are not model tensor names.
const LONGEST: usize = 200;

/// Minimum similarity, from 0 to 1, including the bonus for the same shape.
const LEAST: f64 = 0.7;
const SAME_SHAPE: f64 = 0.2;

/// Maximum number of character pairs to compare: more than any two models need.
const MOST_WORK: usize = 100_000_000;

/// Names that differ only in numbers, with the same shape.
struct Kind {
    /// The name with a placeholder for each number.
    text: String,
    shape: Vec<usize>,
    /// Index of each member by its numbers.
    members: HashMap<Vec<u32>, usize>,
}

/// Pairs each name with the most similar one of the other list, ignoring numbers; the same shape takes precedence. If
/// several with other numbers are equally near, none is chosen.
pub(super) fn find_nearest(missing: &mut [Unmatched], unused: &mut [Unmatched]) {
    let kinds = [kinds(missing), kinds(unused)];
    let mut best = [vec![None; kinds[0].len()], vec![None; kinds[1].len()]];
    let mut work = 0;
    for (i, one) in kinds[0].iter().enumerate() {
        for (j, other) in kinds[1].iter().enumerate() {
            let bonus = if one.shape == other.shape { SAME_SHAPE } else { 0.0 };
            let lengths = [one.text.len(), other.text.len()];
            let likest = lengths[0].min(lengths[1]) as f64 / lengths[0].max(lengths[1]).max(1) as f64;
            if likest + bonus <= LEAST {
                continue;
            }
            work += lengths[0] * lengths[1];
            if work > MOST_WORK {
                break;
            }
            let score = strsim::normalized_levenshtein(&one.text, &other.text) + bonus;
            for (side, at, other) in [(0, i, j), (1, j, i)] {
                let best: &mut Option<(f64, usize)> = &mut best[side][at];
                if score > best.map_or(LEAST, |(score, _)| score) {
                    *best = Some((score, other));
                }
            }
        }
    }
    let names = [names(missing), names(unused)];
    for (side, list) in [missing, unused].into_iter().enumerate() {
        for (kind, best) in kinds[side].iter().zip(&best[side]) {
            let Some((_, other)) = best else { continue };
            let other = &kinds[1 - side][*other];
            for (numbers, &place) in &kind.members {
                let only = other.members.values().next().filter(|_| other.members.len() == 1);
                let nearest = other.members.get(numbers).or(only);
                list[place].nearest = nearest.map(|&nearest| names[1 - side][nearest].clone());
            }
        }
    }
}

fn names(list: &[Unmatched]) -> Vec<String> {
    list.iter().map(|one| one.name.clone()).collect()
}

fn kinds(list: &[Unmatched]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut places: HashMap<(String, &[usize]), usize> = HashMap::new();
    for (index, one) in list.iter().enumerate().filter(|(_, one)| one.name.len() < LONGEST) {
        let Numbered { texts, numbers } = Numbered::new(&one.name);
        let text = texts.join("#");
        let place = *places.entry((text.clone(), &one.shape)).or_insert_with(|| {
            kinds.push(Kind { text, shape: one.shape.clone(), members: HashMap::new() });
            kinds.len() - 1
        });
        kinds[place].members.insert(numbers, index);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(missing: &[(&str, usize)], unused: &[(&str, usize)], expected: [&[Option<&str>]; 2]) {
        let list = |names: &[(&str, usize)]| -> Vec<Unmatched> {
            names.iter().map(|&(name, rows)| Unmatched::new(name, &[rows])).collect()
        };
        let (mut missing, mut unused) = (list(missing), list(unused));
        find_nearest(&mut missing, &mut unused);
        for (list, expected) in [missing, unused].iter().zip(expected) {
            let found: Vec<Option<&str>> = list.iter().map(|one| one.nearest.as_deref()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_likest_name_of_the_same_shape_and_numbers() {
        check(
            &[("blocks.0.ln1.w", 4), ("blocks.11.ln1.w", 4), ("proj", 8)],
            &[("blocks.0.ln_1.w", 4), ("blocks.11.ln_1.w", 4), ("blocks.11.ln_1.w2", 9), ("other", 8)],
            [
                &[Some("blocks.0.ln_1.w"), Some("blocks.11.ln_1.w"), None],
                &[Some("blocks.0.ln1.w"), Some("blocks.11.ln1.w"), None, None],
            ],
        );
        check(
            &[("blocks.7.weight", 4)],
            &[("blocks.2.weights", 5), ("blocks.3.weight_", 4)],
            [&[Some("blocks.3.weight_")], &[Some("blocks.7.weight"), Some("blocks.7.weight")]],
        );
    }

    #[test]
    fn names_of_no_model_take_no_long_time() {
        let long = |start: usize| -> Vec<Unmatched> {
            (start..start + 4000)
                .map(|number| {
                    let name: String = (0..60)
                        .map(|digit| if number >> (digit % 13) & 1 == 1 { "ab" } else { "cd" })
                        .collect();
                    Unmatched::new(&name, &[number])
                })
                .collect()
        };
        let (mut missing, mut unused) = (long(0), long(4096));
        find_nearest(&mut missing, &mut unused);
        // The work budget is spent on the first names.
        assert!(missing[0].nearest.is_some() && missing[3999].nearest.is_none());
    }
}
