//! Parses a regular expression into a tree of what matters for its size and work.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// Maximum length of an expression, in bytes.
const LONGEST: usize = 4096;

/// Maximum number of counted repetitions, multiplied when nested.
const MOST_REPEATS: u64 = 1000;

/// Maximum nesting of groups.
const DEEPEST: usize = 50;

/// Alternatives, each a sequence of pieces.
pub type Tree = Vec<Vec<Piece>>;

/// Part of an expression, and how often it repeats.
#[derive(Debug)]
pub struct Piece {
    pub part: Part,
    pub least: u64,
    /// `None` if unbounded.
    pub most: Option<u64>,
}

/// Part of an expression.
#[derive(Debug)]
pub enum Part {
    /// One of these characters; `None` if they are unknown.
    One(Option<ClassUnicode>),
    /// A position, such as the end of a line.
    Place,
    Group(Tree),
    /// What must, or must not, come before or after.
    Look {
        tree: Tree,
        ahead: bool,
        negative: bool,
    },
}

/// How large an expression becomes when compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of character ranges, multiplied by repetitions.
    pub ranges: u64,
}

/// Adds up the size of a tree.
pub fn size(tree: &Tree) -> Size {
    let of = |piece: &Piece| {
        let one = match &piece.part {
            Part::One(class) => class.as_ref().map_or(1, |class| class.ranges().len().max(1) as u64),
            Part::Place => 1,
            Part::Group(tree) | Part::Look { tree, .. } => size(tree).ranges,
        };
        one.saturating_mul(piece.most.unwrap_or(piece.least).max(1))
    };
    Size { ranges: tree.iter().flatten().map(of).fold(0, u64::saturating_add) }
}

/// Reads an expression.
pub fn read(pattern: &str) -> Result<Tree, String> {
    if pattern.len() > LONGEST {
        return Err(format!("the expression is longer than {LONGEST} bytes"));
    }
    if pattern.is_empty() {
        return Err("the expression is empty".to_owned());
    }
    let mut reader = Reader { rest: pattern, flags: Flags::default() };
    let tree = reader.alternatives(0)?;
    if !reader.rest.is_empty() {
        return Err("a group is closed that was not opened".to_owned());
    }
    let repeats = |tree: &Tree| tree.iter().flatten().map(repeats).max().unwrap_or(1);
    if repeats(&tree) > MOST_REPEATS {
        return Err(format!("counted repetitions multiply to more than {MOST_REPEATS}"));
    }
    Ok(tree)
}

/// How often the counted repetitions of a piece repeat its innermost part.
fn repeats(piece: &Piece) -> u64 {
    let inner = match &piece.part {
        Part::Group(tree) | Part::Look { tree, .. } => tree.iter().flatten().map(repeats).max().unwrap_or(1),
        Part::One(_) | Part::Place => 1,
    };
    inner.saturating_mul(piece.most.unwrap_or(piece.least).max(1))
}

/// Flags that change what a character matches.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    any_case: bool,
    dot_all: bool,
}

/// The rest of an expression.
struct Reader<'a> {
    rest: &'a str,
    flags: Flags,
}

impl<'a> Reader<'a> {
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

