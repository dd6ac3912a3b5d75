//! The known name that a mistyped one was meant to be.

/// The known name that is most like `name`, if one is like it at all.
pub(crate) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    // A name longer than any known one is not compared: the time is the product of the two lengths.
    if name.len() > 64 {
        return None;
    }
    let scored = known.iter().map(|&other| (strsim::jaro_winkler(name, other), other));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
