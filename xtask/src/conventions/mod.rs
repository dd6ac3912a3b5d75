//! Conventions that the compiler does not check: errors, tables and links in documents, plain English.

mod errors;
mod files;
mod links;
mod tables;
mod words;

use std::path::Path;

use crate::demo::root;
use files::{Document, Source};

/// Folders whose Rust files are read.
const FOLDERS: [&str; 4] = ["crates", "xtask/src", "fuzz/src", "fuzz/targets"];

/// Checks every convention; returns false if one is broken.
pub fn run() -> Result<bool, String> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        read(&root().join(folder), &mut sources)?;
    }
    let documents = documents()?;
    let words = words::words(&sources, &documents);
    let program: Vec<Source> =
        sources.into_iter().filter(|source| !source.path.starts_with("xtask")).collect();
    let checks = [
        ("codes", errors::codes(&program)),
        ("errors", errors::enums(&program)),
        ("tables", tables::tables(&program, &documents)),
        ("links", links::links(&documents, |path| root().join(path).exists())),
        ("words", words),
    ];
    let mut good = true;
    for (name, wrong) in checks {
        println!("{name}: {}", if wrong.is_empty() { "ok" } else { "WRONG" });
        wrong.iter().for_each(|line| println!("  {line}"));
        good &= wrong.is_empty();
    }
    Ok(good)
}

/// Reads the documents in the root and in `docs`.
fn documents() -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    for folder in ["", "docs"] {
        let folder = root().join(folder);
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "md") {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                documents.push(Document { path, text });
            }
        }
    }
    documents.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(documents)
}

/// Reads every Rust file in a folder, except in build folders.
fn read(folder: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            read(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
