//! Writing: one flat table in one pass, without compression. Columns of text may be null, and so may the list of
//! features.

use std::io::{self, Write};

use super::thrift::{BINARY, I32, I64, Thrift, binary, varint, zigzag};
use super::{BYTE_ARRAY, FLOAT, LIST, MAGIC, OPTIONAL, PLAIN, REPEATED, REQUIRED, RLE, UTF8};

/// A row of the table.
pub struct ParquetRow<'a> {
    /// Texts of the columns, in order.
    pub texts: Vec<Option<&'a str>>,
    /// The features.
    pub features: Option<&'a [f32]>,
}

/// Bytes of values after which a row group is written.
const GROUP_BYTES: usize = 64 << 20;

/// Writes a table with these columns of texts and a column `features`, of lists of values.
///
/// # Errors
/// A write that fails.
pub fn write_parquet<'a>(
    out: &mut impl Write,
    columns: &[&str],
    rows: impl Iterator<Item = ParquetRow<'a>>,
) -> io::Result<()> {
    let mut writer = ParquetWriter::new(out, columns, true)?;
    for row in rows {
        writer.push(&row)?;
    }
    writer.finish()
}

/// A table that is written row by row; about 64 MiB of rows are in memory at a time.
pub struct ParquetWriter<W> {
    out: Counted<W>,
    columns: Vec<String>,
    texts: Vec<TextPage>,
    /// The column `features`, if the table has one.
    lists: Option<ListPage>,
    /// Rows of the group that is being collected.
    rows: i64,
    /// Descriptions of the groups that are written.
    groups: Vec<Vec<u8>>,
    /// Rows of these groups.
    count: i64,
}

impl<W: Write> ParquetWriter<W> {
    /// Begins a table with these columns of texts, and a column `features` if there are any.
    ///
    /// # Errors
    /// A write that fails.
    pub fn new(out: W, columns: &[&str], features: bool) -> io::Result<ParquetWriter<W>> {
        let mut out = Counted { out, position: 0 };
        out.write(MAGIC)?;
        let texts = columns.iter().map(|_| TextPage::default()).collect();
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let lists = features.then(ListPage::default);
        Ok(ParquetWriter { out, columns, texts, lists, rows: 0, groups: Vec::new(), count: 0 })
    }

    /// Adds a row. Texts beyond the columns, and features without a column, are left out.
    ///
    /// # Errors
    /// A write that fails.
    pub fn push(&mut self, row: &ParquetRow<'_>) -> io::Result<()> {
        for (page, text) in self.texts.iter_mut().zip(&row.texts) {
            page.push(*text);
        }
        self.lists.iter_mut().for_each(|page| page.push(row.features));
        self.rows += 1;
        let texts = self.texts.iter().map(|page| page.values.len()).sum::<usize>();
        let lists = self.lists.as_ref().map_or(0, |page| page.values.len());
        if texts + lists >= GROUP_BYTES { self.end_group() } else { Ok(()) }
    }

    /// Writes the rows that were collected.
    fn end_group(&mut self) -> io::Result<()> {
        let mut chunks = Vec::new();
        for (name, page) in self.columns.iter().zip(&mut self.texts) {
            let (page, values) = std::mem::take(page).ended();
            chunks.push(chunk(&mut self.out, &page, values, BYTE_ARRAY, &[name])?);
        }
        if let Some(page) = &mut self.lists {
            let (page, values) = std::mem::take(page).ended();
            chunks.push(chunk(&mut self.out, &page, values, FLOAT, &["features", "list", "element"])?);
        }
        let bytes: i64 = chunks.iter().map(|(_, bytes)| bytes).sum();
        let mut thrift = Thrift::default();
        thrift.structs(1, chunks.into_iter().map(|(chunk, _)| chunk));
        thrift.integer(2, I64, bytes);
        thrift.integer(3, I64, self.rows);
        self.groups.push(thrift.ended());
        self.count += std::mem::take(&mut self.rows);
        Ok(())
    }

    /// Writes the last rows and the description of the table.
    ///
    /// # Errors
    /// A write that fails.
    pub fn finish(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group()?;
        }
        let mut footer = Thrift::default();
        footer.integer(1, I32, 1);
        footer.structs(2, schema(&self.columns, self.lists.is_some()).into_iter());
        footer.integer(3, I64, self.count);
        footer.structs(4, self.groups.into_iter());
        footer.text(6, concat!("clipway version ", env!("CARGO_PKG_VERSION")));
        let footer = footer.ended();
        self.out.write(&footer)?;
        self.out.write(&(footer.len() as u32).to_le_bytes())?;
        self.out.write(MAGIC)?;
        self.out.out.flush()
    }
}

/// A stream that knows its position.
struct Counted<W> {
    out: W,
    position: i64,
}

impl<W: Write> Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as i64;
        self.out.write_all(bytes)
    }
}

