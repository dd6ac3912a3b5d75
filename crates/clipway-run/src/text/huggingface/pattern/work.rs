//! Limits how much of a text an expression may scan in vain.
//!
//! Matches are searched from each position after the last match. The work grows quadratically if a search can scan a
//! long run of characters and then fail, or match only a little, at each position of that run; and without limit if a
//! failing search can backtrack through many paths. So an unbounded repetition must end its alternative, except for
//! optional parts; or a later alternative must match the whole run at once, as `\s+` does after `\s*[\r\n]+` in the
//! expressions of GPT-4 and Llama. Look-around, which makes the library search by backtracking, may look at a limited
//! number of characters, and follow a repetition only as in `\s+(?!\S)`: one step back from the end of such a run
//! decides it.

use regex_syntax::hir::ClassUnicode;

use super::parse::{Part, Piece, Tree};

/// Maximum number of backtracking paths at one position, where the search backtracks at all.
const MOST_WAYS: u64 = 1 << 10;

/// Refuses an expression whose work may grow faster than the text.
pub fn check(tree: &Tree) -> Result<(), String> {
    check_nesting(tree, false)?;
    let hard = has_look(tree);
    if hard {
        check_looks(tree)?;
    }
    // Without backtracking, a search scans a text once, whatever it finds, unless it can find something short instead.
    let alone = !hard && matches!(tree[..], [ref only] if only.iter().all(|piece| !inner_unbounded(piece)));
    for (index, row) in tree.iter().enumerate() {
        let Err(run) = run_of(row) else { continue };
        let later = &tree[index + 1..];
        if alone || run.is_some_and(|run| is_taken(&run, later)) {
            continue;
        }
        return Err(
            "an unbounded repetition may fail far from where it began, at each position of a text".to_owned()
        );
    }
    Ok(())
}

/// Refuses nested unbounded repetitions.
fn check_nesting(tree: &Tree, inside: bool) -> Result<(), String> {
    tree.iter().flatten().try_for_each(|piece| {
        let unbounded = piece.most.is_none();
        if unbounded && inside {
            return Err("an unbounded repetition is nested in another".to_owned());
        }
        match &piece.part {
            Part::Group(tree) | Part::Look { tree, .. } => check_nesting(tree, inside || unbounded),
            Part::One(_) | Part::Place => Ok(()),
        }
    })
}

fn has_look(tree: &Tree) -> bool {
    tree.iter().flatten().any(|piece| match &piece.part {
        Part::Look { .. } => true,
        Part::Group(tree) => has_look(tree),
        Part::One(_) | Part::Place => false,
    })
}

/// Whether anything in a tree repeats without bound.
fn is_unbounded(tree: &Tree) -> bool {
    tree.iter().flatten().any(|piece| piece.most.is_none() || inner_unbounded(piece))
}

fn inner_unbounded(piece: &Piece) -> bool {
    match &piece.part {
        Part::Group(tree) | Part::Look { tree, .. } => is_unbounded(tree),
        Part::One(_) | Part::Place => false,
    }
}

/// Checks the alternatives with look-around, which are searched by backtracking.
fn check_looks(tree: &Tree) -> Result<(), String> {
    let bad = || Err("a look-around may scan a text without limit".to_owned());
    for row in tree {
        let plain = |piece: &Piece| match &piece.part {
            Part::Look { .. } => false,
            Part::Group(tree) => !has_look(tree),
            Part::One(_) | Part::Place => true,
        };
        if row.iter().all(plain) {
            continue;
        }
        let ways = row.iter().map(ways).fold(1, u64::saturating_mul);
        if ways > MOST_WAYS {
            return Err(format!(
                "a search may backtrack through more than {MOST_WAYS} paths before a look-around"
            ));
        }
        for (index, piece) in row.iter().enumerate() {
            match &piece.part {
                Part::Look { tree, .. } if is_unbounded(tree) => return bad(),
                Part::Group(tree) if has_look(tree) && (is_unbounded(tree) || piece.most.is_none()) => {
                    return bad();
                }
                _ => {}
            }
            let repeats = piece.most.is_none() || inner_unbounded(piece);
            let followed = row[index + 1..].iter().any(|later| !plain(later));
            if repeats && followed && !(index + 2 == row.len() && decides_at_once(piece, &row[index + 1])) {
                return bad();
            }
        }
    }
    Ok(())
}

