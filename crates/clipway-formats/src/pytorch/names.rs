//! From a tree of values to a list of named tensors.

use std::collections::HashSet;

use super::keys::check_keys;
use super::value::{Arena, Id, Label, Node};
use crate::error::{Code, FormatError, Place};
use crate::name::{LONGEST_NAME, Names};

/// Maximum nesting of values.
const DEEPEST: usize = 256;
/// Tables in the state of a pickled module; a state dict omits them from its names.
const MODULE_TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// Names every tensor below `root`, in file order: keys joined with `.`. Pickled modules get the names that their state
/// dict would have.
pub(super) fn tensors(arena: &Arena, root: Id) -> Result<Vec<(String, u32)>, FormatError> {
    let cause = match arena.node(root) {
        Node::Dict(_) | Node::Opaque(_) => None,
        Node::Tensor(_) | Node::Storage(_) => Some("the file is one tensor without a name"),
        Node::Tuple(_) | Node::List(_) | Node::Set(_) => {
            Some("the file is a sequence of values without names")
        }
        _ => Some("the file is one value that is neither a dictionary nor a module"),
    };
    if let Some(cause) = cause {
        return Err(FormatError::new(Code::Unsupported, Place::File, cause));
    }
    check_keys(arena)?;
    let mut walk = Walk {
        arena,
        path: String::new(),
        frames: Vec::new(),
        on_path: HashSet::new(),
        objects: HashSet::new(),
        found: Vec::new(),
        names: Names::new(),
        steps_left: 4 * arena.nodes.len() + 10_000,
    };
    walk.run(root)?;
    check_names(&walk.found)?;
    Ok(walk.found)
}

/// Position of the walk in one container.
struct Frame {
    id: Id,
    next: usize,
    /// Length of the path to this container.
    path: usize,
    /// Whether the path has a part; an empty path has none, or one empty part.
    started: bool,
    /// Whether this is the state of a module.
    module: bool,
}

struct Walk<'a> {
    arena: &'a Arena,
    path: String,
    frames: Vec<Frame>,
    on_path: HashSet<Id>,
    /// Visited objects of unknown classes: these may refer to each other in cycles.
    objects: HashSet<Id>,
    found: Vec<(String, u32)>,
    names: Names,
    /// Maximum number of steps in the walk; values can be shared so often that it would never end.
    steps_left: usize,
}

impl Walk<'_> {
    fn run(&mut self, root: Id) -> Result<(), FormatError> {
        self.enter(Frame { id: root, next: 0, path: 0, started: false, module: false })?;
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path);
            let Some((label, child)) = self.arena.child(frame.id, frame.next) else {
                self.on_path.remove(&frame.id);
                self.frames.pop();
                continue;
            };
            frame.next += 1;
            self.spend(1)?;
            match self.arena.node(child) {
                Node::Tensor(tensor) => self.name(label, *tensor)?,
                Node::Tuple(_) | Node::List(_) | Node::Set(_) | Node::Dict(_) | Node::Opaque(_) => {
                    let module = matches!(label, Label::Hidden) && self.is_module_state(child);
                    let started = self.step_into(label)?;
                    let path = self.path.len();
                    self.enter(Frame { id: child, next: 0, path, started, module })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a label to the path of the last frame; returns whether the path then has a part. A key that is neither a
    /// text nor an integer, such as a parameter in a pickled optimizer's state, is replaced by its index: `#0`.
    fn step_into(&mut self, label: Label) -> Result<bool, FormatError> {
        let Some(frame) = self.frames.last() else { return Ok(false) };
        let number;
        let part: &str = match label {
            Label::Hidden => return Ok(frame.started),
            Label::Position(position) => {
                number = position.to_string();
                &number
            }
            Label::Key(key) => match self.arena.node(key) {
                Node::Text(text) if frame.module && MODULE_TABLES.contains(&&**text) => {
                    return Ok(frame.started);
                }
                Node::Text(text) => text,
                Node::Int(value) => {
                    number = value.to_string();
                    &number
                }
                _ => {
                    number = format!("#{}", frame.next - 1);
                    &number
                }
            },
        };
        if self.path.len() + part.len() >= LONGEST_NAME {
            let cause = format!("a name of more than {LONGEST_NAME} bytes");
            return Err(FormatError::new(Code::TooLarge, Place::Tensor(self.path.clone()), cause));
        }
        if frame.started {
            self.path.push('.');
        }
        self.path.push_str(part);
        let copied = part.len() / 64;
        self.spend(copied)?;
        Ok(true)
    }

    fn spend(&mut self, steps: usize) -> Result<(), FormatError> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or_else(|| {
            let cause = "values shared so often that walking them would not end";
            FormatError::new(Code::TooLarge, Place::File, cause)
        })?;
        Ok(())
    }

    fn name(&mut self, label: Label, tensor: u32) -> Result<(), FormatError> {
        let at_root = self.frames.len() == 1;
        self.step_into(label)?;
        if at_root && matches!(label, Label::Key(key) if !matches!(self.arena.node(key), Node::Text(_))) {
            let cause = "a tensor under a key that is not a text";
            return Err(FormatError::new(Code::BadValue, Place::Tensor(self.path.clone()), cause));
        }
        self.names.check(&self.path)?;
        self.found.push((self.path.clone(), tensor));
        Ok(())
    }

    fn enter(&mut self, frame: Frame) -> Result<(), FormatError> {
        if self.is_object(frame.id) && !self.objects.insert(frame.id) {
            return Ok(());
        }
        if !self.on_path.insert(frame.id) {
            if self.frames.iter().any(|outer| self.is_object(outer.id)) {
                return Ok(());
            }
            let cause = "a value that contains itself";
            return Err(FormatError::new(Code::Malformed, Place::Tensor(self.path.clone()), cause));
        }
        if self.frames.len() >= DEEPEST {
            let cause = format!("values nested deeper than {DEEPEST}");
            return Err(FormatError::new(Code::TooLarge, Place::File, cause));
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Whether a value is an object of an uninterpreted class, and not a TorchScript module.
    fn is_object(&self, id: Id) -> bool {
        matches!(self.arena.node(id), Node::Opaque(_))
            && self.arena.global_of(id).is_none_or(|global| !global.name.starts_with("__torch__."))
    }

    fn is_module_state(&self, id: Id) -> bool {
        let Node::Dict(pairs) = self.arena.node(id) else { return false };
        MODULE_TABLES.iter().all(|table| {
            pairs
                .iter()
                .any(|&(key, _)| matches!(self.arena.node(key), Node::Text(text) if &**text == *table))
        })
    }
}

fn check_names(found: &[(String, u32)]) -> Result<(), FormatError> {
    let mut names = HashSet::with_capacity(found.len());
    match found.iter().find(|(name, _)| !names.insert(name.as_str())) {
        Some((name, _)) => {
            Err(FormatError::new(Code::Duplicate, Place::Tensor(name.clone()), "two tensors have this name"))
        }
        None => Ok(()),
    }
}
