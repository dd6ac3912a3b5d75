//! Spelling and wording of comments, messages and documents: American, natural, one word for each thing.

use super::files::{Document, Source};

/// Spellings and phrases that were fixed once, with their replacements. Each is searched for in lowercase.
const BANNED: [(&str, &str); 39] = [
    ("tokenis", "tokeniz…"),
    ("normalis", "normaliz…"),
    ("licence", "license"),
    ("quantis", "quantiz…"),
    ("colour", "color"),
    ("recognis", "recogniz…"),
    ("initialis", "initializ…"),
    ("serialis", "serializ…"),
    ("vectoris", "vectoriz…"),
    ("optimis", "optimiz…"),
    ("neighbour", "neighbor"),
    ("favour", "favor"),
    ("is had", "is available"),
    ("be had", "be available"),
    ("is told", "is reported"),
    ("are told", "are reported"),
    ("that is there", "existing"),
    ("the first so many", "the first `n`"),
    ("is proved to", "is verified to"),
    ("no layout that is known", "no known layout"),
    ("this key is not known", "unknown key"),
    ("do not tell", "do not show"),
    ("not a picture", "not an image"),
    ("behaviour", "behavior"),
    ("centre", "center"),
    ("white space", "whitespace"),
    ("is known from", "its origin is"),
    ("are known from", "their origin is"),
    ("a user must know", "a user should know"),
    ("stable name of the cause", "stable code of the error"),
    ("comes twice", "is a duplicate"),
    ("come twice", "are duplicates"),
    ("are those of", "match"),
    ("in the place of", "instead of"),
    ("does not pass its verification", "failed verification"),
    ("was taken, because", "was used, because"),
    ("are one place", "overlap"),
    ("the others go on", "the rest continue"),
    ("of no known", "of unknown"),
];

/// Exceptions: spellings that belong to someone else, such as a key of transformers.
const FOREIGN: [&str; 3] = ["--licence", "\"licence\"", "legacy_behaviour"];

/// Lists the lines of Rust files and documents that contain a banned phrase.
pub fn words(sources: &[Source], documents: &[Document]) -> Vec<String> {
    let sources = sources.iter().filter(|source| !source.path.starts_with("xtask/src/conventions"));
    let sources = sources.map(|source| (&source.path, &source.text));
    let documents = documents.iter().map(|document| (&document.path, &document.text));
    sources.chain(documents).flat_map(|(path, text)| banned(path, text)).collect()
}

fn banned(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        if FOREIGN.iter().any(|foreign| line.contains(foreign)) {
            continue;
        }
        for (phrase, instead) in BANNED.iter().filter(|(phrase, _)| line.contains(phrase)) {
            found.push(format!("{path}:{}: `{phrase}`; write `{instead}`", number + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_phrases_are_found() {
        let text =
            "/// The Tokeniser.\nlet plain = 1;\n// The weights that is there\n#[arg(alias = \"licence\")]\n";
        let found = banned("a.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:1: `tokenis`"), "{found:?}");
        assert!(found[1].starts_with("a.rs:3: `that is there`"), "{found:?}");
    }
}
