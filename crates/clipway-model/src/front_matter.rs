//! The front matter of a model card: YAML between two lines of `---`, at the top of `README.md`.
//!
//! Read strictly: top-level keys, each with a scalar on one line or a list of such scalars. Values of any other form stay
//! as they are, as text, and so does everything that is not changed.

use std::fmt::Write as _;

use clipway_formats::is_invisible;

/// Front matter, key by key in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontMatter {
    /// Comments and blank lines before the first key.
    before: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: String,
    /// Its lines, with their ends.
    text: String,
    value: Value,
}

/// A value of front matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar.
    Scalar(String),
    /// A list of scalars.
    List(Vec<String>),
    /// Nothing: an empty value or `null`.
    Null,
    /// Anything else.
    Other,
}

/// Front matter that is not `key: value` line by line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the front matter {cause}")]
pub struct FrontMatterError {
    /// Number of the line in the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: &'static str,
}

/// Splits a card into its front matter, if it has one, and the text below it.
///
/// # Errors
/// Front matter that is not `key: value` line by line, or has a key twice.
pub fn split(card: &str) -> Result<(Option<FrontMatter>, &str), FrontMatterError> {
    let text = card.strip_prefix('\u{feff}').unwrap_or(card);
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "---" {
        return Ok((None, card));
    }
    let mut end = first.len();
    let mut inside = Vec::new();
    for line in lines {
        end += line.len();
        if line.trim_end() == "---" {
            return Ok((Some(FrontMatter::read(&inside)?), &text[end..]));
        }
        inside.push(line);
    }
    Ok((None, card))
}

impl FrontMatter {
    fn read(lines: &[&str]) -> Result<FrontMatter, FrontMatterError> {
        let mut found = FrontMatter::default();
        for (index, line) in lines.iter().enumerate() {
            let refuse = |cause| FrontMatterError { line: index + 2, cause };
            let start = line.chars().next().unwrap_or('\n');
            if start.is_whitespace() || start == '#' || line.starts_with("- ") || line.trim_end() == "-" {
                match found.entries.last_mut() {
                    Some(entry) => entry.text.push_str(line),
                    None if start != '-' && (start == '#' || line.trim().is_empty()) => {
                        found.before.push_str(line);
                    }
                    None => return Err(refuse("belongs to no key")),
                }
                continue;
            }
            let (key, rest) = line.split_once(':').ok_or(refuse("is not `key: value`"))?;
            let is_plain =
                key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) && !key.is_empty();
            if !is_plain || !rest.starts_with(char::is_whitespace) && !rest.is_empty() {
                return Err(refuse("is not `key: value`"));
            }
            if found.get(key).is_some() {
                return Err(refuse("repeats a key"));
            }
            found.entries.push(Entry { key: key.to_owned(), text: (*line).to_owned(), value: Value::Other });
        }
        for entry in &mut found.entries {
            entry.value = value_of(&entry.text[entry.key.len() + 1..]);
        }
        Ok(found)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text of a key whose value is one scalar, or a list of one.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Scalar(text) => Some(text),
            Value::List(items) if items.len() == 1 => items.first().map(String::as_str),
            _ => None,
        }
    }

    /// Sets a key to a scalar, in its place if it exists and otherwise at the end.
    pub fn set(&mut self, key: &str, value: &str) -> &mut FrontMatter {
        let text = format!("{key}: {}\n", scalar(value));
        self.put(Entry { key: key.to_owned(), text, value: Value::Scalar(value.to_owned()) })
    }

    /// Sets a key to a list.
    pub fn set_list(&mut self, key: &str, items: &[String]) -> &mut FrontMatter {
        let mut text = format!("{key}:\n");
        items.iter().for_each(|item| _ = writeln!(text, "- {}", scalar(item)));
        self.put(Entry { key: key.to_owned(), text, value: Value::List(items.to_vec()) })
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) -> &mut FrontMatter {
        self.entries.retain(|entry| entry.key != key);
        self
    }

    /// Adds the keys of `other` that this front matter lacks or leaves empty, as they are there.
    pub fn complete(&mut self, other: &FrontMatter) -> &mut FrontMatter {
        for entry in &other.entries {
            if matches!(self.get(&entry.key), None | Some(Value::Null)) {
                self.put(entry.clone());
            }
        }
        self
    }

    /// Takes over a key of `other`: its value, or that it has none.
    pub fn follow(&mut self, other: &FrontMatter, key: &str) -> &mut FrontMatter {
        match other.entries.iter().find(|entry| entry.key == key) {
            Some(entry) => self.put(entry.clone()),
            None => self.remove(key),
        }
    }

    fn put(&mut self, entry: Entry) -> &mut FrontMatter {
        match self.entries.iter_mut().find(|found| found.key == entry.key) {
            Some(found) => *found = entry,
            None => {
                if let Some(last) = self.entries.last_mut().filter(|last| !last.text.ends_with('\n')) {
                    last.text.push('\n');
                }
                self.entries.push(entry);
            }
        }
        self
    }
}

