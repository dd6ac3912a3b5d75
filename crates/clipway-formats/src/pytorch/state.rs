//! The pickle machine's stack, memo and table of globals, with their limits.

use super::globals::{GlobalKind, Meaning};
use super::machine::{Dialect, FIRST_INTEGER, LONGEST_LINE, Machine, SHARED_INTEGERS};
use super::value::{Id, Node};
use crate::error::{Code, FormatError, shown};

/// Maximum number of values on the stack.
const DEEPEST_STACK: usize = 1 << 18;
/// Maximum number of memo entries.
const LARGEST_MEMO: usize = 1 << 19;
/// Maximum number of distinct globals.
const MOST_GLOBALS: usize = 4096;
/// Maximum number of characters in a global's module or name.
const LONGEST_GLOBAL: usize = 1024;

impl Machine<'_> {
    /// Error at the current opcode.
    pub(super) fn error(&self, code: Code, cause: impl Into<String>) -> FormatError {
        FormatError::new(code, self.input.place(self.offset), cause)
    }

    pub(super) fn malformed(&self, cause: impl Into<String>) -> FormatError {
        self.error(Code::Malformed, cause)
    }

    /// Adds a value that is not on the stack.
    pub(super) fn new_node(&mut self, node: Node) -> Result<Id, FormatError> {
        if self.arena.nodes.len() as u64 >= self.most_values {
            return Err(self.error(Code::TooLarge, format!("more than {} values", self.most_values)));
        }
        self.arena.nodes.push(node);
        Ok((self.arena.nodes.len() - 1) as Id)
    }

    /// Counts elements copied by a call: a few bytes of a pickle can ask for many copies.
    pub(super) fn copying(&mut self, elements: usize) -> Result<(), FormatError> {
        self.copied = self.copied.saturating_add(elements as u64);
        if self.copied > self.most_values {
            return Err(self.error(Code::TooLarge, format!("more than {} copied values", self.most_values)));
        }
        Ok(())
    }

    /// Refuses a dangerous global, unless the caller accepts it as opaque.
    pub(super) fn refuse_dangerous(&self, index: u32) -> Result<(), FormatError> {
        let global = self.arena.globals.get(index);
        if global.kind != GlobalKind::Dangerous || self.allow_opaque {
            return Ok(());
        }
        let cause = format!("`{}` runs code when a pickle is executed; nothing was run", shown(&global.name));
        Err(self.error(Code::UnsafePickle, cause))
    }

    pub(super) fn push(&mut self, id: Id) -> Result<(), FormatError> {
        if self.stack.len() >= DEEPEST_STACK {
            return Err(self.error(Code::TooLarge, format!("more than {DEEPEST_STACK} values on the stack")));
        }
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn push_node(&mut self, node: Node) -> Result<Id, FormatError> {
        let id = self.new_node(node)?;
        self.push(id)?;
        Ok(id)
    }

    pub(super) fn push_integer(&mut self, value: i64) -> Result<(), FormatError> {
        match u32::try_from(value) {
            Ok(small) if small < SHARED_INTEGERS => self.push(FIRST_INTEGER + small),
            _ => self.push_node(Node::Int(value)).map(drop),
        }
    }

    pub(super) fn push_line(
        &mut self,
        what: &str,
        parse: impl FnOnce(Vec<u8>) -> Option<Node>,
    ) -> Result<(), FormatError> {
        let node = parse(self.input.line(LONGEST_LINE)?);
        let node = node.ok_or_else(|| self.malformed(format!("this line is not {what}")))?;
        self.push_node(node).map(drop)
    }

    pub(super) fn pop(&mut self) -> Result<Id, FormatError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn top(&self) -> Result<Id, FormatError> {
        match self.stack[self.marks.last().copied().unwrap_or(0)..].last() {
            Some(&id) => Ok(id),
            None => Err(self.malformed("the stack has too few values for this opcode")),
        }
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, FormatError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.malformed("no mark on the stack for this opcode")),
        }
    }

    /// Reads an unsigned length of 1, 4 or 8 bytes.
    pub(super) fn length(&mut self, bytes: usize) -> Result<u64, FormatError> {
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(self.input.take(bytes as u64)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// Reads the index of a memo entry, in the opcode's format.
    fn memo_index(&mut self, opcode: u8) -> Result<u32, FormatError> {
        match opcode {
            b'q' | b'h' => Ok(self.input.byte()?.into()),
            b'r' | b'j' => Ok(u32::from_le_bytes(self.input.array()?)),
            _ => {
                let line = self.input.line(LONGEST_LINE)?;
                let number = std::str::from_utf8(&line).ok().and_then(|text| text.parse().ok());
                number.ok_or_else(|| self.malformed("the index of a memo entry is not a number"))
            }
        }
    }

    pub(super) fn put(&mut self, opcode: u8) -> Result<(), FormatError> {
        let index = if opcode == 0x94 { self.memo.len() as u32 } else { self.memo_index(opcode)? };
        if self.memo.len() >= LARGEST_MEMO {
            return Err(self.error(Code::TooLarge, format!("more than {LARGEST_MEMO} memo entries")));
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub(super) fn get(&mut self, opcode: u8) -> Result<(), FormatError> {
        let index = self.memo_index(opcode)?;
        let Some(&id) = self.memo.get(&index) else {
            return Err(self.malformed(format!("memo entry {index} was never set")));
        };
        self.push(id)
    }

    pub(super) fn global_from_lines(&mut self) -> Result<Id, FormatError> {
        let mut part = || {
            let line = self.input.line(LONGEST_LINE)?;
            String::from_utf8(line).map_err(|_| self.malformed("the name of a global is not UTF-8"))
        };
        let (module, name) = (part()?, part()?);
        self.global(&module, &name)
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<Id, FormatError> {
        if module.len() > LONGEST_GLOBAL || name.len() > LONGEST_GLOBAL {
            let cause = format!("a global with a name of {} bytes", module.len().max(name.len()));
            return Err(self.error(Code::TooLarge, cause));
        }
        let index = self.arena.globals.find_or_add(module, name);
        if self.arena.globals.all().len() > MOST_GLOBALS {
            return Err(self.error(Code::TooLarge, format!("more than {MOST_GLOBALS} different globals")));
        }
        let global = self.arena.globals.get_mut(index);
        if self.dialect == Dialect::Plain && global.meaning == Meaning::NestedFile {
            global.kind = GlobalKind::Known;
        }
        self.refuse_dangerous(index)?;
        self.new_node(Node::Global(index))
    }
}
