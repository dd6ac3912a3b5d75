//! Files beside those of a model whose names some file systems and some readers take for the same.

use std::collections::BTreeSet;
use std::fs;

use super::case::{Drawn, OUT, Stage, Verdict, words};
use super::{copy, listing};
use crate::made::{self, shown};
use crate::random::Random;

/// What becomes of a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Upper,
    /// The first letter alone.
    Capital,
    /// A full stop at the end, which Windows drops.
    Stop,
    /// A space at the end, which Windows drops.
    Space,
    /// A stream of the file, on Windows.
    Stream,
    /// `ı` without its dot in place of `i`, which is `I` in capitals.
    Dotless,
    /// An invisible character in front.
    Invisible,
    /// A Cyrillic `о` in place of `o`.
    Lookalike,
    /// A name of a device on Windows.
    Device,
}

const NAMES: [Name; 9] = [
    Name::Upper,
    Name::Capital,
    Name::Stop,
    Name::Space,
    Name::Stream,
    Name::Dotless,
    Name::Invisible,
    Name::Lookalike,
    Name::Device,
];

impl Name {
    fn of(self, name: &str) -> String {
        match self {
            Name::Upper => name.to_uppercase(),
            Name::Capital => name[..1].to_uppercase() + &name[1..],
            Name::Stop => format!("{name}."),
            Name::Space => format!("{name} "),
            Name::Stream => format!("{name}::$DATA"),
            Name::Dotless => name.replace('i', "ı"),
            Name::Invisible => format!("\u{200b}{name}"),
            Name::Lookalike => name.replace('o', "о"),
            Name::Device => "con.json".to_owned(),
        }
    }
}

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let folder = stage.folder.join("f");
    let is_artifact = random.below(2) == 0;
    if is_artifact {
        copy(stage.exported, &folder)?;
    } else {
        made::write_small(&folder, 64, 1, &made::tokenizer(), "t")?;
    }
    let mut names = listing(&folder)?;
    names.sort();
    let own = names[random.below(names.len())].clone();
    let change = random.pick(&NAMES);
    let other = change.of(&own);
    let is_new = !names.contains(&other);
    // Contents that would be another model, if they were taken for the file.
    let path = folder.join(&other);
    if is_new {
        fs::write(&path, r#"{"embed_dim": 3}"#).map_err(|error| shown(&path, error))?;
    }
    let verifies = is_artifact && random.below(2) == 0;
    let command = if verifies { "verify f".to_owned() } else { format!("export f --out {OUT} --no-verify") };
    let expected = match is_new && is_artifact {
        // The artifact does not list it.
        true => Verdict::Refused(&["unlisted"]),
        false => Verdict::Done,
    };
    let out = stage.folder.join(OUT);
    let after = move |done: bool| {
        if !done || !out.is_dir() {
            return Ok(Vec::new());
        }
        let names = listing(&out)?;
        let folded: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let mut problems = Vec::new();
        if folded.len() < names.len() {
            problems.push(format!("names of the output differ by case alone: {names:?}"));
        }
        if names.contains(&other) {
            problems.push(format!("the output holds `{}`", other.escape_default()));
        }
        Ok(problems)
    };
    Ok(Drawn {
        arguments: words(&command),
        expected,
        seconds: 3,
        megabytes: 400,
        disk: 60,
        detail: format!(
            "{change:?} beside `{own}` of {}",
            if is_artifact { "an artifact" } else { "a source" }
        ),
        after: Some(Box::new(after)),
        ..Drawn::default()
    })
}
