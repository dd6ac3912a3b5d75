//! The items of a file: what they are, where their data lies, and how they refer to each other (ISO/IEC 14496-12,
//! `meta`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::ImageError;
use super::boxes::{Cursor, FORMAT, Kind, Part, corrupt, shown, truncated, unsupported};

/// Maximum number of entries of each table. A grid has at most 65,536 tiles.
const MOST_ENTRIES: usize = 70_000;

/// A part of the file, or of `idat`.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    length: u64,
}

/// Where an item's data lies.
#[derive(Debug)]
struct Location {
    /// 0: in the file; 1: in `idat`; 2: in another item.
    method: u8,
    /// 0: in this file.
    source: u16,
    extents: Vec<Extent>,
}

/// What an item is.
#[derive(Debug, Clone, Copy)]
struct Description {
    kind: Kind,
    is_protected: bool,
}

/// A reference from an item to others.
#[derive(Debug)]
struct Reference {
    kind: Kind,
    from: u32,
    to: Vec<u32>,
}

/// The association of a property with an item.
#[derive(Debug, Clone, Copy)]
struct Association {
    is_essential: bool,
    /// Counted from 1; 0 for none.
    index: u16,
}

/// The items of a file.
#[derive(Debug, Default)]
pub(super) struct Items<'a> {
    file: &'a [u8],
    /// The item that the file shows.
    pub primary: u32,
    descriptions: BTreeMap<u32, Description>,
    locations: BTreeMap<u32, Location>,
    references: Vec<Reference>,
    properties: Vec<Part<'a>>,
    associations: BTreeMap<u32, Vec<Association>>,
    data: &'a [u8],
}

