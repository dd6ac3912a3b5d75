//! Limits on the regular expressions of a `tokenizer.json`.
//!
//! Only the shape is looked at: what may take exponential time or memory is refused, the rest is left to the
//! library that compiles the expression.

/// The longest expression, in bytes.
const LONGEST: usize = 4096;

/// How often counted repetitions may repeat, those within each other multiplied.
const MOST_REPEATS: u64 = 1000;

/// How deep groups may be nested.
const DEEPEST: usize = 50;

/// Says why an expression is refused, if it is.
pub fn refuse(pattern: &str) -> Option<String> {
    if pattern.len() > LONGEST {
        return Some(format!("the expression is longer than {LONGEST} bytes"));
    }
    if pattern.is_empty() {
        return Some("the expression is empty".to_owned());
    }
    let mut reader = Reader { rest: pattern };
    match reader.alternatives(0) {
        Err(cause) => Some(cause),
        Ok(_) if !reader.rest.is_empty() => Some("a group is closed that was not opened".to_owned()),
        Ok(shape) if shape.repeats > MOST_REPEATS => Some(too_many()),
        Ok(_) => None,
    }
}

fn too_many() -> String {
    format!("counted repetitions come to more than {MOST_REPEATS}")
}

/// What matters of a part of an expression.
#[derive(Clone, Copy)]
struct Shape {
    /// Whether something in it repeats without bound.
    unbounded: bool,
    /// How often counted repetitions repeat.
    repeats: u64,
}

/// What is still to be read of an expression.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn accept(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads up to the end of the expression or of the group.
    fn alternatives(&mut self, depth: usize) -> Result<Shape, String> {
        if depth > DEEPEST {
            return Err(format!("groups are nested deeper than {DEEPEST}"));
        }
        let mut whole = Shape { unbounded: false, repeats: 1 };
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            let atom = self.atom(depth)?;
            let atom = self.quantified(atom)?;
            whole.unbounded |= atom.unbounded;
            whole.repeats = whole.repeats.max(atom.repeats);
        }
        Ok(whole)
    }

    /// Reads one character, class, escape or group.
    fn atom(&mut self, depth: usize) -> Result<Shape, String> {
        let plain = Shape { unbounded: false, repeats: 1 };
        match self.next() {
            Some('\\') => match self.next() {
                None => Err("the expression ends in a backslash".to_owned()),
                Some('1'..='9' | 'k' | 'g') => Err("back-references are not supported".to_owned()),
                Some(_) => {
                    // The braces of `\p{L}` or `\x{20}` are no quantifier.
                    if self.accept("{") {
                        self.skip_to('}')?;
                    }
                    Ok(plain)
                }
            },
            Some('[') => self.class().map(|()| plain),
            Some('(') => {
                self.group_kind()?;
                let inner = self.alternatives(depth + 1)?;
                if !self.accept(")") {
                    return Err("a group is not closed".to_owned());
                }
                Ok(inner)
            }
            _ => Ok(plain),
        }
    }

    /// Reads what stands behind an opening parenthesis.
    fn group_kind(&mut self) -> Result<(), String> {
        if !self.accept("?") {
            return Ok(());
        }
        if [":", "=", "!", "<=", "<!", ">"].iter().any(|kind| self.accept(kind)) {
            return Ok(());
        }
        if self.accept("P<") || self.accept("<") {
            return self.skip_to('>');
        }
        let flags = self.rest.find(|character| !matches!(character, 'i' | 'm' | 's' | 'u' | 'x' | '-'));
        self.rest = &self.rest[flags.unwrap_or(self.rest.len())..];
        if self.accept(":") || self.rest.starts_with(')') {
            return Ok(());
        }
        Err("a group is of an unknown kind".to_owned())
    }

    /// Reads a class of characters, behind its opening bracket.
    fn class(&mut self) -> Result<(), String> {
        let mut depth = 1;
        self.accept("^");
        // A bracket in the first place stands for itself.
        self.accept("]");
        while depth > 0 {
            match self.next() {
                None => return Err("a class is not closed".to_owned()),
                Some('\\') => {
                    self.next();
                }
                Some('[') => depth += 1,
                Some(']') => depth -= 1,
                Some(_) => {}
            }
            if depth > DEEPEST {
                return Err(format!("classes are nested deeper than {DEEPEST}"));
            }
        }
        Ok(())
    }

    /// Reads the quantifiers behind an atom.
    fn quantified(&mut self, mut shape: Shape) -> Result<Shape, String> {
        loop {
            let unbounded = if self.accept("*") || self.accept("+") {
                true
            } else if self.accept("?") {
                false
            } else if let Some((most, length)) = counted(self.rest) {
                self.rest = &self.rest[length..];
                let Some(most) = most else {
                    shape = repeat_unbounded(shape)?;
                    continue;
                };
                shape.repeats = shape.repeats.saturating_mul(most.max(1));
                if shape.repeats > MOST_REPEATS {
                    return Err(too_many());
                }
                false
            } else {
                return Ok(shape);
            };
            if unbounded {
                shape = repeat_unbounded(shape)?;
                // `*?`, `*+` and their like are one quantifier.
                if !self.accept("?") {
                    self.accept("+");
                }
            }
        }
    }

    fn skip_to(&mut self, end: char) -> Result<(), String> {
        let place = self.rest.find(end).ok_or_else(|| format!("`{end}` is missing"))?;
        self.rest = &self.rest[place + end.len_utf8()..];
        Ok(())
    }
}

/// Repeats a part without bound, unless something in it already is.
fn repeat_unbounded(shape: Shape) -> Result<Shape, String> {
    if shape.unbounded {
        return Err("an unbounded repetition lies within another".to_owned());
    }
    Ok(Shape { unbounded: true, ..shape })
}

/// Reads `{n}`, `{n,}` or `{n,m}`: the most repetitions, `None` for any number, and the length in bytes.
fn counted(text: &str) -> Option<(Option<u64>, usize)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let most = match inner.split_once(',') {
        None => Some(number(inner)?),
        Some((least, "")) => {
            number(least)?;
            None
        }
        Some((least, most)) => {
            if !least.is_empty() {
                number(least)?;
            }
            Some(number(most)?)
        }
    };
    Some((most, inner.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, refused: bool| {
            assert_eq!(refuse(pattern).is_some(), refused, "{pattern}: {:?}", refuse(pattern));
        };
        check(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", false);
        check(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}]+[\r\n]*|\s+(?!\S)|\s+", false);
        check(" {2,}", false);
        check("[]a]+(?:b|c)*?", false);
        check("a++b", false);
        check("(a+)+$", true);
        check("(a|b*)*", true);
        check("(?:a{2,})+", true);
        check("(x+x+)+y", true);
        check(r"(a)\1", true);
        check("((a{1000}){1000}){1000}", true);
        check("a{1001}", true);
        check("(unclosed", true);
        check("[unclosed", true);
        check("closed)", true);
        check("", true);
        check(&"(".repeat(100), true);
    }
}