/// Elements of the schema, depth first.
fn schema(columns: &[String], features: bool) -> Vec<Vec<u8>> {
    let element =
        |name: &str, kind: Option<i64>, repetition, children: Option<i64>, converted: Option<i64>| {
            let mut thrift = Thrift::default();
            kind.into_iter().for_each(|kind| thrift.integer(1, I32, kind));
            thrift.integer(3, I32, repetition);
            thrift.text(4, name);
            children.into_iter().for_each(|children| thrift.integer(5, I32, children));
            converted.into_iter().for_each(|converted| thrift.integer(6, I32, converted));
            thrift.ended()
        };
    let children = columns.len() + usize::from(features);
    let mut elements = vec![element("schema", None, REQUIRED, Some(children as i64), None)];
    elements.extend(columns.iter().map(|name| element(name, Some(BYTE_ARRAY), OPTIONAL, None, Some(UTF8))));
    if features {
        elements.push(element("features", None, OPTIONAL, Some(1), Some(LIST)));
        elements.push(element("list", None, REPEATED, Some(1), None));
        elements.push(element("element", Some(FLOAT), REQUIRED, None, None));
    }
    elements
}

/// Writes a column's page, and returns its description and its bytes.
fn chunk<W: Write>(
    out: &mut Counted<W>,
    page: &[u8],
    values: i64,
    kind: i64,
    path: &[&str],
) -> io::Result<(Vec<u8>, i64)> {
    let offset = out.position;
    let mut data = Thrift::default();
    data.integer(1, I32, values);
    data.integer(2, I32, PLAIN);
    data.integer(3, I32, RLE);
    data.integer(4, I32, RLE);
    let mut header = Thrift::default();
    header.integer(1, I32, 0);
    header.integer(2, I32, page.len() as i64);
    header.integer(3, I32, page.len() as i64);
    header.structure(5, &data.ended());
    out.write(&header.ended())?;
    out.write(page)?;
    let bytes = out.position - offset;
    let mut column = Thrift::default();
    column.integer(1, I32, kind);
    column.list(2, I32, [PLAIN, RLE].into_iter().map(zigzag));
    column.list(3, BINARY, path.iter().map(|part| binary(part)));
    column.integer(4, I32, 0);
    column.integer(5, I64, values);
    column.integer(6, I64, bytes);
    column.integer(7, I64, bytes);
    column.integer(9, I64, offset);
    let mut described = Thrift::default();
    described.integer(2, I64, offset);
    described.structure(3, &column.ended());
    Ok((described.ended(), bytes))
}

/// A page of texts.
#[derive(Default)]
struct TextPage {
    levels: Runs,
    values: Vec<u8>,
}

impl TextPage {
    fn push(&mut self, text: Option<&str>) {
        self.levels.push(u8::from(text.is_some()), 1);
        if let Some(text) = text {
            self.values.extend((text.len() as u32).to_le_bytes());
            self.values.extend(text.as_bytes());
        }
    }

    /// The page, and its number of values, nulls included.
    fn ended(self) -> (Vec<u8>, i64) {
        let count = self.levels.count;
        ([self.levels.ended(), self.values].concat(), count)
    }
}

/// A page of lists.
#[derive(Default)]
struct ListPage {
    repetition: Runs,
    definition: Runs,
    values: Vec<u8>,
}

impl ListPage {
    fn push(&mut self, list: Option<&[f32]>) {
        self.repetition.push(0, 1);
        match list {
            None => self.definition.push(0, 1),
            Some([]) => self.definition.push(1, 1),
            Some(list) => {
                self.repetition.push(1, list.len() - 1);
                self.definition.push(2, list.len());
                self.values.extend(list.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }

    /// The page, and its number of values; a null list counts as one.
    fn ended(self) -> (Vec<u8>, i64) {
        let count = self.repetition.count;
        ([self.repetition.ended(), self.definition.ended(), self.values].concat(), count)
    }
}

/// Levels as runs of equal ones.
#[derive(Default)]
struct Runs {
    bytes: Vec<u8>,
    run: Option<(u8, usize)>,
    count: i64,
}

impl Runs {
    fn push(&mut self, level: u8, times: usize) {
        self.count += times as i64;
        match &mut self.run {
            _ if times == 0 => {}
            Some((current, length)) if *current == level => *length += times,
            _ => {
                self.flush();
                self.run = Some((level, times));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((level, length)) = self.run.take() {
            varint((length as u64) << 1, &mut self.bytes);
            self.bytes.push(level);
        }
    }

    /// The runs after their length in bytes.
    fn ended(mut self) -> Vec<u8> {
        self.flush();
        [&(self.bytes.len() as u32).to_le_bytes()[..], &self.bytes].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_runs() {
        // One text of three values, a null and one value: 0 1 1, 0, 0.
        let mut page = ListPage::default();
        [Some(&[1.0, 2.0, 3.0][..]), None, Some(&[4.0])].into_iter().for_each(|list| page.push(list));
        let (page, count) = page.ended();
        assert_eq!(count, 5);
        let repetition = [6, 0, 0, 0, 2, 0, 4, 1, 4, 0];
        let definition = [6, 0, 0, 0, 6, 2, 2, 0, 2, 2];
        assert_eq!(page[..20], [repetition, definition].concat());
        assert_eq!(page.len(), 20 + 4 * 4);
    }
}