/// Whether one step back from the end of a run decides what must not follow it.
fn decides_at_once(run: &Piece, look: &Piece) -> bool {
    let (Part::One(Some(run)), Part::Look { tree, ahead: true, negative: true }) = (&run.part, &look.part)
    else {
        return false;
    };
    let [row] = &tree[..] else { return false };
    let [Piece { part: Part::One(Some(other)), least: 1, most: Some(1) }] = &row[..] else { return false };
    let mut common = run.clone();
    common.intersect(other);
    common.ranges().is_empty()
}

/// Maximum number of ways in which a piece may match the same text; unbounded runs count once.
fn ways(piece: &Piece) -> u64 {
    let inner = match &piece.part {
        Part::Group(tree) => tree
            .iter()
            .map(|row| row.iter().map(ways).fold(1, u64::saturating_mul))
            .fold(0, u64::saturating_add),
        Part::One(_) | Part::Place | Part::Look { .. } => 1,
    };
    let most = piece.most.unwrap_or(piece.least);
    let times = inner.saturating_pow(u32::try_from(most).unwrap_or(u32::MAX));
    times.saturating_mul(most.saturating_sub(piece.least) + 1)
}

/// The sequence's first unbounded run, if nothing required follows it; `Ok(None)` if it has none. Otherwise, what the
/// search may have scanned in vain, if known.
fn run_of(row: &[Piece]) -> Result<Option<&ClassUnicode>, Option<ClassUnicode>> {
    let Some(first) = row.iter().position(|piece| piece.most.is_none() || inner_unbounded(piece)) else {
        return Ok(None);
    };
    let needed = |piece: &Piece| match &piece.part {
        Part::Look { .. } => false,
        _ => piece.least > 0,
    };
    let last = row.iter().rposition(needed).filter(|&last| last > first);
    // Groups must end in their runs as well, and not be required twice.
    let inner_ends = row[first..].iter().all(|piece| match &piece.part {
        Part::Group(tree) if inner_unbounded(piece) => {
            piece.most == Some(1) && tree.iter().all(|row| run_of(row).is_ok())
        }
        _ => true,
    });
    match last {
        None if inner_ends => match &row[first].part {
            Part::One(class) => Ok(class.as_ref()),
            _ => Ok(None),
        },
        Some(last) if inner_ends => {
            let mut looked_at = ClassUnicode::empty();
            for piece in
                row[first..last].iter().filter(|piece| piece.most.is_none() || inner_unbounded(piece))
            {
                match &piece.part {
                    Part::One(Some(class)) => looked_at.union(class),
                    _ => return Err(None),
                }
            }
            Err(Some(looked_at))
        }
        _ => Err(None),
    }
}

/// Whether the first later alternative that can match in a run matches all of it.
fn is_taken(run: &ClassUnicode, later: &[Vec<Piece>]) -> bool {
    for row in later {
        match run_of(row) {
            Ok(Some(taken)) => {
                let first = row.iter().position(|piece| piece.most.is_none()).unwrap_or(0);
                let mut beyond = run.clone();
                beyond.difference(taken);
                if beyond.ranges().is_empty() && row[..first].iter().all(|piece| piece.least == 0) {
                    return true;
                }
            }
            // It fails as well, and must obey the same rule.
            Err(_) => continue,
            Ok(None) => {}
        }
        if may_start(row, run) {
            return false;
        }
    }
    false
}

/// Whether a sequence may match starting with one of these characters.
fn may_start(row: &[Piece], run: &ClassUnicode) -> bool {
    for piece in row {
        let starts = match &piece.part {
            Part::One(Some(class)) => {
                let mut common = class.clone();
                common.intersect(run);
                !common.ranges().is_empty()
            }
            Part::One(None) => true,
            Part::Group(tree) => tree.iter().any(|row| may_start(row, run)),
            Part::Place | Part::Look { .. } => continue,
        };
        if starts {
            return true;
        }
        if piece.least > 0 {
            return false;
        }
    }
    true
}
