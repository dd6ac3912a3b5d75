//! Cycles of files: at most four source files of a crate may depend on each other.
//!
//! A file depends on another when it names something that the other defines. Names are read from tokens, so those in
//! macros count and those in comments do not. The rule for a path:
//!
//! - It starts at `crate`, `self`, `super`, a child module, or a name that a `use` of the same file brings in.
//! - It is followed through modules as far as they go. The next name is looked up in that module's file: if it is
//!   defined there, the edge goes to that file; if a `use` brings it in (this is how re-exports are written), the
//!   lookup continues where that `use` points.
//! - The bare name of a module, and a `use` or `pub use` that nothing else in the file uses, are not edges: a re-export
//!   passes a name on without depending on it.
//!
//! `#[cfg(test)]` items and test files are ignored, and methods are not followed: a call on a value depends on the file
//! of its type only if the type is named.

mod components;
mod names;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::TokenStream;

use crate::demo::root;
use components::components;
use names::{Names, read_names};

/// Maximum number of files that may depend on each other.
const LIMIT: usize = 4;

/// Finds the cycles of every crate; returns false if one has more files than [`LIMIT`].
pub fn run() -> Result<bool, String> {
    let mut folders = vec![root().join("xtask")];
    let crates = root().join("crates");
    for entry in std::fs::read_dir(&crates).map_err(|error| format!("{}: {error}", crates.display()))? {
        folders.push(entry.map_err(|error| error.to_string())?.path());
    }
    folders.sort();
    let mut good = true;
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = read_crate(&folder.join("src"))?;
        if files.is_empty() {
            return Err(format!("{name}: there are no source files"));
        }
        let circles = circles(&files);
        let largest = circles.first().map_or(1, Vec::len);
        println!("{name}: {} files, the largest cycle has {largest}", files.len());
        for circle in circles.iter().filter(|circle| circle.len() > LIMIT) {
            good = false;
            println!("  {} files depend on each other; the limit is {LIMIT}:", circle.len());
            for (path, needs) in circle {
                println!("    {path} needs {}", needs.join(", "));
            }
        }
    }
    Ok(good)
}

/// One source file: its path within `src`, its module and its tokens.
struct Source {
    path: String,
    module: Vec<String>,
    tokens: TokenStream,
}