    /// Parses up to the end of the expression or of the group.
    fn alternatives(&mut self, depth: usize) -> Result<Tree, String> {
        if depth > DEEPEST {
            return Err(format!("groups are nested deeper than {DEEPEST}"));
        }
        let mut tree = vec![Vec::new()];
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            if self.accept("|") {
                tree.push(Vec::new());
                continue;
            }
            let part = self.part(depth)?;
            let piece = self.quantified(part)?;
            if let (Some(row), Some(piece)) = (tree.last_mut(), piece) {
                row.push(piece);
            }
        }
        Ok(tree)
    }

    /// Parses one character, class, escape or group; `None` for flags, which match nothing.
    fn part(&mut self, depth: usize) -> Result<Option<Part>, String> {
        let start = self.rest;
        match self.next() {
            Some('\\') => match self.next() {
                None => return Err("the expression ends in a backslash".to_owned()),
                Some('1'..='9' | 'k' | 'g') => return Err("back-references are not supported".to_owned()),
                Some(kind) => {
                    // The braces of `\p{L}` or `\x{20}` are not a quantifier; `\pL` and `\x20` have none.
                    if self.accept("{") {
                        self.skip_to('}')?;
                    } else if matches!(kind, 'p' | 'P') {
                        self.next();
                    } else if kind == 'x' {
                        self.next();
                        self.next();
                    }
                }
            },
            Some('[') => self.class()?,
            Some('(') => return self.group(depth),
            Some('^' | '$') => return Ok(Some(Part::Place)),
            _ => {}
        }
        let text = &start[..start.len() - self.rest.len()];
        Ok(Some(one(text, self.flags)))
    }

    /// Parses a group, after its opening parenthesis.
    fn group(&mut self, depth: usize) -> Result<Option<Part>, String> {
        let before = self.flags;
        let mut look = None;
        if self.accept("?") {
            let kinds =
                [("=", (true, false)), ("!", (true, true)), ("<=", (false, false)), ("<!", (false, true))];
            look = kinds.iter().find(|(text, _)| self.accept(text)).map(|&(_, kind)| kind);
            let named = look.is_none() && (self.accept("P<") || self.accept("<"));
            if named {
                self.skip_to('>')?;
            } else if look.is_none() && !self.accept(">") {
                self.read_flags()?;
                if self.accept(")") {
                    // They apply up to the end of the enclosing group.
                    return Ok(None);
                }
                if !self.accept(":") {
                    return Err("a group has an unknown kind".to_owned());
                }
            }
        }
        let tree = self.alternatives(depth + 1)?;
        if !self.accept(")") {
            return Err("a group is not closed".to_owned());
        }
        self.flags = before;
        Ok(Some(match look {
            Some((ahead, negative)) => Part::Look { tree, ahead, negative },
            None => Part::Group(tree),
        }))
    }

    fn read_flags(&mut self) -> Result<(), String> {
        let mut on = true;
        while let Some(flag) = self.rest.chars().next().filter(|flag| !matches!(flag, ':' | ')')) {
            self.next();
            match flag {
                '-' => on = false,
                'i' => self.flags.any_case = on,
                's' => self.flags.dot_all = on,
                'm' | 'u' => {}
                other => return Err(format!("the flag `{}` is not supported", other.escape_unicode())),
            }
        }
        Ok(())
    }

    /// Parses a character class, after its opening bracket.
    fn class(&mut self) -> Result<(), String> {
        let mut depth = 1;
        self.accept("^");
        // A bracket at the first position is literal.
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

    /// Parses the quantifiers after a part.
    fn quantified(&mut self, part: Option<Part>) -> Result<Option<Piece>, String> {
        let Some(part) = part else { return Ok(None) };
        let mut piece = Piece { part, least: 1, most: Some(1) };
        loop {
            let (least, most) = if self.accept("*") {
                (0, None)
            } else if self.accept("+") {
                (1, None)
            } else if self.accept("?") {
                (0, Some(1))
            } else if let Some((least, most, length)) = counted(self.rest) {
                self.rest = &self.rest[length..];
                (least, most)
            } else {
                return Ok(Some(piece));
            };
            // `*?`, `*+` and their like are one quantifier.
            if !self.accept("?") {
                self.accept("+");
            }
            if (piece.least, piece.most) != (1, Some(1)) {
                piece = Piece { part: Part::Group(vec![vec![piece]]), least: 1, most: Some(1) };
            }
            (piece.least, piece.most) = (least, most);
        }
    }

    fn skip_to(&mut self, end: char) -> Result<(), String> {
        let place = self.rest.find(end).ok_or_else(|| format!("`{end}` is missing"))?;
        self.rest = &self.rest[place + end.len_utf8()..];
        Ok(())
    }
}

/// What a character, class or escape matches.
fn one(text: &str, flags: Flags) -> Part {
    let mut builder = ParserBuilder::new();
    builder.case_insensitive(flags.any_case).dot_matches_new_line(flags.dot_all);
    let Ok(hir) = builder.build().parse(text) else { return Part::One(None) };
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Part::One(Some(class.clone())),
        HirKind::Class(Class::Bytes(class)) => Part::One(class.to_unicode_class()),
        HirKind::Literal(literal) => {
            let characters = std::str::from_utf8(&literal.0).unwrap_or_default().chars();
            Part::One(Some(ClassUnicode::new(characters.map(|c| ClassUnicodeRange::new(c, c)))))
        }
        HirKind::Look(_) => Part::Place,
        _ => Part::One(None),
    }
}

/// Parses `{n}`, `{n,}` or `{n,m}`: minimum and maximum repetitions, and the length in bytes.
fn counted(text: &str) -> Option<(u64, Option<u64>, usize)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let (least, most) = match inner.split_once(',') {
        None => (number(inner)?, Some(number(inner)?)),
        Some((least, "")) => (number(least)?, None),
        Some(("", most)) => (0, Some(number(most)?)),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((least, most, inner.len() + 2))
}
