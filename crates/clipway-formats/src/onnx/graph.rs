//! The values of a graph: each is produced once, and none depends on itself.

use std::collections::{HashMap, HashSet};

use crate::error::{Code, FormatError, Place, shown};
use crate::onnx::wire::{Field, Message};

/// Maximum number of value names in a model.
const MOST_NAMES: usize = 1 << 20;

/// Maximum nesting of graphs, as in loops and conditions.
const DEEPEST: usize = 16;

/// What produces a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// Nothing known so far.
    Nothing,
    /// It is an input of the graph.
    Input,
    /// It is stored in the file; an input with the same name has it as default.
    Initializer,
    /// This node.
    Node(u32),
}

/// The names of a graph's values: what produces them, and which nodes need them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    numbers: HashMap<String, u32>,
    /// By the index of a name.
    makers: Vec<Maker>,
    nodes: u32,
    /// Nodes, with the indices of the names that each needs.
    needs: Vec<(u32, u32)>,
    outputs: HashSet<u32>,
    uses: usize,
}

impl Graph {
    /// Starts a node.
    pub(super) fn add_node(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// Records that a value is produced. An empty name means an omitted output of a node.
    pub(super) fn make(&mut self, name: String, maker: Maker, at: &Field) -> Result<(), FormatError> {
        if name.is_empty() {
            return Ok(());
        }
        let cause = format!("two values have the name `{}`", shown(&name));
        let number = self.number(name, at)?;
        let place = &mut self.makers[number as usize];
        match (*place, maker) {
            (Maker::Nothing, _) => *place = maker,
            (Maker::Input, Maker::Initializer) | (Maker::Initializer, Maker::Input) => {
                *place = Maker::Initializer
            }
            _ => return Err(at.error(Code::Duplicate, cause)),
        }
        Ok(())
    }

    /// Records that a node needs a value. An empty name means an omitted input.
    pub(super) fn need(&mut self, node: u32, name: String, at: &Field) -> Result<(), FormatError> {
        if !name.is_empty() {
            let number = self.number(name, at)?;
            self.needs.push((node, number));
        }
        Ok(())
    }

    /// Whether a value is stored in the file.
    pub(super) fn is_stored(&self, name: &str) -> bool {
        self.numbers.get(name).is_some_and(|&number| self.makers[number as usize] == Maker::Initializer)
    }

    /// Records an output of the graph.
    pub(super) fn add_output(&mut self, name: String, at: &Field) -> Result<(), FormatError> {
        let cause = format!("the graph has the output `{}` twice", shown(&name));
        let number = self.number(name, at)?;
        if !self.outputs.insert(number) {
            return Err(at.error(Code::Duplicate, cause));
        }
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    fn number(&mut self, name: String, at: &Field) -> Result<u32, FormatError> {
        self.uses += 1;
        if self.uses > MOST_NAMES {
            return Err(at.error(Code::TooLarge, format!("more than {MOST_NAMES} names of values")));
        }
        let next = self.makers.len() as u32;
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.makers.push(Maker::Nothing);
        }
        Ok(number)
    }

    /// Checks that no value depends on itself, and returns an order in which the nodes can be executed and the names
    /// that are needed but not produced here.
    ///
    /// # Errors
    /// `Code::Malformed` for a cycle of nodes.
    pub(super) fn finish(self) -> Result<(Vec<u32>, Vec<String>), FormatError> {
        let order = self.order()?;
        let mut wanting = vec![false; self.makers.len()];
        let needed = self.needs.iter().map(|&(_, number)| number).chain(self.outputs.iter().copied());
        for number in needed {
            wanting[number as usize] = self.makers[number as usize] == Maker::Nothing;
        }
        let mut names: Vec<(u32, String)> =
            self.numbers.into_iter().map(|(name, number)| (number, name)).collect();
        names.retain(|&(number, _)| wanting[number as usize]);
        names.sort();
        Ok((order, names.into_iter().map(|(_, name)| name).collect()))
    }

    /// An order in which the nodes can be executed.
    fn order(&self) -> Result<Vec<u32>, FormatError> {
        // For each node, those that need what it produces.
        let mut after = vec![Vec::new(); self.nodes as usize];
        let mut waits_for = vec![0usize; self.nodes as usize];
        for &(node, number) in &self.needs {
            if let Maker::Node(maker) = self.makers[number as usize] {
                after[maker as usize].push(node);
                waits_for[node as usize] += 1;
            }
        }
        let mut ready: Vec<u32> = (0..self.nodes).filter(|&node| waits_for[node as usize] == 0).collect();
        let mut order = Vec::with_capacity(waits_for.len());
        while let Some(node) = ready.pop() {
            order.push(node);
            for &next in &after[node as usize] {
                waits_for[next as usize] -= 1;
                if waits_for[next as usize] == 0 {
                    ready.push(next);
                }
            }
        }
        if order.len() == waits_for.len() {
            return Ok(order);
        }
        let stuck = |maker: &Maker| matches!(maker, Maker::Node(node) if waits_for[*node as usize] > 0);
        let number = self.makers.iter().position(stuck).unwrap_or_default() as u32;
        let name = self.numbers.iter().find(|&(_, &found)| found == number).map_or("", |(name, _)| name);
        let cause = format!("`{}` depends on itself: the nodes of the graph form a cycle", shown(name));
        Err(FormatError::new(Code::Malformed, Place::File, cause))
    }
}

/// Reads a node's attribute, and returns what the graphs inside it need from outside.
pub(super) fn read_attribute(mut message: Message<'_>, depth: usize) -> Result<Vec<String>, FormatError> {
    let mut needed = Vec::new();
    while let Some(field) = message.next()? {
        match field.number {
            6 | 11 if depth == DEEPEST => {
                return Err(field.error(Code::TooLarge, format!("graphs nested deeper than {DEEPEST}")));
            }
            6 | 11 => needed.extend(read_subgraph(message.message(&field)?, depth)?),
            _ => {}
        }
    }
    Ok(needed)
}

/// Reads a graph inside a node, and returns the names that it needs from outside.
fn read_subgraph(mut message: Message<'_>, depth: usize) -> Result<Vec<String>, FormatError> {
    let mut graph = Graph::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => read_values(message.message(&field)?, &mut graph, depth)?,
            5 => {
                let name = read_text(message.message(&field)?, 8)?;
                graph.make(name, Maker::Initializer, &field)?;
            }
            11 => {
                let name = read_text(message.message(&field)?, 1)?;
                graph.make(name, Maker::Input, &field)?;
            }
            12 => {
                let name = read_text(message.message(&field)?, 1)?;
                graph.add_output(name, &field)?;
            }
            _ => {}
        }
    }
    graph.finish().map(|(_, needed)| needed)
}

/// Reads the values of a node inside a node.
fn read_values(mut message: Message<'_>, graph: &mut Graph, depth: usize) -> Result<(), FormatError> {
    let node = graph.add_node();
    while let Some(field) = message.next()? {
        match field.number {
            1 => graph.need(node, message.text(&field)?, &field)?,
            2 => graph.make(message.text(&field)?, Maker::Node(node), &field)?,
            5 => {
                for name in read_attribute(message.message(&field)?, depth + 1)? {
                    graph.need(node, name, &field)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads the text field `number` of a message; empty if absent.
fn read_text(mut message: Message<'_>, number: u32) -> Result<String, FormatError> {
    let mut text = None;
    while let Some(field) = message.next()? {
        if field.number == number {
            field.set(&mut text, message.text(&field)?)?;
        }
    }
    Ok(text.unwrap_or_default())
}
