//! Tables in documents that repeat what the source says.

use std::collections::BTreeSet;

use clipway_formats::CODES;

use super::files::{Document, Source};

/// Compares the tables of operations, towers and codes with the source.
pub fn tables(sources: &[Source], documents: &[Document]) -> Vec<String> {
    let graph = "crates/clipway-model/src/graph/operation.rs";
    let clip = "crates/clipway-model/src/architecture/clip.rs";
    let timm = "crates/clipway-model/src/architecture/timm/mod.rs";
    let source = |path: &str| {
        sources.iter().find(|source| source.path == path).map_or("", |source| source.text.as_str())
    };
    let families = declared(source(timm), "FAMILIES").into_iter().map(|name| format!("timm::{name}"));
    let towers = ["IMAGE_TOWERS", "TEXT_TOWERS"].iter().flat_map(|table| declared(source(clip), table));
    let codes = CODES.iter().map(|(code, meaning)| format!("{code} | {meaning}")).collect();
    [
        ("docs/operations.md", variants(source(graph), "Operation"), 1),
        ("docs/towers.md", towers.chain(families).collect(), 1),
        ("docs/errors.md", codes, 2),
    ]
    .into_iter()
    .flat_map(|(path, expected, columns)| {
        let text = documents.iter().find(|document| document.path == path);
        let text = text.map_or("", |document| document.text.as_str());
        compare(path, &expected, &rows(text, columns))
    })
    .collect()
}

fn compare(path: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<String> {
    if expected.is_empty() {
        return vec![format!("{path}: the source of its table was not found")];
    }
    let missing = expected.difference(found).map(|name| format!("{path}: `{name}` is missing"));
    let left_over = found.difference(expected).map(|name| format!("{path}: `{name}` is not in the source"));
    missing.chain(left_over).collect()
}

/// Returns the first columns of the rows that start with a name in backquotes.
fn rows(text: &str, columns: usize) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").take(columns).collect::<Vec<_>>().join(" | ").replacen('`', "", 1))
        .collect()
}

/// Returns the names of an enum's variants.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    let Some((_, body)) = text.split_once(&format!("pub enum {name} {{\n")) else { return BTreeSet::new() };
    let body = body.split("\n}").next().unwrap_or_default();
    let names = body.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let name: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        name.starts_with(|c: char| c.is_uppercase()).then_some(name)
    });
    names.collect()
}

/// Returns the modules whose `declare` is in a table.
fn declared(text: &str, table: &str) -> BTreeSet<String> {
    let Some((_, body)) = text.split_once(&format!("const {table}:")) else { return BTreeSet::new() };
    let body = body.split("\n];").next().unwrap_or_default();
    let parts = body.split("declare: ").skip(1).filter_map(|part| part.split_once("::declare"));
    parts.map(|(module, _)| module.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let text = "pub enum Operation {\n    /// Doc.\n    Pixels,\n    Pool {\n        /// How.\n        Kind: u8,\n    },\n}\n";
        let names: Vec<String> = variants(text, "Operation").into_iter().collect();
        assert_eq!(names, ["Pixels", "Pool"]);
        let text = "const T: &[K] = &[\n    K { fits: a::fits, declare: a::declare },\n    K { declare: b::declare },\n];\n";
        assert_eq!(declared(text, "T").into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let document = "| name | what |\n| --- | --- |\n| `a` | first |\n| `b-c` | second |\n";
        assert_eq!(rows(document, 1).into_iter().collect::<Vec<_>>(), ["a", "b-c"]);
        assert_eq!(rows(document, 2).into_iter().collect::<Vec<_>>(), ["a | first", "b-c | second"]);
    }

    #[test]
    fn what_differs_is_found() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(compare("d", &set(&["a", "b"]), &set(&["a", "b"])).is_empty());
        assert_eq!(compare("d", &set(&["a", "b"]), &set(&["b", "c"])).len(), 2);
        assert_eq!(compare("d", &set(&[]), &set(&[])).len(), 1);
        assert_eq!(tables(&[], &[]).len(), 2 + CODES.len());
    }
}
