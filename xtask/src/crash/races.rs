//! Concurrent exports to the same target.

use super::bench::{Bench, remove, said};

/// The results of the races.
#[derive(Default)]
struct Count {
    placed: usize,
    refused: usize,
    wins: [usize; 2],
}

/// Races two exports that replace the target and one that does not, half of the time with an empty target.
pub fn run(bench: &Bench, races: usize) -> Result<String, String> {
    let out = bench.out();
    let mut count = Count::default();
    for race in 0..races {
        if race % 2 == 0 {
            remove(&out)?;
        }
        let commands = [bench.replace(0), bench.replace(1), bench.export("a", &out, &[])];
        let children = commands.map(|command| bench.spawn(command));
        let mut placed = 0;
        for child in children {
            let output = child?.wait_with_output().map_err(|error| error.to_string())?;
            let text = said(&output);
            match output.status.code() {
                Some(0) => placed += 1,
                Some(1 | 2) if text.contains('[') => count.refused += 1,
                _ => return Err(format!("race {race}: a run ended with {}: {text}", output.status)),
            }
        }
        if placed == 0 {
            return Err(format!("race {race}: every run was refused"));
        }
        count.placed += placed;
        count.wins[bench.placed(&out).map_err(|why| format!("race {race}: {why}"))?] += 1;
        let leftovers = bench.leftovers(&out)?;
        if !leftovers.is_empty() {
            return Err(format!("race {race}: {leftovers:?} stay"));
        }
    }
    let Count { placed, refused, wins } = count;
    Ok(format!(
        "{races} races of 3 exports: {placed} put in place, {refused} refused with a code; in the end {} times the one \
         artifact, {} times the other, whole by hash; no leftovers",
        wins[0], wins[1]
    ))
}