impl std::fmt::Display for FrontMatter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "---\n{}", self.before)?;
        self.entries.iter().try_for_each(|entry| f.write_str(&entry.text))?;
        f.write_str("---\n")
    }
}

/// The value of an entry, from behind its colon on.
fn value_of(text: &str) -> Value {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let first = first.trim();
    let mut below = rest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if first.is_empty() || first.starts_with('#') {
        let items: Option<Vec<String>> = below
            .clone()
            .map(|line| line.strip_prefix('-').filter(|rest| rest.starts_with(' ')).and_then(read_scalar))
            .collect();
        return match items {
            _ if below.next().is_none() => Value::Null,
            Some(items) => Value::List(items),
            None => Value::Other,
        };
    }
    if below.next().is_some() {
        return Value::Other;
    }
    if let Some(inside) = first.strip_prefix('[') {
        let inside = inside.split(" #").next().unwrap_or_default().trim_end();
        let Some(inside) = inside.strip_suffix(']').filter(|inside| !inside.contains(['[', '{', '\'', '"']))
        else {
            return Value::Other;
        };
        let items: Option<Vec<String>> =
            inside.split(',').filter(|item| !item.trim().is_empty()).map(read_scalar).collect();
        return items.map_or(Value::Other, Value::List);
    }
    match read_scalar(first) {
        Some(text)
            if ["null", "Null", "NULL", "~"].contains(&text.as_str()) && !first.starts_with(['"', '\'']) =>
        {
            Value::Null
        }
        Some(text) => Value::Scalar(text),
        None => Value::Other,
    }
}

