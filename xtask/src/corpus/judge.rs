//! Compares what was observed of a case with its manifest entry.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use clipway_formats::is_invisible;
use regex::Regex;

use super::child::Observation;
use super::exceptions::Exception;
use super::manifest::{Case, Expectation, Format, Tensor};
use super::open::{Loaded, Report};

/// A message of this many bytes or more is too long.
const TOO_LONG: usize = 2000;

/// Maximum characters of a message that are shown.
const SHOWN_CHARACTERS: usize = 150;

/// How messages name a place: an offset, a part, a key after the kind of a JSON file, or the file as a whole.
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    let place = r"(?x) \bbytes?\s\d | \blines?\s\d | \b\d+\sx\s\d+\b | \b(?:entry|key|shard|tensors?)\b | `\$
        | \.(?:json|gz|model):\s[\w.\ ]+: | \bmodel:\s[\w.\ ]+:
        | \bfile\b | \bnot\ an\ image\b | \bis\ not\ supported\b";
    Regex::new(place).expect("a valid regular expression")
});

/// Judges a case, considering a possible exception; returns what was found, or the error.
pub fn judge(
    case: &Case,
    file: &Path,
    seen: &Observation,
    exception: Option<&Exception>,
) -> Result<String, String> {
    let report = seen.report.as_ref().map_err(|why| with_talk(why, &seen.talk))?;
    if !seen.talk.is_empty() {
        return Err(with_talk("wrote to stderr", &seen.talk));
    }
    match (case.expectation, report) {
        (Expectation::Load, Report::Loaded(loaded)) => check_loaded(case, loaded),
        (Expectation::Load, Report::Refused(message)) => {
            let shown = check_message(file, message)?;
            match &case.alt {
                Some(alt) => Ok(format!("refused, as allowed ({alt}): {shown}")),
                None => Err(format!("refused: {shown}")),
            }
        }
        (Expectation::Reject, Report::Refused(message)) => {
            let shown = check_message(file, message)?;
            match exception {
                Some(_) => Err(format!("exception no longer needed: {shown}")),
                None => Ok(shown),
            }
        }
        (Expectation::Reject, Report::Loaded(loaded)) => check_accepted(case, loaded, exception),
    }
}

/// Handles a file that should have been refused but was accepted.
fn check_accepted(case: &Case, loaded: &Loaded, exception: Option<&Exception>) -> Result<String, String> {
    match (exception, &case.alt) {
        (Some(exception), _) => Ok(format!("accepted on purpose: {}", exception.reason)),
        (None, Some(alt)) => Ok(format!("accepted, as allowed: {alt}")),
        (None, None) => {
            let severity = if case.is_strict() { "strict" } else { "must" };
            Err(format!("accepted, {} tensors, but to be refused ({severity})", loaded.tensors.len()))
        }
    }
}

/// Appends what a process wrote to the reason it failed, in one line.
fn with_talk(why: &str, talk: &str) -> String {
    let talk = talk.split_whitespace().collect::<Vec<_>>().join(" ");
    if talk.is_empty() { why.to_owned() } else { format!("{why}: {}", cut(&talk)) }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_CHARACTERS {
        shown.push('…');
    }
    shown
}

/// Checks the message of a refusal, and returns it without the file's folder.
fn check_message(file: &Path, message: &str) -> Result<String, String> {
    let folder = file.parent().unwrap_or(file).display().to_string();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let rest = message.replace(&*file.to_string_lossy(), "");
    let wrong = if message.trim().is_empty() {
        "the message is empty"
    } else if message.len() >= TOO_LONG {
        "the message is too long"
    } else if message.contains(is_invisible) {
        "the message has a control character or more than one line"
    } else if !message.contains(&*name) {
        "the message does not name the file"
    } else if !PLACE.is_match(&rest) {
        "the message names no place"
    } else {
        return Ok(cut(&message.replace(&format!("{folder}/"), "")));
    };
    Err(format!("{wrong}: {}", cut(message)))
}

/// Compares what was read with the manifest.
fn check_loaded(case: &Case, loaded: &Loaded) -> Result<String, String> {
    match case.format {
        Format::Config | Format::Tokenizer => Ok("read".to_owned()),
        Format::Image => check_image(case, loaded),
        _ => check_tensors(case, loaded),
    }
}

fn check_image(case: &Case, loaded: &Loaded) -> Result<String, String> {
    let image = loaded.image.as_ref().ok_or("no image was read")?;
    let (width, height) = (image.width, image.height);
    if (case.width, case.height) != (Some(width), Some(height)) {
        return Err(format!("{width} x {height}, expected {:?} x {:?}", case.width, case.height));
    }
    match &case.rgb_sha256 {
        None => Ok(format!("{width} x {height}")),
        Some(expected) if *expected == image.rgb_sha256 => Ok(format!("{width} x {height}, equal pixels")),
        Some(_) => Err(format!("{width} x {height}, but other pixels")),
    }
}

