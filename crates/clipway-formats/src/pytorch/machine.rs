//! The pickle machine: opcodes of protocols 0 to 5 over an arena of values.
//!
//! Nothing is called and nothing recurses. The opcodes build values ([`super::value`]); the few calls that make tensors
//! and plain containers are recognized in [`super::call`], all others become opaque values. Sources: CPython's
//! `Lib/pickletools.py` for the opcodes, PyTorch's `torch/_utils.py` for the calls.

use std::collections::HashMap;

use super::input::Input;
use super::literal;
use super::tensor::{StorageSpec, StorageView, TensorSpec};
use super::value::{Arena, Id, Node};
use crate::error::{Code, FormatError};
use crate::source::ReadAt;

/// Maximum number of values, in addition to one per 16 bytes of the pickle in the file.
const MOST_VALUES: u64 = 600_000;

/// Maximum number of values for a pickle that takes `stored` bytes in the file; for a deflated one, less than its size.
pub(super) fn most_values(stored: u64) -> u64 {
    MOST_VALUES + stored / 16
}

/// Maximum bytes of a text line.
pub(super) const LONGEST_LINE: u64 = 1 << 20;
/// Maximum bytes of an integer.
const LONGEST_INTEGER: u64 = 1024;
/// Small integers, which need no separate value.
pub(super) const SHARED_INTEGERS: u32 = 256;
pub(super) const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
pub(super) const FIRST_INTEGER: Id = 3;

/// Which persistent ids and calls a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `data.pkl` of an archive.
    Archive,
    /// The main pickle of a legacy stream.
    Legacy,
    /// The main pickle of a tar archive: persistent ids are tensor numbers.
    Tar,
    /// A pickle without persistent ids, whose storages are embedded PyTorch files.
    Plain,
}

/// State of the machine, and its results so far.
pub(super) struct Machine<'a> {
    pub(super) source: &'a dyn ReadAt,
    pub(super) input: Input<'a>,
    pub(super) dialect: Dialect,
    pub(super) arena: Arena,
    pub(super) storages: Vec<StorageSpec>,
    pub(super) storage_by_key: HashMap<String, u32>,
    pub(super) views: Vec<StorageView>,
    pub(super) tensors: Vec<TensorSpec>,
    /// For plain pickles: the file offset of each bytes value's content.
    pub(super) bytes_at: HashMap<Id, u64>,
    /// For tar archives: what each persistent id represents.
    pub(super) numbered: HashMap<i64, Id>,
    /// Highest declared protocol.
    pub(super) protocol: u8,
    pub(super) allow_opaque: bool,
    pub(super) most_values: u64,
    /// Number of elements that calls have copied between values.
    pub(super) copied: u64,
    pub(super) stack: Vec<Id>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// Offset of the current opcode.
    pub(super) offset: u64,
}