/// Reads a scalar on one line, plain or quoted.
fn read_scalar(text: &str) -> Option<String> {
    let text = text.trim();
    match text.chars().next()? {
        '\'' => {
            let mut out = String::new();
            let mut rest = &text[1..];
            loop {
                let (part, after) = rest.split_once('\'')?;
                out.push_str(part);
                rest = match after.strip_prefix('\'') {
                    Some(after) => after,
                    None => return is_end(after).then_some(out),
                };
                out.push('\'');
            }
        }
        '"' => {
            let mut out = String::new();
            let mut chars = text[1..].chars();
            loop {
                match chars.next()? {
                    '"' => return is_end(chars.as_str()).then_some(out),
                    '\\' => out.push(escaped(&mut chars)?),
                    c => out.push(c),
                }
            }
        }
        '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '%' | '@' | '`' | '?' | ',' => None,
        _ => {
            let plain = text.split(" #").next().unwrap_or_default().trim_end();
            let is_nested = plain.contains(": ") || plain.ends_with(':') || plain.starts_with("- ");
            (!is_nested && !plain.is_empty()).then(|| plain.to_owned())
        }
    }
}

/// Whether nothing but a comment is left.
fn is_end(rest: &str) -> bool {
    rest.trim().is_empty() || rest.trim_start().starts_with('#')
}

/// The character that an escape stands for.
fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        c @ ('"' | '\\' | '/') => return Some(c),
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let hex: String = chars.by_ref().take(digits).collect();
    u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32)
}

/// Words that YAML reads as something else than text.
const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text as a YAML scalar: plain words unchanged, everything else quoted.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._+/".contains(c))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if is_word {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_invisible(c) => _ = write!(out, "\\U{:08x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> FrontMatter {
        split(&format!("---\n{inside}---\nbody\n")).unwrap().0.unwrap()
    }

    #[test]
    fn a_text_is_one_scalar_and_comes_back() {
        for (text, expected) in [
            ("mit", "mit"),
            ("laion/CLIP-ViT_B.1", "laion/CLIP-ViT_B.1"),
            ("mit extra: yes", "\"mit extra: yes\""),
            ("mit\nextra: yes", "\"mit\\U0000000aextra: yes\""),
            ("\"\\", "\"\\\"\\\\\""),
            ("no", "\"no\""),
            ("- a", "\"- a\""),
            ("a #b", "\"a #b\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), expected);
            let front = FrontMatter::default().set("license", text).clone();
            let back = split(&front.to_string()).unwrap().0.unwrap();
            assert_eq!(back.text("license"), Some(text), "{front}");
            let list = FrontMatter::default().set_list("tags", &[text.to_owned(), "b".to_owned()]).clone();
            let back = split(&list.to_string()).unwrap().0.unwrap();
            assert_eq!(back.get("tags"), Some(&Value::List(vec![text.to_owned(), "b".to_owned()])));
        }
    }

    #[test]
    fn what_cards_hold_is_read() {
        let front = read(
            "# a comment\nlicense: \"apache-2.0\" # ours\ntags: [a, b]\nlanguage:\n- en\n- 'de'\nempty:\n\
             nothing: null\nmodel-index:\n- name: x\n  results: []\ntext: |\n  a\n  b\nsplit: a\n  b\nquoted: 'it''s' # x\n",
        );
        let list = |items: &[&str]| Value::List(items.iter().map(|item| (*item).to_owned()).collect());
        for (key, value) in [
            ("license", Value::Scalar("apache-2.0".to_owned())),
            ("tags", list(&["a", "b"])),
            ("language", list(&["en", "de"])),
            ("empty", Value::Null),
            ("nothing", Value::Null),
            ("model-index", Value::Other),
            ("text", Value::Other),
            ("split", Value::Other),
            ("quoted", Value::Scalar("it's".to_owned())),
        ] {
            assert_eq!(front.get(key), Some(&value), "{key}");
        }
        assert_eq!(read("license: [mit]\n").text("license"), Some("mit"));
        assert_eq!(read("license: a: b\n").get("license"), Some(&Value::Other));
    }

    #[test]
    fn what_is_no_front_matter_is_refused_or_is_the_body() {
        for (inside, line) in
            [("{license: mit}\n", 2), ("a: 1\nlicense\n", 3), ("a: 1\na: 2\n", 3), ("  a: 1\n", 2)]
        {
            let error = split(&format!("---\n{inside}---\n")).unwrap_err();
            assert_eq!(error.line, line, "{inside}");
        }
        for whole in ["# A model\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", ""] {
            assert_eq!(split(whole).unwrap(), (None, whole));
        }
        assert_eq!(split("---\r\nlicense: mit\r\n---\r\nbody").unwrap().1, "body");
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let mut front = read("# kept\nlicense: mit # kept\nbase_model:\nodd: {a: 1}\n");
        let other = read("license: apache-2.0\nbase_model: a/b\nlibrary_name: open_clip\n");
        front.complete(&other);
        assert_eq!(
            front.to_string(),
            "---\n# kept\nlicense: mit # kept\nbase_model: a/b\nodd: {a: 1}\nlibrary_name: open_clip\n---\n"
        );
        front.follow(&other, "license").follow(&other, "odd");
        assert_eq!((front.text("license"), front.get("odd")), (Some("apache-2.0"), None));
    }
}
