//! Errors: one list of codes; each cause stated once; public enums that can grow; hints only in the program.

use std::collections::BTreeSet;

use clipway_formats::{CODES, Code};
use proc_macro2::{TokenStream, TokenTree};

use super::files::Source;

/// Compares the codes of the source with [`CODES`].
pub fn codes(sources: &[Source]) -> Vec<String> {
    let mut used: BTreeSet<String> = Code::ALL.iter().map(|code| code.name().to_owned()).collect();
    for source in sources.iter().filter(|source| !source.is_test()) {
        match source.text.parse() {
            Ok(tokens) => collect(tokens, &mut used),
            Err(error) => return vec![format!("{}: {error}", source.path)],
        }
    }
    let listed: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    let missing = used.difference(&listed).map(|code| format!("`{code}` is not in `CODES`"));
    let unused = listed.difference(&used).map(|code| format!("nothing uses `{code}` of `CODES`"));
    let order = CODES.windows(2).filter(|pair| pair[0].0 >= pair[1].0);
    let order = order.map(|pair| format!("`{}` is out of order in `CODES`", pair[1].0));
    missing.chain(unused).chain(order).collect()
}

/// Collects the literals of every `fn code`, and the first of every `Failure::no`, `Failure::could_not_run` and
/// `TowerError::new`.
fn collect(tokens: TokenStream, used: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut is_code = false;
    for (at, token) in tokens.iter().enumerate() {
        let before =
            |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at)).map(ToString::to_string);
        match token {
            TokenTree::Ident(name) if name == "code" && before(1).as_deref() == Some("fn") => is_code = true,
            TokenTree::Group(group) => {
                let path = [4, 1].map(|back| before(back).unwrap_or_default());
                let makes = [("Failure", "no"), ("Failure", "could_not_run"), ("TowerError", "new")];
                if makes.contains(&(path[0].as_str(), path[1].as_str())) {
                    used.extend(group.stream().into_iter().next().and_then(|token| literal(&token)));
                }
                if is_code && group.delimiter() == proc_macro2::Delimiter::Brace {
                    literals(group.stream(), used);
                    is_code = false;
                }
                collect(group.stream(), used);
            }
            _ => {}
        }
    }
}

fn literals(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match &token {
            TokenTree::Group(group) => literals(group.stream(), found),
            _ => found.extend(literal(&token)),
        }
    }
}

fn literal(token: &TokenTree) -> Option<String> {
    let text = token.to_string();
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.to_owned())
}

/// Checks the error enums of libraries.
pub fn enums(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Source { path, text } in sources.iter().filter(|source| source.is_library()) {
        wrong.extend(causes(text).into_iter().map(|message| format!("{path}: {message}")));
        for (at, _) in text.match_indices("\npub enum ") {
            let name: String =
                text[at + "\npub enum ".len()..].chars().take_while(|c| c.is_alphanumeric()).collect();
            let is_generic = text[at + "\npub enum ".len() + name.len()..].starts_with('<');
            if name.ends_with("Error") && !is_generic && !text[..at].ends_with("#[non_exhaustive]") {
                wrong.push(format!("{path}: `{name}` is not `#[non_exhaustive]`"));
            }
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        for line in lines.filter(|line| line.contains("--") || line.contains("`clipway ")) {
            let names_option =
                line.split("--").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            if line.contains('"') && (names_option || line.contains("`clipway ")) {
                wrong.push(format!("{path}: a library's message names an option or a command: {line}"));
            }
        }
    }
    wrong
}

/// Lists variants whose message repeats their source or contains a code.
fn causes(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in text.split("#[error(").skip(1) {
        // The variant ends where the next one's attributes start, or at the end of the enum.
        let end = part.find("\n}").unwrap_or(part.len());
        let part = &part[..end];
        let message = part.split(")]").next().unwrap_or_default();
        let has_source = part.contains("#[source]") || part.contains("#[from]") || part.contains(" source: ");
        let repeats = ["{cause}", "{source}", "{0}"].iter().any(|field| message.contains(field));
        if has_source && repeats {
            wrong.push(format!("a message repeats its source: {}", message.trim()));
        }
        if message.contains(" [") && message.trim_end_matches('"').ends_with(']') && !message.contains("[{") {
            wrong.push(format!("a message has a code in it: {}", message.trim()));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(text: &str) -> Vec<Source> {
        vec![Source { path: "crates/clipway-model/src/x.rs".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn codes_are_found() {
        let mut used = BTreeSet::new();
        let text = r#"impl E { pub fn code(&self) -> &'static str { match self { E::A => "a-b", E::B => "c" } } }
            fn f() { Failure::no("d", "text"); Failure::could_not_run("e", g("h")); TowerError::new("i", x) }
            fn g() -> &'static str { "not-one" }"#;
        collect(text.parse().unwrap(), &mut used);
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a-b", "c", "d", "e", "i"]);
        let added = codes(&library("fn code() { \"no-such-code\" }"));
        assert!(added.contains(&"`no-such-code` is not in `CODES`".to_owned()), "{added:?}");
        assert!(added.contains(&"nothing uses `exists` of `CODES`".to_owned()), "{added:?}");
    }

    #[test]
    fn wrong_errors_are_found() {
        let good = "#[non_exhaustive]\npub enum AError {\n    #[error(\"x: {cause}\")]\n    X { cause: B },\n    \
                    #[error(\"y\")]\n    Y { #[source] cause: B },\n}\n";
        assert_eq!(enums(&library(&format!("\n{good}"))), Vec::<String>::new());
        for (bad, count) in [
            ("\npub enum AError {\n}\n", 1),
            ("\n#[error(\"x: {cause}\")]\n    X { #[source] cause: B },\n}\n", 1),
            ("\n#[error(\"{0}\")]\n    X(#[from] B),\n}\n", 1),
            ("\n#[error(\"`{x}`: bad [path-escape]\")]\n    X,\n}\n", 1),
            ("\nlet hint = \"pass `--force`\";\n", 1),
            ("\nlet hint = \"`clipway models` lists them\";\n", 1),
            ("\n// pass `--force`\nlet x = a - -b;\n", 0),
        ] {
            assert_eq!(enums(&library(bad)).len(), count, "{bad}");
        }
    }
}