fn check_tensors(case: &Case, loaded: &Loaded) -> Result<String, String> {
    let expected = case.tensors.as_ref().ok_or("the manifest states no tensors: nothing to compare with")?;
    let prefix = case.prefix();
    let mut found: BTreeMap<&str, &Tensor> = BTreeMap::new();
    for (name, tensor) in &loaded.tensors {
        let Some(name) = name.strip_prefix(&prefix) else { continue };
        if found.insert(name, tensor).is_some() {
            return Err(format!("tensor `{}` was read twice", cut(name)));
        }
    }
    for (name, expected) in expected {
        match found.remove(name.as_str()) {
            None => return Err(format!("tensor `{}` was not read", cut(name))),
            Some(found) if found != expected => {
                return Err(format!("tensor `{}`: expected {expected:?}, found {found:?}", cut(name)));
            }
            Some(_) => {}
        }
    }
    match found.first_key_value() {
        Some((name, _)) => Err(format!("tensor `{}` was read but is not stated", cut(name))),
        None => Ok(format!("{} equal tensors", expected.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const FILE: &str = "/corpus/bad/a.pt";

    fn check(format: &str, case: Value, report: Result<Value, &str>, expected: Result<&str, &str>) {
        let mut stated = json!({"name": "a", "path": "bad/a.pt", "format": format, "expectation": "reject"});
        stated.as_object_mut().unwrap().extend(case.as_object().unwrap().clone());
        let case: Case = serde_json::from_value(stated).unwrap();
        let report = report.map(|report| serde_json::from_value(report).unwrap()).map_err(str::to_owned);
        let talk = if report.is_err() { "thread panicked\nat x" } else { "" }.to_owned();
        let seen = Observation { report, wall: Duration::ZERO, memory: None, talk };
        let exception = Exception { format: Format::Pt, name: "a", reason: "harmless" };
        let is_excepted = case.is_strict() && case.alt.is_none();
        let found = judge(&case, Path::new(FILE), &seen, is_excepted.then_some(&exception));
        let ((Ok(found), Ok(part)) | (Err(found), Err(part))) = (&found, &expected) else {
            panic!("{case:?}: {found:?}, expected {expected:?}");
        };
        assert!(found.contains(part), "`{found}` does not say `{part}`");
    }

    fn refused(message: &str) -> Result<Value, &'static str> {
        Ok(json!({ "Refused": message }))
    }

    fn loaded(names: &[&str], sha256: &str) -> Result<Value, &'static str> {
        let tensor = json!({"dtype": "F32", "shape": [2], "sha256": sha256});
        let tensors: Vec<Value> = names.iter().map(|name| json!([name, tensor])).collect();
        Ok(json!({"Loaded": {"tensors": tensors, "image": null}}))
    }

    #[test]
    fn refusals() {
        let check = |message: &str, expected| check("pt", json!({}), refused(message), expected);
        check("`/corpus/bad/a.pt`: byte 7: 8 bytes are expected [truncated]", Ok("`a.pt`: byte 7"));
        check("", Err("empty"));
        check("`/corpus/bad/a.pt`: byte 7: \u{1b}[2J", Err("control"));
        check("`/corpus/bad/a.pt`: byte 7: no\nsecond line", Err("control"));
        check("`/corpus/bad/a.pt`: byte 7: \u{202e}", Err("control"));
        check("byte 7: wrong", Err("does not name the file"));
        check("`/corpus/bad/a.pt`: wrong", Err("names no place"));
        check("`/corpus/bad/a.pt`: tokenizer.json: model.vocab: the vocabulary is empty", Ok("model.vocab"));
        check("`/corpus/bad/a.pt`: file: not of a known format", Ok("file"));
        check(&format!("`/corpus/bad/a.pt`: byte 7: {}", "x".repeat(2000)), Err("too long"));
    }

    #[test]
    fn loads() {
        let stated = json!({"expectation": "load", "root": ["state"],
            "tensors": {"w": {"dtype": "F32", "shape": [2], "sha256": "00"}}});
        let check = |report, expected| check("pt", stated.clone(), report, expected);
        check(loaded(&["epoch", "state.w"], "00"), Ok("1 equal tensors"));
        check(loaded(&["state.w"], "01"), Err("expected Tensor"));
        check(loaded(&["w"], "00"), Err("`w` was not read"));
        check(loaded(&["state.w", "state.v"], "00"), Err("`v` was read but is not stated"));
        check(loaded(&["state.w", "state.w"], "00"), Err("twice"));
        check(refused("`/corpus/bad/a.pt`: byte 7: wrong"), Err("refused"));
        check(Err("ended with signal 6"), Err("ended with signal 6: thread panicked at x"));
    }

    #[test]
    fn what_is_accepted() {
        check("pt", json!({}), loaded(&[], ""), Err("(must)"));
        check("pt", json!({"severity": "must"}), loaded(&[], ""), Err("(must)"));
        check("pt", json!({"severity": "strict"}), loaded(&[], ""), Ok("on purpose: harmless"));
        check("pt", json!({"alt": "may load"}), loaded(&[], ""), Ok("may load"));
        check("pt", json!({"expectation": "load"}), loaded(&[], ""), Err("nothing to compare"));
        let message = "`/corpus/bad/a.pt`: byte 7: wrong";
        check("pt", json!({"severity": "strict"}), refused(message), Err("exception no longer needed"));
        check("pt", json!({"expectation": "load", "alt": "may not"}), refused(message), Ok("may not"));
    }

    #[test]
    fn images() {
        let image = |rgb: &str| {
            let image = json!({"width": 3, "height": 2, "rgb_sha256": rgb});
            Ok(json!({"Loaded": {"tensors": [], "image": image}}))
        };
        let stated =
            |width: usize| json!({"expectation": "load", "width": width, "height": 2, "rgb_sha256": "aa"});
        check("image", stated(3), image("aa"), Ok("3 x 2, equal pixels"));
        check("image", stated(3), image("ab"), Err("other pixels"));
        check("image", stated(4), image("aa"), Err("3 x 2, expected"));
        check("image", stated(3), loaded(&[], ""), Err("no image"));
    }
}
