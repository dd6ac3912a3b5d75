//! Growth by normalizers: tokenizers whose parts lengthen texts, and the texts that grow most.

use std::fs;

use serde_json::{Value, json};

use super::case::{Drawn, Stage, Verdict, words};
use crate::made::{self, shown};
use crate::random::Random;

/// A part, and the maximum factor by which it lengthens a text.
type Part = (Value, usize);

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let count = random.pick(&[0, 1, 2, 5, 20, 64, 65, 3000]);
    // Many parts are all of one kind, a few are mixed.
    let first = normalizer(random);
    let parts: Vec<Part> =
        (0..count).map(|_| if count > 20 { first.clone() } else { normalizer(random) }).collect();
    let splits = random.pick(&[0, 0, 1, 3, 40]);
    let split = pre_tokenizer(random);
    let growth = parts.iter().fold(1usize, |growth, part| growth.saturating_mul(part.1));
    let mut tokenizer = made::tokenizer();
    let values: Vec<&Value> = parts.iter().map(|part| &part.0).collect();
    if count > 0 {
        tokenizer["normalizer"] = json!({ "type": "Sequence", "normalizers": values });
    }
    if splits > 0 {
        tokenizer["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": vec![&split; splits] });
    }
    made::write_small(&stage.folder.join("f"), 64, 1, &tokenizer, "t")?;
    let unit = random.pick(&["x", "a", "x ", "ab", "\u{fdfa}", "\u{130}", " ", "!"]);
    let length = random.pick(&[1, 1000, 100_000, 1_000_000]);
    let text = unit.repeat(length / unit.len() + 1);
    let path = stage.folder.join("t.txt");
    fs::write(&path, format!("b{text}b\n")).map_err(|error| shown(&path, error))?;
    let is_plain = count <= 5 && growth <= 2 && splits == 0 && length <= 1000;
    Ok(Drawn {
        arguments: words("embed f --texts-file t.txt"),
        expected: if is_plain { Verdict::Done } else { Verdict::Either },
        seconds: 2,
        megabytes: 300,
        disk: 4,
        detail: format!(
            "{count} normalizers such as {}, {splits} of {split}, {} bytes of `{}`",
            cut(&first.0.to_string()),
            text.len(),
            unit.escape_unicode()
        ),
        ..Drawn::default()
    })
}

fn normalizer(random: &mut Random) -> Part {
    let times = random.pick(&[0, 1, 2, 16, 256, 4096]);
    let from = random.pick(&["x", "y", "a", " "]);
    match random.below(8) {
        0 | 1 => {
            let replace = json!({
                "type": "Replace", "pattern": { "String": from }, "content": "y".repeat(times),
            });
            (replace, times.max(1))
        }
        2 => (json!({ "type": "Prepend", "prepend": "x".repeat(times.max(1)) }), times.max(1)),
        3 => (json!({ "type": "ByteLevel" }), 2),
        4 => (json!({ "type": "NFKD" }), 3),
        5 => (json!({ "type": "Lowercase" }), 1),
        6 => (json!({ "type": "Strip", "strip_left": true, "strip_right": true }), 1),
        _ => {
            let pattern = random.pick(&["x", "x+", "[a-z]", "(a|b)*b", r"\s{0,9}", "(?:x?){9}"]);
            let replace = json!({
                "type": "Replace", "pattern": { "Regex": pattern }, "content": "y".repeat(times),
            });
            (replace, 2 * times.max(1))
        }
    }
}

fn pre_tokenizer(random: &mut Random) -> Value {
    let pattern = random.pick(&["x", "[a-z]{30}", r"[\p{L}\p{N}]{30}", r"\p{L}+|\s+(?!\S)", "(x+)+b"]);
    match random.below(3) {
        0 => {
            json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true })
        }
        1 => {
            json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true })
        }
        _ => {
            let behavior = random.pick(&["Isolated", "Removed", "MergedWithNext"]);
            json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": behavior, "invert": false })
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
