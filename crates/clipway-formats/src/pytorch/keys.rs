//! Dictionary keys, compared as in Python.

use std::collections::{HashMap, HashSet};

use super::value::{Arena, Id, Node};
use crate::error::{Code, FormatError, Place, shown};

/// Checks that no dictionary has a duplicate key. PyTorch would silently use the last one.
pub(super) fn check_keys(arena: &Arena) -> Result<(), FormatError> {
    let tuples = Tuples::of(arena);
    for node in &arena.nodes {
        let pairs = match node {
            Node::Dict(pairs) => pairs,
            Node::Opaque(opaque) => &opaque.pairs,
            _ => continue,
        };
        let mut keys = HashSet::with_capacity(pairs.len());
        if let Some(&(twice, _)) = pairs.iter().find(|&&(key, _)| !keys.insert(tuples.key(arena, key))) {
            let cause = format!("a dictionary has the key `{}` twice", text_of(arena, twice));
            return Err(FormatError::new(Code::Duplicate, Place::File, cause));
        }
    }
    Ok(())
}

/// A key for a message.
fn text_of(arena: &Arena, key: Id) -> String {
    match arena.node(key) {
        Node::Text(text) => shown(text),
        Node::Bytes(bytes) => shown(&String::from_utf8_lossy(bytes)),
        Node::Int(number) => number.to_string(),
        Node::Float(number) => format!("{number:?}"),
        Node::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Node::None => "None".to_owned(),
        Node::Tuple(_) => "(…)".to_owned(),
        Node::Global(index) => shown(&arena.globals.get(*index).name),
        _ => "…".to_owned(),
    }
}

/// A value as a key. Values that are equal here are one key in Python: `1`, `1.0` and `True` are.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    None,
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(i64),
    /// An integer beyond 64 bits, as minimal little-endian two's complement.
    Big(Vec<u8>),
    /// A number that is not an integer, by its bits.
    Float(u64),
    /// Index of a tuple among the distinct ones.
    Tuple(u32),
    Global(u32),
    /// Any other object, which equals only itself.
    Object(Id),
}

/// Which tuples of a pickle are equal.
#[derive(Default)]
struct Tuples {
    /// For each tuple, its index among the distinct ones; empty if no key is a tuple.
    numbers: HashMap<Id, u32>,
}

impl Tuples {
    fn of(arena: &Arena) -> Tuples {
        let mut tuples = Tuples::default();
        let is_tuple = |&(key, _): &(Id, Id)| matches!(arena.node(key), Node::Tuple(_));
        let any = arena.nodes.iter().any(|node| match node {
            Node::Dict(pairs) => pairs.iter().any(is_tuple),
            Node::Opaque(opaque) => opaque.pairs.iter().any(is_tuple),
            _ => false,
        });
        if !any {
            return tuples;
        }
        let mut known: HashMap<Vec<Key<'_>>, u32> = HashMap::new();
        // A tuple comes after its elements, so these already have their indices.
        for (id, node) in (0..).zip(&arena.nodes) {
            let Node::Tuple(items) = node else { continue };
            let keys: Vec<Key<'_>> = items.iter().map(|&item| tuples.key(arena, item)).collect();
            let next = known.len() as u32;
            let number = *known.entry(keys).or_insert(next);
            tuples.numbers.insert(id, number);
        }
        tuples
    }

    fn key<'a>(&self, arena: &'a Arena, id: Id) -> Key<'a> {
        match arena.node(id) {
            Node::None => Key::None,
            Node::Text(text) => Key::Text(text),
            Node::Bytes(bytes) => Key::Bytes(bytes),
            Node::Int(number) => Key::Number(*number),
            Node::Bool(value) => Key::Number((*value).into()),
            Node::Big(bytes) => integer(bytes.to_vec()),
            Node::Float(number) => float(*number, id),
            Node::Tuple(_) => self.numbers.get(&id).map_or(Key::Object(id), |&number| Key::Tuple(number)),
            Node::Global(index) => Key::Global(*index),
            _ => Key::Object(id),
        }
    }
}

/// A float as a key: as an integer if it is one. NaN equals only itself.
fn float<'a>(number: f64, id: Id) -> Key<'a> {
    /// Bits of a float's mantissa.
    const MANTISSA: i32 = 52;
    if number.is_nan() {
        return Key::Object(id);
    }
    if number.is_infinite() || number.fract() != 0.0 {
        return Key::Float(number.to_bits());
    }
    let exponent = (number.to_bits() >> MANTISSA & 0x7ff) as i32 - 0x3ff;
    if exponent < 63 {
        return Key::Number(number as i64);
    }
    let mantissa = number.to_bits() & ((1 << MANTISSA) - 1) | 1 << MANTISSA;
    let shift = (exponent - MANTISSA) as usize;
    let mut bytes = vec![0; shift / 8];
    bytes.extend((u128::from(mantissa) << (shift % 8)).to_le_bytes());
    if number < 0.0 {
        let mut carry = true;
        for byte in &mut bytes {
            let (negated, more) = (!*byte).overflowing_add(carry.into());
            (*byte, carry) = (negated, more);
        }
    }
    integer(bytes)
}

/// An integer in little-endian two's complement as a key.
fn integer<'a>(mut bytes: Vec<u8>) -> Key<'a> {
    while let [.., before, last] = bytes[..]
        && (last == 0 && before < 0x80 || last == 0xff && before >= 0x80)
    {
        bytes.pop();
    }
    if bytes.len() > 8 {
        return Key::Big(bytes);
    }
    let sign = if bytes.last().is_some_and(|&top| top >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(&bytes);
    Key::Number(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_as_in_python() {
        let same = |float_value: f64, value: i128| {
            assert!(
                float(float_value, 0) == integer(value.to_le_bytes().to_vec()),
                "{float_value:?} {value}"
            );
        };
        same(0.0, 0);
        same(-0.0, 0);
        same(-3.0, -3);
        same(2f64.powi(62), 1 << 62);
        same(2f64.powi(63), 1 << 63);
        same(-(2f64.powi(63)), -(1 << 63));
        same(-(2f64.powi(64)), -(1 << 64));
        same(1e30, 1_000_000_000_000_000_019_884_624_838_656);
        same(-1e30, -1_000_000_000_000_000_019_884_624_838_656);
        assert!(float(1.5, 0) == float(1.5, 1) && float(1.5, 0) != float(2.5, 0));
        assert!(float(f64::NAN, 0) != float(f64::NAN, 1) && float(f64::NAN, 0) == float(f64::NAN, 0));
        assert!(float(f64::INFINITY, 0) == float(f64::INFINITY, 1));
    }
}
