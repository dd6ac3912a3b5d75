//! Limits on the regular expressions of a `tokenizer.json`: each is parsed into a tree, whose size and whose work on a
//! text are limited. Everything else is left to the library that compiles it.

mod parse;
mod work;

pub use parse::Size;

/// Checks an expression, and returns its size.
///
/// # Errors
/// The problem, for a message.
pub fn check(pattern: &str) -> Result<Size, String> {
    let tree = parse::read(pattern)?;
    work::check(&tree)?;
    Ok(parse::size(&tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(pattern: &str) {
        assert_eq!(check(pattern).err(), None, "{pattern}");
    }

    fn refused(pattern: &str, part: &str) {
        let cause = check(pattern).err().unwrap_or_else(|| panic!("{pattern} is accepted"));
        assert!(cause.contains(part), "{pattern}: `{cause}` does not say `{part}`");
    }

    /// The expressions of tokenizers in use.
    #[test]
    fn expressions_in_use() {
        // CLIP, GPT-2, GPT-4, Llama 3, Qwen 2, GPT-4o, BLOOM, DeepSeek.
        accepted(
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        );
        accepted(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");
        accepted(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        );
        accepted(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        );
        accepted(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        );
        accepted(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        );
        accepted(r" ?[^(\s|[.,!?…。，、।۔،])]+");
        accepted(
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        );
        accepted("[一-龥\u{3040}-ゟ゠-ヿ]+");
        accepted(r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^`{|}~]"##);
        for pattern in [
            " {2,}",
            r"\s+",
            r"^\s+",
            r"\s+$",
            "▁+$",
            " +",
            r"(?<!\n)\n",
            r"\p{N}{1,3}",
            r"\d",
            "[\u{2bc}\u{2018}-\u{201b}]",
        ] {
            accepted(pattern);
        }
    }

    #[test]
    fn unbounded_work() {
        for pattern in ["(a+)+$", "(a|b*)*", "(?:a{2,})+", "(x+x+)+y", r"(\w+\s?)*$", "(.*)*x"] {
            refused(pattern, "nested in another");
        }
        // Each of these scans far at every position, and then advances by one letter or not at all.
        for pattern in
            ["a*b|a", "[^b]*b|a", "a(?:[^b]*b)?", r"\s*x|\s|\s+", ".*x|.", r"\s*[\r\n]+|\s", "(?:a*b|c)d|a"]
        {
            refused(pattern, "far from where it began");
        }
        for pattern in [
            "(?=.*x)a",
            "a+(?=b)",
            "a+(?!a|b)",
            "(a|a)*(?=b)",
            "a*a*a*(?=b)",
            r"[ab]+(?![ab ])",
            "(?<=a+)b",
            r"\s+(?=\S)",
        ] {
            refused(pattern, "look-around");
        }
        refused("(?:a?){40}(?=b)", "paths");
        refused("(?:a|aa){12}(?!b)", "paths");
    }

    #[test]
    fn other_refusals() {
        refused(r"(a)\1", "back-references");
        refused("((a{1000}){1000}){1000}", "counted repetitions");
        refused("a{1001}", "counted repetitions");
        refused("(unclosed", "not closed");
        refused("[unclosed", "not closed");
        refused("closed)", "not opened");
        refused("", "empty");
        refused(&"(".repeat(100), "deeper");
        refused(&"a".repeat(5000), "longer");
        refused("(?x: a b)", "flag");
        accepted("[]a]+(?:b|c)*?");
        accepted("a++b?");
    }

    #[test]
    fn sizes_count_repeated_classes() {
        let ranges = |pattern: &str| check(pattern).unwrap().ranges;
        assert_eq!((ranges("abc"), ranges("[a-z0-9]"), ranges("[a-z]{1,3}b")), (3, 2, 4));
        let letters = ranges(r"\p{L}");
        assert!(letters > 500, "{letters}");
        assert_eq!(ranges(r"\p{L}{30}"), 30 * letters);
        assert_eq!(ranges(r"(?:\p{L}b){2,5}"), 5 * (letters + 1));
    }
}
