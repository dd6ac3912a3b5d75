//! What a source file defines, imports and names, read from its tokens.

use std::collections::{BTreeSet, HashMap};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a file defines, imports and names.
#[derive(Default)]
pub struct Names {
    pub defined: BTreeSet<String>,
    /// Each name that a `use` introduces, with its path.
    pub used: HashMap<String, Vec<String>>,
    /// Paths of `use …::*`, which import every name.
    pub globs: Vec<Vec<String>>,
    /// Every path outside `use`, single names included.
    pub named: BTreeSet<Vec<String>>,
}

/// Reads what a file defines, imports and names.
pub fn read_names(tokens: TokenStream) -> Names {
    let mut names = Names::default();
    walk(tokens, &mut names);
    names
}

const DEFINING: [&str; 10] =
    ["fn", "struct", "enum", "trait", "const", "static", "type", "union", "macro_rules", "mod"];

fn walk(tokens: TokenStream, names: &mut Names) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let skipped = attribute(&tokens, at);
                at = if skipped { end_of_item(&tokens, at + 2) } else { at + 1 };
            }
            // A lifetime's name; `'static` defines nothing.
            TokenTree::Punct(punct) if punct.as_char() == '\'' => at += 2,
            TokenTree::Group(group) => {
                walk(group.stream(), names);
                at += 1;
            }
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                if word == "use" {
                    let end = end_of_item(&tokens, at);
                    read_use(&tokens[at + 1..end], &[], names);
                    at = end;
                } else if DEFINING.contains(&word.as_str()) {
                    at += 1 + usize::from(is_punct(tokens.get(at + 1), '!'));
                    if let Some(TokenTree::Ident(name)) = tokens.get(at) {
                        // `mod name;` is a separate file; `mod name { … }` is part of this one.
                        if word != "mod" || !is_punct(tokens.get(at + 1), ';') {
                            names.defined.insert(name.to_string());
                        }
                        at += 1;
                    }
                } else {
                    let (path, end) = read_path(&tokens, at);
                    names.named.insert(path);
                    at = end;
                }
            }
            _ => at += 1,
        }
    }
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

/// Returns whether the attribute at `at` is `#[cfg(test)]`.
fn attribute(tokens: &[TokenTree], at: usize) -> bool {
    match tokens.get(at + 1) {
        Some(TokenTree::Group(group)) => group.stream().to_string().replace(' ', "") == "cfg(test)",
        _ => false,
    }
}

/// Returns the end of an item: after its `;` or its braces.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    let is_use = matches!(&tokens[at], TokenTree::Ident(ident) if ident == "use");
    while at < tokens.len() {
        let is_end = match &tokens[at] {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => !is_use && group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        at += 1;
        if is_end {
            break;
        }
    }
    at
}

/// Reads `a::b::c`; generic arguments end it.
fn read_path(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        path.push(ident.to_string());
        at += 1;
        if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// Reads the tree of a `use`.
fn read_use(tokens: &[TokenTree], prefix: &[String], names: &mut Names) {
    for tree in tokens.split(|token| is_punct(Some(token), ',')) {
        let mut path = prefix.to_vec();
        let mut alias = None;
        let mut at = 0;
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Ident(ident) if ident == "as" => {
                    alias = tree.get(at + 1).map(ToString::to_string);
                    at += 1;
                }
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    read_use(&inner, &path, names);
                    path.clear();
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    names.globs.push(std::mem::take(&mut path));
                }
                _ => {}
            }
            at += 1;
        }
        if path.len() > prefix.len() && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(last) = path.last() {
            let name = alias.unwrap_or_else(|| last.clone());
            names.used.insert(name, path);
        }
    }
}