impl<'a> Items<'a> {
    /// Reads the items of a file.
    ///
    /// # Errors
    /// It has no items, or they are invalid.
    pub fn read(file: &'a [u8]) -> Result<Items<'a>, ImageError> {
        let mut boxes = Cursor::file(file);
        while let Some(part) = boxes.next_box()? {
            if &part.kind == b"meta" {
                let mut items = Items { file, ..Items::default() };
                items.read_all(part.body)?;
                return Ok(items);
            }
            if &part.kind == b"moov" {
                return Err(unsupported("a sequence of images without a still image before it"));
            }
        }
        Err(truncated(format!("its {} bytes hold no `meta` box", file.len())))
    }

    fn read_all(&mut self, mut body: Cursor<'a>) -> Result<(), ImageError> {
        body.version()?;
        let mut found: Vec<Kind> = Vec::new();
        while let Some(Part { kind, body }) = body.next_box()? {
            match &kind {
                b"hdlr" => check_handler(body)?,
                b"pitm" => self.read_primary(body)?,
                b"iinf" => self.read_descriptions(body)?,
                b"iloc" => self.read_locations(body)?,
                b"iref" => self.read_references(body)?,
                b"iprp" => self.read_properties(body)?,
                b"idat" => self.data = body.rest(),
                _ => continue,
            }
            if found.contains(&kind) {
                return Err(corrupt(format!("byte {}: a second `{}` box", body.at(), shown(kind))));
            }
            found.push(kind);
        }
        for needed in [b"hdlr", b"pitm", b"iinf", b"iloc"] {
            if !found.contains(needed) {
                return Err(corrupt(format!("its `meta` box has no `{}` box", shown(*needed))));
            }
        }
        Ok(())
    }

    fn read_primary(&mut self, mut body: Cursor<'_>) -> Result<(), ImageError> {
        let (version, _) = body.version()?;
        self.primary = body.number(if version == 0 { 2 } else { 4 })? as u32;
        Ok(())
    }

    fn read_descriptions(&mut self, mut body: Cursor<'_>) -> Result<(), ImageError> {
        let (version, _) = body.version()?;
        let count = body.number(if version == 0 { 2 } else { 4 })?;
        check_count("items", count)?;
        while let Some(Part { kind, mut body }) = body.next_box()? {
            let (version, _) = body.version()?;
            // Older versions describe no images.
            if &kind != b"infe" || version < 2 {
                continue;
            }
            let id = body.number(if version == 2 { 2 } else { 4 })? as u32;
            let is_protected = body.short_number()? != 0;
            let kind = *body.take(4)?.first_chunk().expect("four bytes");
            check_count("items", self.descriptions.len() as u64)?;
            if self.descriptions.insert(id, Description { kind, is_protected }).is_some() {
                return Err(corrupt(format!("byte {}: item {id} is described twice", body.at())));
            }
        }
        Ok(())
    }

    fn read_locations(&mut self, mut body: Cursor<'_>) -> Result<(), ImageError> {
        let (version, _) = body.version()?;
        if version > 2 {
            return Err(unsupported(format!("`iloc` of version {version}")));
        }
        let sizes = body.short_number()?;
        let size = |shift: u16| usize::from(sizes >> shift & 15);
        let (offset_size, length_size, base_size) = (size(12), size(8), size(4));
        let index_size = if version == 0 { 0 } else { size(0) };
        if [offset_size, length_size, base_size, index_size].iter().any(|size| ![0, 4, 8].contains(size)) {
            return Err(corrupt(format!("byte {}: `iloc` has fields of sizes {sizes:#06x}", body.at())));
        }
        let count = body.number(if version < 2 { 2 } else { 4 })?;
        check_count("locations", count)?;
        for _ in 0..count {
            let id = body.number(if version < 2 { 2 } else { 4 })? as u32;
            let method = if version == 0 { 0 } else { (body.short_number()? & 15) as u8 };
            let source = body.short_number()?;
            let base = body.number(base_size)?;
            let extents = body.short_number()?;
            if extents > 1 && length_size == 0 {
                return Err(corrupt(format!("byte {}: extents of item {id} without lengths", body.at())));
            }
            let extents = (0..extents)
                .map(|_| {
                    body.number(index_size)?;
                    let offset = base.saturating_add(body.number(offset_size)?);
                    Ok(Extent { offset, length: body.number(length_size)? })
                })
                .collect::<Result<_, ImageError>>()?;
            if self.locations.insert(id, Location { method, source, extents }).is_some() {
                return Err(corrupt(format!("byte {}: item {id} has two locations", body.at())));
            }
        }
        Ok(())
    }

    fn read_references(&mut self, mut body: Cursor<'_>) -> Result<(), ImageError> {
        let (version, _) = body.version()?;
        let size = if version == 0 { 2 } else { 4 };
        while let Some(Part { kind, mut body }) = body.next_box()? {
            let from = body.number(size)? as u32;
            let count = body.short_number()?;
            let to = (0..count).map(|_| Ok(body.number(size)? as u32)).collect::<Result<_, ImageError>>()?;
            self.references.push(Reference { kind, from, to });
            check_count("references", self.references.len() as u64)?;
        }
        Ok(())
    }

    fn read_properties(&mut self, mut body: Cursor<'a>) -> Result<(), ImageError> {
        while let Some(Part { kind, mut body }) = body.next_box()? {
            match &kind {
                b"ipco" => {
                    while let Some(property) = body.next_box()? {
                        self.properties.push(property);
                        check_count("properties", self.properties.len() as u64)?;
                    }
                }
                b"ipma" => self.read_associations(body)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_associations(&mut self, mut body: Cursor<'_>) -> Result<(), ImageError> {
        let (version, flags) = body.version()?;
        let wide = flags & 1 != 0;
        let count = body.long_number()?;
        check_count("items with properties", u64::from(count))?;
        for _ in 0..count {
            let id = body.number(if version == 0 { 2 } else { 4 })? as u32;
            let associations = (0..body.byte()?)
                .map(|_| {
                    let word = body.number(if wide { 2 } else { 1 })? as u16;
                    let mark = if wide { 1 << 15 } else { 1 << 7 };
                    Ok(Association { is_essential: word & mark != 0, index: word & (mark - 1) })
                })
                .collect::<Result<_, ImageError>>()?;
            if self.associations.insert(id, associations).is_some() {
                return Err(corrupt(format!("byte {}: item {id} has its properties twice", body.at())));
            }
        }
        Ok(())
    }

    /// What an item is.
    ///
    /// # Errors
    /// There is no such item, or it is encrypted.
    pub fn kind(&self, id: u32) -> Result<Kind, ImageError> {
        match self.descriptions.get(&id) {
            Some(Description { is_protected: true, .. }) => Err(unsupported("encrypted items")),
            Some(description) => Ok(description.kind),
            None => Err(corrupt(format!("item {id} is referred to and not described"))),
        }
    }

    /// The items of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = u32> + '_ {
        let described = self.descriptions.iter();
        described.filter(move |(_, found)| found.kind == kind).map(|(&id, _)| id)
    }

    /// The items that an item refers to by references of a kind.
    pub fn referred(&self, from: u32, kind: &Kind) -> &[u32] {
        let found = self.references.iter().find(|found| found.from == from && &found.kind == kind);
        found.map_or(&[], |found| &found.to)
    }

    /// The references of a kind: an item, and those that it refers to.
    pub fn references(&self, kind: Kind) -> impl Iterator<Item = (u32, &[u32])> {
        let found = self.references.iter().filter(move |found| found.kind == kind);
        found.map(|found| (found.from, found.to.as_slice()))
    }

    /// The properties of an item in their order, each with whether it is essential.
    ///
    /// # Errors
    /// An index leads nowhere.
    pub fn properties(&self, id: u32) -> Result<Vec<(bool, Part<'a>)>, ImageError> {
        let associations = self.associations.get(&id).map_or(&[][..], Vec::as_slice);
        let named = associations.iter().filter(|association| association.index != 0);
        named
            .map(|&Association { is_essential, index }| {
                let property = self.properties.get(usize::from(index) - 1);
                let property = property.ok_or_else(|| {
                    corrupt(format!("item {id} has property {index} of {}", self.properties.len()))
                })?;
                Ok((is_essential, *property))
            })
            .collect()
    }

    /// The data of an item.
    ///
    /// # Errors
    /// It has none, or they lie elsewhere than in the file.
    pub fn data(&self, id: u32) -> Result<Cow<'a, [u8]>, ImageError> {
        let Some(location) = self.locations.get(&id) else {
            return Err(corrupt(format!("item {id} has no location")));
        };
        let whole = match (location.method, location.source) {
            (0, 0) => self.file,
            (1, 0) => self.data,
            (method, source) => {
                return Err(unsupported(format!("data of method {method} from source {source}")));
            }
        };
        let total = location.extents.iter().fold(0_u64, |sum, extent| sum.saturating_add(extent.length));
        if total > self.file.len() as u64 {
            // Longer than the file, so that some of it is missing or used twice.
            return Err(truncated(format!("item {id} has {total} bytes, the file {}", self.file.len())));
        }
        let parts = location.extents.iter().map(|extent| part(whole, extent, id));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        match parts[..] {
            [] => Err(corrupt(format!("item {id} has no data"))),
            [one] => Ok(Cow::Borrowed(one)),
            _ => Ok(Cow::Owned(parts.concat())),
        }
    }
}

/// The bytes of an extent.
fn part<'a>(whole: &'a [u8], extent: &Extent, id: u32) -> Result<&'a [u8], ImageError> {
    let Extent { offset, length } = *extent;
    let end = offset.saturating_add(length);
    if length == 0 {
        return Err(corrupt(format!("item {id} has an extent of no bytes")));
    }
    if end > whole.len() as u64 {
        let detail = format!("item {id}: expected {length} bytes at {offset}, of {} in total", whole.len());
        return Err(truncated(detail));
    }
    Ok(&whole[offset as usize..end as usize])
}

fn check_handler(mut body: Cursor<'_>) -> Result<(), ImageError> {
    body.take(8)?;
    let handler = *body.take(4)?.first_chunk().expect("four bytes");
    match &handler {
        b"pict" => Ok(()),
        _ => Err(unsupported(format!("items for the handler `{}`", shown(handler)))),
    }
}

fn check_count(of: &str, count: u64) -> Result<(), ImageError> {
    if count > MOST_ENTRIES as u64 {
        let detail = format!("{count} {of}, more than {MOST_ENTRIES}");
        return Err(ImageError::TooMuchWork { format: FORMAT, detail });
    }
    Ok(())
}
