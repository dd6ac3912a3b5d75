//! Escaping of untrusted text in a model card, one function per medium.

use clipway_formats::is_invisible;

/// Escapes a text for use within a line of Markdown, in a table or outside: no part of it becomes markup or HTML.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if is_invisible(c) => out.extend(c.escape_unicode().flat_map(escaped)),
            c => out.extend(escaped(c)),
        }
    }
    out
}

/// A Markdown character that represents itself.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let is_markup = "\\`*_{}[]()#+!|~:@".contains(c);
    is_markup.then_some('\\').into_iter().chain([c])
}

/// Formats a note, which is ours and may quote text in backticks: one line, without HTML outside of the quotes.
pub(super) fn note(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let is_quoted = index % 2 == 1;
        if index > 0 {
            out.push('`');
        }
        for c in part.chars() {
            match c {
                '<' if !is_quoted => out.push_str("&lt;"),
                c if is_invisible(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_no_markup() {
        assert_eq!(
            markdown("x`|\n\n# Verified\n<img src=x onerror=alert(1)>\u{202e}.pt"),
            "x\\`\\|\\\\u\\{a\\}\\\\u\\{a\\}\\# Verified\\\\u\\{a\\}&lt;img src=x onerror=alert\\(1\\)&gt;\\\\u\\{202e\\}.pt"
        );
        assert_eq!(markdown("emoji-clip.pt"), "emoji-clip.pt");
        assert_eq!(note("a <b> of `<i>`\n# x"), "a &lt;b> of `<i>`\\u{a}# x");
    }
}
