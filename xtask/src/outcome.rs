//! Reports a run over many cases: one line per case, and a count at the end.

/// One case's result.
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was measured, or what went wrong.
    pub detail: String,
}

/// Prints every case as it finishes, and a final count; returns true if all passed and there was at least one.
pub fn tell(outcomes: impl IntoIterator<Item = Outcome>) -> bool {
    let (mut passed, mut failed) = (0, 0);
    for outcome in outcomes {
        let (word, count) = if outcome.passed { ("passed", &mut passed) } else { ("FAILED", &mut failed) };
        *count += 1;
        println!("{word} {}: {}", outcome.name, outcome.detail);
    }
    println!("{passed} passed, {failed} failed");
    if passed + failed == 0 {
        eprintln!("error: there is no case");
    }
    failed == 0 && passed > 0
}
