//! The columns of a table: its schema is a tree, written depth first, whose leaves have values.

use super::refusal::{Refusal, malformed};
use super::thrift::{BINARY, I32, STRUCT, ThriftReader};
use super::{BYTE_ARRAY, DOUBLE, FIXED, FLOAT, LIST, OPTIONAL, REPEATED, REQUIRED, UTF8};

/// Deepest nesting.
const MOST_DEPTH: usize = 32;

/// Members of the union of logical types.
const STRING: i64 = 1;
const LOGICAL_LIST: i64 = 3;
const FLOAT16: i64 = 15;

/// What a leaf stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// 16-bit floats.
    Half,
    /// 32-bit floats.
    Single,
    /// 64-bit floats.
    Double,
    /// Bytes, or texts.
    Bytes,
    /// Anything else, which is not read.
    Other,
}

impl Stored {
    /// Bytes of a number; 0 for others.
    pub(super) fn size(self) -> usize {
        match self {
            Stored::Half => 2,
            Stored::Single => 4,
            Stored::Double => 8,
            Stored::Bytes | Stored::Other => 0,
        }
    }
}

/// A leaf of the schema.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// Names from the root, joined by dots; of a list, up to the list.
    pub(super) name: String,
    /// All names from the root.
    pub(super) path: Vec<String>,
    /// Its physical type.
    pub(super) physical: i64,
    pub(super) stored: Stored,
    /// Highest levels.
    pub(super) definition: u32,
    pub(super) repetition: u32,
    /// From which definition level on a list has an element; 0 without a list.
    pub(super) element: u32,
    /// Whether a list's elements are single values.
    pub(super) is_flat: bool,
}

/// An element of the schema.
struct Element {
    name: String,
    physical: Option<i64>,
    length: i64,
    repetition: i64,
    children: usize,
    is_list: bool,
    is_text: bool,
    is_half: bool,
    is_plain: bool,
}

impl Element {
    fn read(reader: &mut ThriftReader<'_>) -> Result<Element, Refusal> {
        let (mut physical, mut length, mut repetition, mut children) = (None, 0, REQUIRED, 0);
        let (mut name, mut converted, mut logical) = (String::new(), None, None);
        reader.structure(|reader, field| {
            match (field.number, field.kind) {
                (1, I32) => physical = Some(reader.integer()?),
                (2, I32) => length = reader.integer()?,
                (3, I32) => repetition = reader.integer()?,
                (4, BINARY) => name = reader.text()?.to_owned(),
                (5, I32) => children = reader.integer()?,
                (6, I32) => converted = Some(reader.integer()?),
                (10, STRUCT) => reader.structure(|_, member| {
                    logical = Some(member.number);
                    Ok(false)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if !(REQUIRED..=REPEATED).contains(&repetition) {
            return Err(malformed(format!("the unknown repetition {repetition}")));
        }
        let children = usize::try_from(children).map_err(|_| malformed("a negative number of columns"))?;
        Ok(Element {
            name,
            physical: physical.filter(|_| children == 0),
            length,
            repetition,
            children,
            is_list: converted == Some(LIST) || logical == Some(LOGICAL_LIST),
            is_text: converted == Some(UTF8) || logical == Some(STRING),
            is_half: logical == Some(FLOAT16),
            is_plain: converted.is_none() && logical.is_none(),
        })
    }

    fn stored(&self) -> Stored {
        match self.physical {
            Some(FLOAT) if self.is_plain => Stored::Single,
            Some(DOUBLE) if self.is_plain => Stored::Double,
            Some(FIXED) if self.is_half && self.length == 2 => Stored::Half,
            Some(BYTE_ARRAY) if self.is_text || self.is_plain => Stored::Bytes,
            _ => Stored::Other,
        }
    }
}

/// Reads the schema: its leaves, in order.
pub(super) fn read(reader: &mut ThriftReader<'_>) -> Result<Vec<Leaf>, Refusal> {
    let mut elements = Vec::new();
    reader.structures(|reader| {
        elements.push(Element::read(reader)?);
        Ok(())
    })?;
    let mut elements = elements.into_iter();
    let root = elements.next().ok_or_else(|| malformed("a schema without a root"))?;
    let mut leaves = Vec::new();
    for _ in 0..root.children {
        collect(&mut elements, &Above::default(), &mut leaves)?;
    }
    if elements.next().is_some() {
        return Err(malformed("a schema with more elements than its root has"));
    }
    Ok(leaves)
}

/// What is above an element.
#[derive(Clone, Default)]
struct Above {
    path: Vec<String>,
    is_list: bool,
    /// The name of the list that it lies in.
    list: Option<String>,
    definition: u32,
    repetition: u32,
    element: u32,
    is_flat: bool,
}

/// Adds the leaves of the next element and of those below it.
fn collect(
    elements: &mut impl Iterator<Item = Element>,
    above: &Above,
    leaves: &mut Vec<Leaf>,
) -> Result<(), Refusal> {
    let element = elements.next().ok_or_else(|| malformed("a schema with fewer elements than it states"))?;
    if above.path.len() == MOST_DEPTH {
        return Err(malformed("a schema nested too deeply"));
    }
    let mut here = above.clone();
    here.path.push(element.name.clone());
    here.is_list = element.is_list;
    here.definition += u32::from(element.repetition == OPTIONAL);
    if element.repetition == REPEATED {
        here.definition += 1;
        here.repetition += 1;
        here.element = here.definition;
        // A repeated field by itself is a list of its own name.
        let named = if above.is_list { &above.path } else { &here.path };
        here.list = Some(named.join("."));
        here.is_flat = true;
    }
    if element.physical.is_some() {
        let name = here.list.unwrap_or_else(|| here.path.join("."));
        leaves.push(Leaf {
            name,
            path: here.path,
            physical: element.physical.unwrap_or_default(),
            stored: element.stored(),
            definition: here.definition,
            repetition: here.repetition,
            element: here.element,
            is_flat: here.is_flat,
        });
        return Ok(());
    }
    here.is_flat &= element.children == 1;
    (0..element.children).try_for_each(|_| collect(elements, &here, leaves))
}
