//! Finds the known name that a mistyped one was meant to be.

/// The known name most similar to `name`, if any is similar.
pub(crate) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    // Names longer than any known one are not compared: the time is the product of the two lengths.
    if name.len() > 64 {
        return None;
    }
    let scored = known.iter().map(|&other| (strsim::jaro_winkler(name, other), other));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
