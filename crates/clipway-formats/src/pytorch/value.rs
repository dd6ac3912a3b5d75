//! The values of a pickle, as data.

use std::collections::HashMap;

use super::globals::{Global, Globals};

/// Index of a value in an [`Arena`].
pub(super) type Id = u32;

/// One value. Containers hold indices, so walking or dropping values never needs recursion.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// Beyond 64 bits: little-endian two's complement.
    Big(Box<[u8]>),
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(u32),
    /// A storage, or part of one.
    Storage(u32),
    /// A tensor, by its index among the distinct tensors of the pickle.
    Tensor(u32),
    Opaque(Box<Opaque>),
}

/// An uninterpreted object: what would have been called, with which arguments, and what state it was given.
#[derive(Debug)]
pub(super) struct Opaque {
    pub(super) callee: Id,
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    pub(super) items: Vec<Id>,
    pub(super) pairs: Vec<(Id, Id)>,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) nodes: Vec<Node>,
    /// Attributes set on dictionaries, such as `_metadata` of a state dict.
    pub(super) attributes: HashMap<Id, Id>,
    pub(super) globals: Globals,
    /// For each distinct tensor, the index in the file's list of its first name.
    pub(super) first_names: HashMap<u32, usize>,
}

impl Arena {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// Elements of a tuple, list or set; nothing for other values.
    pub(super) fn sequence(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::Tuple(items) => items,
            Node::List(items) | Node::Set(items) => items,
            _ => &[],
        }
    }

    /// The name of the global that an opaque value comes from, through nested calls.
    pub(super) fn global_of(&self, mut id: Id) -> Option<&Global> {
        // A callee always comes before its result, so this ends.
        loop {
            match self.node(id) {
                Node::Global(index) => return Some(self.globals.get(*index)),
                Node::Opaque(opaque) if opaque.callee < id => id = opaque.callee,
                _ => return None,
            }
        }
    }

    /// Children of a value, by position, with their labels in a path.
    pub(super) fn child(&self, id: Id, position: usize) -> Option<(Label, Id)> {
        match self.node(id) {
            Node::Tuple(_) | Node::List(_) | Node::Set(_) => {
                self.sequence(id).get(position).map(|&item| (Label::Position(position), item))
            }
            Node::Dict(pairs) => match pairs.get(position) {
                Some(&(key, value)) => Some((Label::Key(key), value)),
                None if position == pairs.len() => {
                    self.attributes.get(&id).map(|&value| (Label::Hidden, value))
                }
                None => None,
            },
            Node::Opaque(opaque) => {
                let hidden = [Some(opaque.callee), Some(opaque.arguments), opaque.state];
                let hidden_count = hidden.iter().flatten().count();
                if let Some(&part) = hidden.iter().flatten().nth(position) {
                    return Some((Label::Hidden, part));
                }
                let position = position - hidden_count;
                if let Some(&(key, value)) = opaque.pairs.get(position) {
                    return Some((Label::Key(key), value));
                }
                let position = position - opaque.pairs.len();
                opaque.items.get(position).map(|&item| (Label::Position(position), item))
            }
            _ => None,
        }
    }
}

/// A child's label in a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    /// An index in a sequence.
    Position(usize),
    /// A key of a dictionary.
    Key(Id),
    /// Part of the value itself, which adds nothing to the path.
    Hidden,
}

/// A value of a pickle, read-only. Nothing that the pickle asks for was called to create it.
#[derive(Clone, Copy)]
pub struct PickleValue<'a> {
    pub(super) arena: &'a Arena,
    pub(super) id: Id,
}

