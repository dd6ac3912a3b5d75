//! The effect on values of opcodes that call, build and fill.

use super::globals::{GlobalKind, Meaning};
use super::machine::{Dialect, Machine};
use super::value::{Id, Node, Opaque};
use crate::error::{Code, FormatError, shown};
use crate::shape::shown_shape;

/// More arguments than any known call takes.
const MOST_ARGUMENTS: usize = 16;

/// The function that rebuilds tensors which wrap others, and the one class of them that is read.
const WRAPPER: &str = "torch._utils._rebuild_wrapper_subclass";
const DISTRIBUTED: &str = ".DTensor";

impl Machine<'_> {
    /// `REDUCE`: a call of `callee`. Known ones are interpreted; any other produces an opaque value.
    pub(super) fn reduce(&mut self, callee: Id, arguments: Id) -> Result<Id, FormatError> {
        let items = self.arguments(arguments)?;
        let index = match self.arena.node(callee) {
            Node::Global(index) => *index,
            Node::Opaque(_) => return self.call_of_opaque(callee, arguments),
            _ => return Err(self.malformed("a call of a value that is neither a class nor a function")),
        };
        match self.arena.globals.get(index).meaning {
            Meaning::NestedFile if self.dialect != Dialect::Plain => self.opaque(callee, arguments),
            Meaning::Opaque => {
                let global = self.arena.globals.get_mut(index);
                if global.kind == GlobalKind::Unknown && global.looks_like_function() {
                    global.kind = GlobalKind::Dangerous;
                }
                self.refuse_dangerous(index)?;
                self.opaque(callee, arguments)
            }
            Meaning::RebuildFromType => {
                let [function, class, inner, state] = items[..] else {
                    return Err(self.malformed(format!("{} arguments instead of 4", items.len())));
                };
                if self.is_named(function, WRAPPER) && self.is_named(class, DISTRIBUTED) {
                    return self.distributed(inner, state);
                }
                self.expect_dict(state)?;
                let items = self.arguments(inner)?;
                match self.meaning(function) {
                    Some(Meaning::RebuildFromType) | None => {
                        Err(self.malformed("a tensor rebuilt by an unknown function"))
                    }
                    Some(meaning) => self.known_call(meaning, function, &items),
                }
            }
            meaning => self.known_call(meaning, callee, &items),
        }
    }

    /// A `DTensor`, whose state has this process's part of it: that part, if it is the whole.
    fn distributed(&mut self, arguments: Id, state: Id) -> Result<Id, FormatError> {
        let arguments = self.arguments(arguments)?;
        let parts = self.arena.sequence(state);
        let state = parts.get(1).copied().unwrap_or(state);
        let local = match self.arena.node(state) {
            Node::Dict(pairs) => pairs.iter().find(
                |(key, _)| matches!(self.arena.node(*key), Node::Text(key) if &**key == "_local_tensor"),
            ),
            _ => None,
        };
        let (Some(&size), Some(&(_, local))) = (arguments.get(2), local) else {
            return Err(self.malformed("a `DTensor` without its size or its part"));
        };
        let Node::Tensor(number) = *self.arena.node(local) else {
            return Err(self.malformed("a `DTensor` whose part is not a tensor"));
        };
        let whole = self.lengths(size, "the size of a `DTensor`")?;
        let part = &self.tensors[number as usize].shape;
        if !part.iter().map(|&length| length as u64).eq(whole.iter().copied()) {
            let whole: Vec<usize> = whole.iter().map(|&length| length as usize).collect();
            let cause = format!(
                "a `DTensor` of shape {}, of which the file has one process's part, {}; `full_tensor()` is the whole",
                shown_shape(&whole),
                shown_shape(part)
            );
            return Err(self.error(Code::Unsupported, cause));
        }
        Ok(local)
    }

    /// Whether a value is the global of this name.
    fn is_named(&self, id: Id, name: &str) -> bool {
        matches!(self.arena.node(id), Node::Global(index) if self.arena.globals.get(*index).name.ends_with(name))
    }

    /// `NEWOBJ`, `INST` and `OBJ`: an object of a class.
    pub(super) fn instantiate(&mut self, class: Id, arguments: Id) -> Result<Id, FormatError> {
        let items = self.arguments(arguments)?;
        match self.meaning(class) {
            Some(
                meaning @ (Meaning::Dict
                | Meaning::DefaultDict
                | Meaning::List
                | Meaning::Tuple
                | Meaning::Set
                | Meaning::ByteArray
                | Meaning::Parameter),
            ) => self.known_call(meaning, class, &items),
            _ => self.instantiate_opaque(class, arguments),
        }
    }

    /// An object that is not interpreted, whose class must be a global.
    pub(super) fn instantiate_opaque(&mut self, class: Id, arguments: Id) -> Result<Id, FormatError> {
        match self.arena.node(class) {
            Node::Global(index) if self.arena.globals.get(*index).meaning == Meaning::Opaque => {
                self.opaque(class, arguments)
            }
            Node::Opaque(_) => self.call_of_opaque(class, arguments),
            _ => Err(self.malformed("an object of something that is not a class")),
        }
    }

    /// `BUILD`: sets an object's state.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), FormatError> {
        match &mut self.arena.nodes[object as usize] {
            Node::Opaque(opaque) if opaque.state.is_none() => opaque.state = Some(state),
            Node::Dict(_) if !self.arena.attributes.contains_key(&object) => {
                self.expect_dict(state)?;
                self.arena.attributes.insert(object, state);
            }
            Node::Opaque(_) | Node::Dict(_) => return Err(self.malformed("a second state for an object")),
            _ => return Err(self.malformed("a state for a value that cannot have one")),
        }
        Ok(())
    }

    /// `SETITEM`, `SETITEMS` and `DICT`: alternating keys and values.
    pub(super) fn set_items(&mut self, dict: Id, items: &[Id]) -> Result<(), FormatError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.malformed("a key without a value"));
        }
        self.check_keys(items.iter().step_by(2).copied())?;
        let pairs = match &mut self.arena.nodes[dict as usize] {
            Node::Dict(pairs) => pairs,
            Node::Opaque(opaque) => &mut opaque.pairs,
            _ => return Err(self.malformed("keys and values for a value that is not a dictionary")),
        };
        pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    /// `APPEND` and `APPENDS`.
    pub(super) fn append(&mut self, list: Id, items: &[Id]) -> Result<(), FormatError> {
        match &mut self.arena.nodes[list as usize] {
            Node::List(list) => list.extend(items),
            Node::Opaque(opaque) => opaque.items.extend(items),
            _ => return Err(self.malformed("elements for a value that is not a list")),
        }
        Ok(())
    }

    /// `ADDITEMS`.
    pub(super) fn add(&mut self, set: Id, items: &[Id]) -> Result<(), FormatError> {
        self.check_keys(items.iter().copied())?;
        match &mut self.arena.nodes[set as usize] {
            Node::Set(set) => set.extend(items),
            _ => return Err(self.malformed("elements for a value that is not a set")),
        }
        Ok(())
    }

    /// Checks that values can be keys of a dictionary or elements of a set.
    pub(super) fn check_keys(&self, keys: impl Iterator<Item = Id>) -> Result<(), FormatError> {
        for key in keys {
            if let Node::List(_) | Node::Set(_) | Node::Dict(_) = self.arena.node(key) {
                return Err(self.malformed("a mutable key: a list, set or dictionary"));
            }
        }
        Ok(())
    }

    /// The arguments of a call; if there are very many, only the first ones, which no known call takes.
    pub(super) fn arguments(&self, id: Id) -> Result<Vec<Id>, FormatError> {
        match self.arena.node(id) {
            Node::Tuple(items) => Ok(items[..items.len().min(MOST_ARGUMENTS)].to_vec()),
            _ => Err(self.malformed("arguments that are not a tuple")),
        }
    }

    fn expect_dict(&self, id: Id) -> Result<(), FormatError> {
        match self.arena.node(id) {
            Node::Dict(_) => Ok(()),
            _ => Err(self.malformed("a state that is not a dictionary")),
        }
    }

    fn meaning(&self, id: Id) -> Option<Meaning> {
        match self.arena.node(id) {
            Node::Global(index) => Some(self.arena.globals.get(*index).meaning),
            _ => None,
        }
    }

    fn opaque(&mut self, callee: Id, arguments: Id) -> Result<Id, FormatError> {
        let opaque = Opaque { callee, arguments, state: None, items: Vec::new(), pairs: Vec::new() };
        self.new_node(Node::Opaque(Box::new(opaque)))
    }

    /// A call of another call's result: whatever that is, it is code.
    fn call_of_opaque(&mut self, callee: Id, arguments: Id) -> Result<Id, FormatError> {
        if !self.allow_opaque {
            let cause = "calling another call's result runs code when the pickle is executed";
            return Err(self.error(Code::UnsafePickle, cause));
        }
        self.opaque(callee, arguments)
    }

    /// A call of a known global.
    fn known_call(&mut self, meaning: Meaning, callee: Id, items: &[Id]) -> Result<Id, FormatError> {
        let node = match (meaning, items) {
            (Meaning::RebuildTensor | Meaning::RebuildTensorV2 | Meaning::RebuildTensorV3, _) => {
                return self.rebuild(meaning, items);
            }
            (Meaning::Parameter, [data, rest @ ..]) if rest.len() <= 3 => {
                if !matches!(self.arena.node(*data), Node::Tensor(_)) {
                    return Err(self.malformed("a parameter whose data is not a tensor"));
                }
                return Ok(*data);
            }
            (Meaning::Same, [value, ..]) => return Ok(*value),
            (Meaning::Dict, []) | (Meaning::DefaultDict, [] | [_]) => Node::Dict(Vec::new()),
            (Meaning::Dict, [pairs]) => Node::Dict(self.pairs(*pairs)?),
            (Meaning::List, []) => Node::List(Vec::new()),
            (Meaning::Tuple, []) => Node::Tuple(Box::default()),
            (Meaning::Set, []) => Node::Set(Vec::new()),
            (Meaning::List, [items]) => Node::List(self.elements(*items)?),
            (Meaning::Tuple, [items]) => Node::Tuple(self.elements(*items)?.into()),
            (Meaning::Set, [items]) => {
                let items = self.elements(*items)?;
                self.check_keys(items.iter().copied())?;
                Node::Set(items)
            }
            (Meaning::ByteArray, []) => Node::Bytes(Box::default()),
            (Meaning::ByteArray | Meaning::Encode, [value, ..]) if items.len() <= 2 => self.bytes(*value)?,
            (Meaning::NestedFile, [value]) => return self.nested_file(*value),
            (Meaning::UnsupportedTensor, _) => {
                let name =
                    self.arena.global_of(callee).map_or_else(String::new, |global| shown(&global.name));
                let cause = format!("a tensor made by `{name}`: sparse, quantized, nested or without data");
                return Err(self.error(Code::Unsupported, cause));
            }
            _ => return Err(self.malformed(format!("a call with {} arguments of a wrong kind", items.len()))),
        };
        self.new_node(node)
    }

    fn elements(&mut self, id: Id) -> Result<Vec<Id>, FormatError> {
        if !matches!(self.arena.node(id), Node::Tuple(_) | Node::List(_) | Node::Set(_)) {
            return Err(self.malformed("elements that are not in a tuple, list or set"));
        }
        self.copying(self.arena.sequence(id).len())?;
        Ok(self.arena.sequence(id).to_vec())
    }

    fn pairs(&mut self, id: Id) -> Result<Vec<(Id, Id)>, FormatError> {
        if let Node::Dict(pairs) = self.arena.node(id) {
            let pairs = pairs.clone();
            self.copying(pairs.len())?;
            return Ok(pairs);
        }
        let mut pairs = Vec::new();
        for item in self.elements(id)? {
            match *self.arena.sequence(item) {
                [key, value] => pairs.push((key, value)),
                _ => return Err(self.malformed("a pair without exactly two elements")),
            }
        }
        self.check_keys(pairs.iter().map(|&(key, _)| key))?;
        Ok(pairs)
    }

    fn bytes(&mut self, id: Id) -> Result<Node, FormatError> {
        let length = match self.arena.node(id) {
            Node::Bytes(bytes) => bytes.len(),
            Node::Text(text) => text.len(),
            _ => 0,
        };
        self.copying(length.div_ceil(16))?;
        match self.arena.node(id) {
            Node::Bytes(bytes) => Ok(Node::Bytes(bytes.clone())),
            // Protocols below 3 write bytes as Latin-1 text.
            Node::Text(text) => {
                let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let latin =
                    latin.ok_or_else(|| self.malformed("bytes written as text that is not Latin-1"))?;
                Ok(Node::Bytes(latin.into()))
            }
            _ => Err(self.malformed("bytes made from a value without any")),
        }
    }
}
