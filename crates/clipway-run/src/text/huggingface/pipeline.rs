//! The normalizer and the pre-tokenizer of a `tokenizer.json`: only known parts, none of which can take
//! exponential time or blow a text up.

use super::charsmap;
use super::json::Node;
use super::pattern;
use crate::text::TokenizerError;

/// How many times longer the replacements of a normalizer may make a text, all together.
const MOST_GROWTH: usize = 256;

/// The longest text that a normalizer may put before a text.
const LONGEST_PREPENDED: usize = 64;

/// How deep sequences may be nested.
const DEEPEST: usize = 8;

/// Checks a normalizer.
pub fn check_normalizer(node: &Node) -> Result<(), TokenizerError> {
    let growth = normalizer(node, DEEPEST)?;
    if growth > MOST_GROWTH {
        return Err(node.error(format!("the text may grow {growth} times, more than {MOST_GROWTH}")));
    }
    Ok(())
}

/// Checks a normalizer and returns how many times longer its replacements may make a text.
fn normalizer(node: &Node, depth: usize) -> Result<usize, TokenizerError> {
    match node.need("type")?.string()? {
        "Sequence" if depth > 0 => {
            node.only(&["type", "normalizers"])?;
            let parts = node.need("normalizers")?;
            parts
                .elements()?
                .try_fold(1usize, |growth, part| Ok(growth.saturating_mul(normalizer(&part, depth - 1)?)))
        }
        "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "StripAccents" | "ByteLevel" => {
            node.only(&["type"])?;
            Ok(1)
        }
        "BertNormalizer" => {
            node.only(&["type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"])?;
            Ok(1)
        }
        "Strip" => {
            node.only(&["type", "strip_left", "strip_right"])?;
            Ok(1)
        }
        "Prepend" => {
            node.only(&["type", "prepend"])?;
            let prepend = node.need("prepend")?;
            if prepend.string()?.len() > LONGEST_PREPENDED {
                return Err(prepend.error(format!("longer than {LONGEST_PREPENDED} bytes")));
            }
            Ok(1)
        }
        "Replace" => {
            node.only(&["type", "pattern", "content"])?;
            let content = node.need("content")?.string()?.len();
            Ok(content.div_ceil(check_pattern(&node.need("pattern")?)?).max(1))
        }
        "Precompiled" => {
            node.only(&["type", "precompiled_charsmap"])?;
            charsmap::check(&node.need("precompiled_charsmap")?)?;
            Ok(1)
        }
        other => Err(node.error(format!("the normalizer `{other}` is not supported here"))),
    }
}

/// Checks a pattern, a string or a regular expression, and returns the shortest text it can replace.
fn check_pattern(node: &Node) -> Result<usize, TokenizerError> {
    node.only(&["String", "Regex"])?;
    match (node.get("String")?, node.get("Regex")?) {
        (Some(text), None) => match text.string()?.len() {
            0 => Err(text.error("the pattern is empty")),
            length => Ok(length),
        },
        (None, Some(expression)) => match pattern::refuse(expression.string()?) {
            Some(cause) => Err(expression.error(cause)),
            None => Ok(1),
        },
        _ => Err(node.error("expected either `String` or `Regex`")),
    }
}

/// Checks a pre-tokenizer.
pub fn check_pre_tokenizer(node: &Node) -> Result<(), TokenizerError> {
    pre_tokenizer(node, DEEPEST)
}

fn pre_tokenizer(node: &Node, depth: usize) -> Result<(), TokenizerError> {
    match node.need("type")?.string()? {
        "Sequence" if depth > 0 => {
            node.only(&["type", "pretokenizers"])?;
            node.need("pretokenizers")?.elements()?.try_for_each(|part| pre_tokenizer(&part, depth - 1))
        }
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" | "UnicodeScripts" => node.only(&["type"]),
        "ByteLevel" => node.only(&["type", "add_prefix_space", "trim_offsets", "use_regex"]),
        "Metaspace" => {
            node.only(&["type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"])
        }
        "CharDelimiterSplit" => node.only(&["type", "delimiter"]),
        "Punctuation" => node.only(&["type", "behavior"]),
        "Digits" => node.only(&["type", "individual_digits"]),
        "FixedLength" => {
            node.only(&["type", "length"])?;
            node.get("length")?.map_or(Ok(5), |length| length.number(1, u32::MAX.into())).map(|_| ())
        }
        "Split" => {
            node.only(&["type", "pattern", "behavior", "invert"])?;
            check_pattern(&node.need("pattern")?).map(|_| ())
        }
        other => Err(node.error(format!("the pre-tokenizer `{other}` is not supported here"))),
    }
}