/// Kind of a [`PickleValue`], with its content if that is small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PickleKind<'a> {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A larger integer, as little-endian two's complement.
    BigInt(&'a [u8]),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A tuple; see [`PickleValue::items`].
    Tuple,
    /// A list; see [`PickleValue::items`].
    List,
    /// A set; see [`PickleValue::items`].
    Set,
    /// A dictionary of any kind, ordered; see [`PickleValue::entries`].
    Dict,
    /// A tensor, by its index in [`TensorFile::tensors`](crate::TensorFile::tensors); the index of its first name if it
    /// has several.
    Tensor(usize),
    /// A storage that is not a tensor, or a tensor without a name, used as a dictionary key.
    Storage,
    /// A class, function or constant, by its dotted name.
    Global(&'a str),
    /// An uninterpreted object, by the dotted name of its class or of the function that creates it. Its attributes are
    /// [`PickleValue::entries`].
    Opaque(&'a str),
}

impl<'a> PickleValue<'a> {
    fn at(self, id: Id) -> PickleValue<'a> {
        PickleValue { arena: self.arena, id }
    }

    /// The kind of the value.
    pub fn kind(self) -> PickleKind<'a> {
        match self.arena.node(self.id) {
            Node::None => PickleKind::None,
            Node::Bool(value) => PickleKind::Bool(*value),
            Node::Int(value) => PickleKind::Int(*value),
            Node::Big(bytes) => PickleKind::BigInt(bytes),
            Node::Float(value) => PickleKind::Float(*value),
            Node::Text(text) => PickleKind::Str(text),
            Node::Bytes(bytes) => PickleKind::Bytes(bytes),
            Node::Tuple(_) => PickleKind::Tuple,
            Node::List(_) => PickleKind::List,
            Node::Set(_) => PickleKind::Set,
            Node::Dict(_) => PickleKind::Dict,
            Node::Storage(_) => PickleKind::Storage,
            Node::Tensor(tensor) => match self.arena.first_names.get(tensor) {
                Some(&index) => PickleKind::Tensor(index),
                None => PickleKind::Storage,
            },
            Node::Global(index) => PickleKind::Global(&self.arena.globals.get(*index).name),
            Node::Opaque(_) => {
                PickleKind::Opaque(self.arena.global_of(self.id).map_or("", |global| &global.name))
            }
        }
    }

    /// Elements of a tuple, list or set; nothing for other kinds.
    pub fn items(self) -> impl Iterator<Item = PickleValue<'a>> {
        let items = match self.arena.node(self.id) {
            Node::Opaque(opaque) => &opaque.items,
            _ => self.arena.sequence(self.id),
        };
        items.iter().map(move |&id| self.at(id))
    }

    /// Keys and values of a dictionary, or attributes of an opaque object, in file order.
    pub fn entries(self) -> impl Iterator<Item = (PickleValue<'a>, PickleValue<'a>)> {
        self.pairs().iter().map(move |&(key, value)| (self.at(key), self.at(value)))
    }

    /// Value of a dictionary, or attribute of an opaque object, under a text key.
    pub fn get(self, key: &str) -> Option<PickleValue<'a>> {
        self.entries().find(|(found, _)| found.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Attributes set on a dictionary besides its entries, such as `_metadata` on a state dict.
    pub fn attributes(self) -> Option<PickleValue<'a>> {
        self.arena.attributes.get(&self.id).map(|&id| self.at(id))
    }

    /// The state that an opaque object was given, whatever kind of value that is.
    pub(super) fn state(self) -> Option<PickleValue<'a>> {
        match self.arena.node(self.id) {
            Node::Opaque(opaque) => opaque.state.map(|id| self.at(id)),
            _ => None,
        }
    }

    /// The text, if the value is one.
    pub fn as_str(self) -> Option<&'a str> {
        match self.arena.node(self.id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if the value is one of at most 64 bits.
    pub fn as_int(self) -> Option<i64> {
        match self.arena.node(self.id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if the value is a float or an integer.
    pub fn as_float(self) -> Option<f64> {
        match self.arena.node(self.id) {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    fn pairs(self) -> &'a [(Id, Id)] {
        match self.arena.node(self.id) {
            Node::Dict(pairs) => pairs,
            Node::Opaque(opaque) => match opaque.state.map(|state| self.arena.node(state)) {
                Some(Node::Dict(pairs)) => pairs,
                _ => &opaque.pairs,
            },
            _ => &[],
        }
    }
}
