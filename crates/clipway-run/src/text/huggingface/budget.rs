//! Limits on the parts of a `tokenizer.json` together.

use super::json::Node;
use super::pattern;
use crate::text::TokenizerError;

/// Maximum number of parts in normalizer, pre-tokenizer and decoder together. Each processes the whole text.
const MOST_PARTS: usize = 64;

/// Maximum number of regular expressions in the file, including literal search strings: each has its own tables.
const MOST_EXPRESSIONS: usize = 32;

/// Maximum number of character ranges in all expressions, multiplied by repetitions. `\p{L}` has about 650, the whole
/// expression of GPT-4o about 9000.
const MOST_RANGES: u64 = 1 << 16;

/// Maximum length of a search string or replacement, in bytes.
const LONGEST_STRING: usize = 4096;

/// How many times longer all parts of the normalizer together may make a text.
const MOST_GROWTH: u64 = 256;

/// How many times longer the pre-tokenizer may make a text's pieces.
const MOST_PIECE_GROWTH: u64 = 64;

/// Maximum length of a text that one part of the normalizer may prepend, in bytes.
const LONGEST_PREPENDED: usize = 64;

/// Maximum number of bytes that all parts of the normalizer may prepend, including later growth.
const MOST_ADDED: u64 = 4096;

/// Counts the parts of a file.
#[derive(Debug, Default)]
pub struct Budget {
    parts: usize,
    expressions: usize,
    ranges: u64,
}

impl Budget {
    /// Counts a part.
    pub fn part(&mut self, node: &Node) -> Result<(), TokenizerError> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(node.too_large(format!("more than {MOST_PARTS} parts together")));
        }
        Ok(())
    }

    /// Checks and counts a pattern, a literal string or a regular expression; returns the length of the shortest text
    /// that it can match.
    pub fn pattern(&mut self, node: &Node) -> Result<usize, TokenizerError> {
        node.only(&["String", "Regex"])?;
        self.expressions += 1;
        if self.expressions > MOST_EXPRESSIONS {
            return Err(node.too_large(format!("more than {MOST_EXPRESSIONS} patterns in the file")));
        }
        match (node.get("String")?, node.get("Regex")?) {
            (Some(text), None) => match string(&text)?.len() {
                0 => Err(text.error("the pattern is empty")),
                length => Ok(length),
            },
            (None, Some(expression)) => {
                let size = pattern::check(expression.string()?).map_err(|cause| expression.error(cause))?;
                self.ranges = self.ranges.saturating_add(size.ranges);
                if self.ranges > MOST_RANGES {
                    let cause =
                        format!("the expressions of the file have more than {MOST_RANGES} character ranges");
                    return Err(expression.too_large(cause));
                }
                Ok(1)
            }
            _ => Err(node.error("expected either `String` or `Regex`")),
        }
    }
}

/// Reads a string of limited length.
pub fn string<'a>(node: &Node<'a>) -> Result<&'a str, TokenizerError> {
    let text = node.string()?;
    if text.len() > LONGEST_STRING {
        return Err(node.too_large(format!("{} bytes; the limit is {LONGEST_STRING}", text.len())));
    }
    Ok(text)
}

/// How much longer a text becomes: a factor and a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// The factor.
    pub times: u64,
    /// The bytes added.
    pub added: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Growth::times(1)
    }
}

impl Growth {
    /// Growth by a factor.
    pub fn times(times: u64) -> Growth {
        Growth { times, added: 0 }
    }

    /// Growth by a prepended text.
    pub fn prepended(node: &Node) -> Result<Growth, TokenizerError> {
        let length = node.string()?.len();
        if length > LONGEST_PREPENDED {
            return Err(node.too_large(format!("longer than {LONGEST_PREPENDED} bytes")));
        }
        Ok(Growth { times: 1, added: length as u64 })
    }

    /// This growth followed by `next`.
    #[must_use]
    pub fn then(self, next: Growth) -> Growth {
        Growth {
            times: self.times.saturating_mul(next.times),
            added: self.added.saturating_mul(next.times).saturating_add(next.added),
        }
    }

    /// Checks the growth of a whole normalizer.
    pub fn check(self, node: &Node) -> Result<(), TokenizerError> {
        if self.times > MOST_GROWTH {
            return Err(
                node.too_large(format!("the text may grow {} times, more than {MOST_GROWTH}", self.times))
            );
        }
        if self.added > MOST_ADDED {
            return Err(
                node.too_large(format!("the text may grow by {} bytes, more than {MOST_ADDED}", self.added))
            );
        }
        Ok(())
    }

    /// Checks the growth of a whole pre-tokenizer.
    pub fn check_pieces(self, node: &Node) -> Result<(), TokenizerError> {
        if self.times > MOST_PIECE_GROWTH {
            let cause =
                format!("the pieces of a text may grow {} times, more than {MOST_PIECE_GROWTH}", self.times);
            return Err(node.too_large(cause));
        }
        Ok(())
    }
}
