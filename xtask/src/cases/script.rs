//! What must hold for a case that nothing describes, from the export in its `run.sh`: right by the reference that `make.py`
//! leaves as `ref.safetensors`, or refused with a code. Wrong and silent is the one thing that fails.

use std::path::Path;

use super::judge::{Embed, Judge, Refused, Step};

/// The reference that the cases' shared module writes.
const REFERENCE: &str = "ref.safetensors";

/// The steps for the first export of a script; `None` where there is none.
pub fn derived(folder: &Path) -> Option<Judge> {
    let script = std::fs::read_to_string(folder.join("run.sh")).ok()?;
    let arguments = script.lines().find_map(export)?;
    let (source, options) = arguments.split_first()?;
    let embed = Embed {
        source: source.clone(),
        options: options.to_vec(),
        reference: REFERENCE.to_owned(),
        text_key: None,
        image_key: None,
        texts: None,
        images: None,
        cosine: super::judge::least(),
    };
    let refused = [&["export".to_owned()][..], &arguments, &["--out".to_owned(), "out".to_owned()]].concat();
    let refused = Refused { arguments: refused, code: None, says: Vec::new() };
    let steps = vec![Step::Either(vec![vec![Step::Export(embed)], vec![Step::Refused(refused)]])];
    let note = Some("derived from `run.sh`: right or refused".to_owned());
    Some(Judge { note, fast: false, copies: Default::default(), writes: Default::default(), steps })
}

/// The source and the options of an export in a line of a script, without `--out` and `--force`.
fn export(line: &str) -> Option<Vec<String>> {
    let (_, rest) = line.split_once("$C export ")?;
    let mut kept = Vec::new();
    let command = rest.split([';', '|', '>']).next().unwrap_or_default();
    let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    while let Some(word) = words.next() {
        match word {
            "--out" => _ = words.next(),
            "--force" | "" => {}
            // What is left of `2>&1`.
            "2" => break,
            // What the shell would have to work out is not followed.
            _ if word.contains('$') => return None,
            _ => kept.push(word.to_owned()),
        }
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_of_a_script_is_found() {
        let check = |line: &str, expected: Option<&[&str]>| {
            let found = export(line);
            let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(found, expected, "{line}");
        };
        check("$P make.py; $C inspect a.pt", None);
        check(
            "echo x; $C export last.ckpt --model tiny.json --out out --force 2>&1 | head -40",
            Some(&["last.ckpt", "--model", "tiny.json"]),
        );
        check("$P make.py; $C export \"ft\" --out out --force; echo rc $?", Some(&["ft"]));
        check("$C export $d --out out", None);
    }
}