impl<'a> Machine<'a> {
    /// Creates a machine that reads `input`, a window on `source`.
    pub(super) fn new(
        source: &'a dyn ReadAt,
        input: Input<'a>,
        dialect: Dialect,
        allow_opaque: bool,
    ) -> Machine<'a> {
        let mut arena = Arena::default();
        arena.nodes.extend([Node::None, Node::Bool(false), Node::Bool(true)]);
        arena.nodes.extend((0..SHARED_INTEGERS).map(|value| Node::Int(value.into())));
        let most_values = most_values(input.remaining());
        Machine {
            source,
            input,
            dialect,
            arena,
            storages: Vec::new(),
            storage_by_key: HashMap::new(),
            views: Vec::new(),
            tensors: Vec::new(),
            bytes_at: HashMap::new(),
            numbered: HashMap::new(),
            copied: 0,
            protocol: 0,
            allow_opaque,
            most_values,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            offset: 0,
        }
    }

    /// Runs one pickle from the input's position to its `STOP`, and returns its value.
    pub(super) fn load(&mut self) -> Result<Id, FormatError> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        let start = self.input.position();
        loop {
            self.offset = self.input.position();
            let opcode = self.input.byte()?;
            match opcode {
                b'.' => {
                    let value = self.pop()?;
                    if !self.stack.is_empty() || !self.marks.is_empty() {
                        return Err(self.malformed("values are left on the stack at the end of the pickle"));
                    }
                    return Ok(value);
                }
                0x80 if self.offset == start => {
                    let protocol = self.input.byte()?;
                    if protocol > 5 {
                        return Err(self.malformed(format!("pickle protocol {protocol}; 0 to 5 are known")));
                    }
                    self.protocol = self.protocol.max(protocol);
                }
                _ => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), FormatError> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.stack.len() == self.marks.last().copied().unwrap_or(0) && !self.marks.is_empty() {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(NONE)?,
            0x88 => self.push(TRUE)?,
            0x89 => self.push(FALSE)?,
            b'I' => self.push_line("a 64-bit integer", |line| literal::integer(&line))?,
            b'L' => self.push_line("a 128-bit integer", |line| literal::long_line(&line))?,
            b'F' => self.push_line("a number", |line| literal::float(&line))?,
            b'S' => {
                self.push_line("a quoted string", |line| literal::quoted(&line).map(literal::text_or_bytes))?
            }
            b'V' => {
                let text = |line: Vec<u8>| literal::raw_unicode(&line).map(|text| Node::Text(text.into()));
                self.push_line("a text with valid escapes", text)?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.input.array()?);
                self.push_integer(value.into())?;
            }
            b'K' => {
                let value = self.input.byte()?;
                self.push_integer(value.into())?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.input.array()?);
                self.push_integer(value.into())?;
            }
            0x8a | 0x8b => {
                let length = if opcode == 0x8a { self.length(1)? } else { self.length(4)? };
                if length > LONGEST_INTEGER {
                    return Err(self.malformed(format!("an integer of {length} bytes")));
                }
                let value = literal::long(self.input.take(length)?);
                self.push_node(value)?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.input.array()?);
                self.push_node(Node::Float(value))?;
            }
            b'U' | b'T' => {
                let length = if opcode == b'U' { self.length(1)? } else { self.length(4)? };
                let bytes = self.input.take(length)?.to_vec();
                self.push_node(literal::text_or_bytes(bytes))?;
            }
            b'X' | 0x8c | 0x8d => {
                let length = self.length(match opcode {
                    b'X' => 4,
                    0x8c => 1,
                    _ => 8,
                })?;
                let text = std::str::from_utf8(self.input.take(length)?).map(Box::from);
                let text = text.map_err(|_| self.malformed("a text that is not UTF-8"))?;
                self.push_node(Node::Text(text))?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.length(match opcode {
                    b'B' => 4,
                    b'C' => 1,
                    _ => 8,
                })?;
                let bytes = Box::from(self.input.take(length)?);
                let start = self.input.position() - length;
                let id = self.push_node(Node::Bytes(bytes))?;
                if self.dialect == Dialect::Plain {
                    self.bytes_at.insert(id, start);
                }
            }
            b']' => drop(self.push_node(Node::List(Vec::new()))?),
            b'}' => drop(self.push_node(Node::Dict(Vec::new()))?),
            0x8f => drop(self.push_node(Node::Set(Vec::new()))?),
            b')' => drop(self.push_node(Node::Tuple(Box::default()))?),
            b't' => {
                let items = self.pop_mark()?;
                self.push_node(Node::Tuple(items.into()))?;
            }
            0x85..=0x87 => {
                let mut items = vec![NONE; usize::from(opcode - 0x84)];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                self.push_node(Node::Tuple(items.into()))?;
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.push_node(Node::List(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                let dict = self.push_node(Node::Dict(Vec::new()))?;
                self.set_items(dict, &items)?;
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.check_keys(items.iter().copied())?;
                self.push_node(Node::Set(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                let list = self.top()?;
                self.append(list, &[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                let list = self.top()?;
                self.append(list, &items)?;
            }
            0x90 => {
                let items = self.pop_mark()?;
                let set = self.top()?;
                self.add(set, &items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                let dict = self.top()?;
                self.set_items(dict, &[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                let dict = self.top()?;
                self.set_items(dict, &items)?;
            }
            b'q' | b'r' | b'p' | 0x94 => self.put(opcode)?,
            b'h' | b'j' | b'g' => self.get(opcode)?,
            b'c' => {
                let global = self.global_from_lines()?;
                self.push(global)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) = (self.arena.node(module), self.arena.node(name))
                else {
                    return Err(self.malformed("a global whose module or name is not a text"));
                };
                let (module, name) = (module.to_string(), name.to_string());
                let global = self.global(&module, &name)?;
                self.push(global)?;
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let value = self.reduce(callee, arguments)?;
                self.push(value)?;
            }
            0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let value = self.instantiate(class, arguments)?;
                self.push(value)?;
            }
            0x92 => {
                let (keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                if !matches!(self.arena.node(keywords), Node::Dict(_)) {
                    return Err(self.malformed("keyword arguments that are not a dictionary"));
                }
                self.arguments(arguments)?;
                let both = self.new_node(Node::Tuple([arguments, keywords].into()))?;
                let value = self.instantiate_opaque(class, both)?;
                self.push(value)?;
            }
            b'i' => {
                let class = self.global_from_lines()?;
                let arguments = self.pop_mark()?;
                let arguments = self.new_node(Node::Tuple(arguments.into()))?;
                let value = self.instantiate(class, arguments)?;
                self.push(value)?;
            }
            b'o' => {
                let items = self.pop_mark()?;
                let Some((&class, arguments)) = items.split_first() else {
                    return Err(self.malformed("an object without a class"));
                };
                let arguments = self.new_node(Node::Tuple(arguments.into()))?;
                let value = self.instantiate(class, arguments)?;
                self.push(value)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let value = self.persistent(id)?;
                self.push(value)?;
            }
            0x95 => {
                let length = self.length(8)?;
                let remaining = self.input.remaining();
                if length > remaining {
                    let cause = format!("a frame of {length} bytes, but only {remaining} are left");
                    return Err(self.error(Code::Truncated, cause));
                }
            }
            0x82..=0x84 => return Err(self.error(Code::UnsafePickle, "an opcode of the extension registry")),
            other => {
                let cause = format!("unknown opcode {other:#04x}");
                return Err(self.malformed(cause));
            }
        }
        Ok(())
    }
}