/// Reads every file of a crate except those that only tests see.
fn read_crate(src: &Path) -> Result<Vec<Source>, String> {
    let mut paths = Vec::new();
    collect(src, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(src).map_err(|error| error.to_string())?;
        let path = relative.to_string_lossy().replace('\\', "/");
        let module = module_of(&path);
        if module.iter().any(|part| part == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(src.join(relative)).map_err(|error| format!("{path}: {error}"))?;
        let tokens = TokenStream::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
        files.push(Source { path, module, tokens });
    }
    Ok(files)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Returns the module of a file: `a/b.rs` and `a/b/mod.rs` are `a::b`, and `lib.rs` and `main.rs` are the crate itself.
fn module_of(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// A cycle: each file, with the files of the cycle that it depends on.
type Circle = Vec<(String, Vec<String>)>;

/// Returns the cycles of two or more files, largest first.
fn circles(files: &[Source]) -> Vec<Circle> {
    let needs = edges(files);
    let mut circles: Vec<Circle> = components(&needs)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            let within = |file: &usize| needs[file].iter().filter(|other| component.contains(other));
            let mut circle: Circle = component
                .iter()
                .map(|file| {
                    let others = within(file).map(|other| files[*other].path.clone()).collect();
                    (files[*file].path.clone(), others)
                })
                .collect();
            circle.sort();
            circle
        })
        .collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

/// Returns the files that each file depends on, by index.
fn edges(files: &[Source]) -> BTreeMap<usize, BTreeSet<usize>> {
    let tree = Tree {
        by_module: files.iter().enumerate().map(|(index, file)| (file.module.clone(), index)).collect(),
        names: files.iter().map(|file| read_names(file.tokens.clone())).collect(),
        modules: files.iter().map(|file| file.module.clone()).collect(),
    };
    let mut needs = BTreeMap::new();
    for (index, names) in tree.names.iter().enumerate() {
        let mut found = BTreeSet::new();
        let globbed = names.globs.iter().filter_map(|path| tree.module(index, path));
        found.extend(globbed);
        for path in &names.named {
            found.extend(tree.resolve(index, path, 0));
        }
        found.remove(&index);
        needs.insert(index, found);
    }
    needs
}

/// All files of a crate, by module.
struct Tree {
    by_module: HashMap<Vec<String>, usize>,
    names: Vec<Names>,
    modules: Vec<Vec<String>>,
}

impl Tree {
    /// Returns the file of a path that names a module, as seen from `file`.
    fn module(&self, file: usize, path: &[String]) -> Option<usize> {
        self.by_module.get(&self.absolute(file, path)?).copied()
    }

    /// Returns a path from the crate's root; `None` if it starts outside the crate.
    fn absolute(&self, file: usize, path: &[String]) -> Option<Vec<String>> {
        let mut module = self.modules[file].clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                module.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    module.pop()?;
                    rest = &rest[1..];
                }
            }
            child => {
                module.push(child.to_owned());
                if !self.by_module.contains_key(&module) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        module.extend_from_slice(rest);
        Some(module)
    }

    /// Returns the file that defines what a path names, as seen from `file`.
    fn resolve(&self, file: usize, path: &[String], depth: usize) -> Option<usize> {
        if depth > 16 {
            return None;
        }
        let first = path.first()?;
        let local = !matches!(first.as_str(), "crate" | "self" | "super");
        if local {
            if self.names[file].defined.contains(first) {
                return Some(file);
            }
            if let Some(target) = self.names[file].used.get(first) {
                // A name imported under itself starts outside the crate.
                if target.first() == Some(first) && self.absolute(file, target).is_none() {
                    return None;
                }
                let mut whole = target.clone();
                whole.extend_from_slice(&path[1..]);
                return self.resolve(file, &whole, depth + 1);
            }
        }
        let Some(absolute) = self.absolute(file, path) else {
            let through = |glob: &Vec<String>| {
                let module = self.module(file, glob)?;
                self.resolve(module, path, depth + 1)
            };
            return if local { self.names[file].globs.iter().find_map(through) } else { None };
        };
        // The longest prefix that is a module, and the name after it.
        let length = (0..=absolute.len()).rev().find(|&n| self.by_module.contains_key(&absolute[..n]))?;
        let module = self.by_module[&absolute[..length]];
        let rest = &absolute[length..];
        match rest.first() {
            None => None,
            Some(name) if self.names[module].defined.contains(name) => Some(module),
            Some(_) if module == file && length == self.modules[file].len() && local => None,
            Some(_) => self.resolve(module, rest, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(files: &[(&str, &str)]) -> usize {
        let files: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source {
                path: (*path).to_owned(),
                module: module_of(path),
                tokens: text.parse().unwrap(),
            })
            .collect();
        circles(&files).first().map_or(1, Vec::len)
    }

    #[test]
    fn circles_are_found() {
        // Directly, through a re-export, through a module's name, in a macro and through a glob.
        let direct = [("a.rs", "use crate::b::B; struct A(B);"), ("b.rs", "struct B(crate::a::A);")];
        assert_eq!(largest(&direct), 2);
        let lib = ("lib.rs", "mod a; mod b; pub use b::B as Other;");
        let re_exported = [lib, ("a.rs", "use crate::Other; struct A(Other);"), direct[1]];
        assert_eq!(largest(&re_exported), 2);
        let by_module = [
            ("a.rs", "use crate::b; fn f() { b::make() } struct A;"),
            ("b.rs", "fn make() -> super::a::A {}"),
        ];
        assert_eq!(largest(&by_module), 2);
        let in_macro = [("a.rs", "fn f() { vec![crate::b::B] } struct A;"), direct[1]];
        assert_eq!(largest(&in_macro), 2);
        let glob = [("a.rs", "use crate::b::*; struct A(B);"), direct[1]];
        assert_eq!(largest(&glob), 2);
        let child = [("m/mod.rs", "mod c; struct M(c::C);"), ("m/c.rs", "use super::M; struct C(Box<M>);")];
        assert_eq!(largest(&child), 2);
        let five = [
            ("a.rs", "struct A(crate::b::B);"),
            ("b.rs", "struct B(crate::c::C);"),
            ("c.rs", "struct C(crate::d::D);"),
            ("d.rs", "struct D(crate::e::E);"),
            ("e.rs", "struct E(crate::a::A);"),
        ];
        assert_eq!(largest(&five), 5);
        assert_eq!(largest(&five[..4]), 1);
    }

    #[test]
    fn what_is_no_need_is_no_edge() {
        let other = ("b.rs", "struct B(crate::a::A);");
        for text in [
            "struct A; // crate::b::B",
            "pub use crate::b::B; struct A;",
            "use crate::b; struct A;",
            "struct A; #[cfg(test)] mod tests { use crate::b::B; fn f(b: B) {} }",
            "use other::B; struct A(B);",
            "struct A; fn f() { \"crate::b::B\"; }",
            "struct A; fn f() -> &'static B { panic!() }",
        ] {
            assert_eq!(largest(&[("a.rs", text), other]), 1, "{text}");
        }
    }
}
