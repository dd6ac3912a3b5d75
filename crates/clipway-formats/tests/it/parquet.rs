//! Parquet: tables of other programs and our own, refusals one by one, and every small change of some tables.
//!
//! `scripts/make_parquet_samples.py` wrote the tables in `tests/data/parquet`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Code, Dtype, FormatError, ParquetFile, ParquetKind, ParquetRow, Place, write_parquet};

use crate::mutation::mutations;

const WIDTH: usize = 4;

/// Rows as read.
type Rows = (Vec<String>, Vec<Vec<f32>>);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet")
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.parquet"))).expect("a sample")
}

fn open(bytes: Vec<u8>) -> Result<ParquetFile, FormatError> {
    ParquetFile::open(Arc::new(bytes))
}

/// The rows that `row` of the script gives.
fn expected() -> Rows {
    let path = |row: usize| {
        let name = if row == 7 { "café".to_owned() } else { format!("a{row}") };
        format!("images/{}/{name}.jpg", row / 3)
    };
    let value = |row: usize, at: usize| ((row * 7 + at * 3) % 11) as f32 / 4.0 - 1.25;
    ((0..40).map(path).collect(), (0..40).map(|row| (0..WIDTH).map(|at| value(row, at)).collect()).collect())
}

fn place(file: &ParquetFile, name: &str) -> usize {
    file.columns().iter().position(|column| column.name == name).unwrap_or_else(|| panic!("no `{name}`"))
}

/// Reads the first column of texts and the first of lists.
fn read(bytes: Vec<u8>) -> Result<Rows, FormatError> {
    let file = open(bytes)?;
    let find =
        |wanted: fn(&ParquetKind) -> bool| file.columns().iter().position(|column| wanted(&column.kind));
    let (mut paths, mut lists) = (Vec::new(), Vec::new());
    if let Some(column) = find(|kind| *kind == ParquetKind::Texts) {
        file.visit_texts(column, |row, text| {
            assert_eq!(row, paths.len() as u64);
            paths.push(text.to_owned());
            ControlFlow::Continue(())
        })?;
    }
    if let Some(column) = find(|kind| matches!(kind, ParquetKind::Lists(_))) {
        file.visit_lists(column, WIDTH, |row, list| {
            assert_eq!(row, lists.len() as u64);
            lists.push(list.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    Ok((paths, lists))
}

#[test]
fn tables_of_other_programs_are_read() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("the samples") {
        let path = entry.expect("a sample").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        if name.starts_with("bad-") {
            continue;
        }
        count += 1;
        let file = open(sample(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file.rows(), 40, "{name}");
        let dtype = match name {
            "pyarrow-half" | "pyarrow-half-split" => Dtype::F16,
            "pyarrow-double" => Dtype::F64,
            _ => Dtype::F32,
        };
        assert_eq!(file.columns()[place(&file, "features")].kind, ParquetKind::Lists(dtype), "{name}");
        assert_eq!(file.columns()[place(&file, "image_path")].kind, ParquetKind::Texts, "{name}");
        assert_eq!(
            read(sample(name)).unwrap_or_else(|error| panic!("{name}: {error}")),
            expected(),
            "{name}"
        );
        // Each other column of texts has another encoding.
        if let Some(captions) = file.columns().iter().position(|column| column.name == "caption") {
            let mut found = Vec::new();
            let keep = |_, text: &str| {
                found.push(text.to_owned());
                ControlFlow::Continue(())
            };
            file.visit_texts(captions, keep).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(found, (0..40).map(|row| format!("text {row}")).collect::<Vec<_>>(), "{name}");
        }
    }
    assert_eq!(count, 20);
}

#[test]
fn a_table_of_ours_is_read() {
    let (paths, lists) = expected();
    let mut bytes = Vec::new();
    let rows = paths.iter().zip(&lists);
    let rows = rows.map(|(path, list)| ParquetRow { texts: vec![Some(path.as_str())], features: Some(list) });
    write_parquet(&mut bytes, &["file"], rows).expect("a table in memory");
    assert_eq!(read(bytes).unwrap(), expected());
    let mut empty = Vec::new();
    write_parquet(&mut empty, &["file"], std::iter::empty()).expect("a table in memory");
    assert_eq!(open(empty).unwrap().rows(), 0);
}

#[test]
fn a_visitor_may_break_off() {
    let file = open(sample("pyarrow-pages")).unwrap();
    let until = |row: u64| if row == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let (mut lists, mut texts) = (Vec::new(), Vec::new());
    file.visit_lists(place(&file, "features"), WIDTH, |row, _| {
        lists.push(row);
        until(row)
    })
    .unwrap();
    file.visit_texts(place(&file, "image_path"), |row, _| {
        texts.push(row);
        until(row)
    })
    .unwrap();
    assert_eq!((lists, texts), ((0..=20).collect(), (0..=20).collect()));
}

#[test]
fn bad_rows_are_refused_by_number() {
    let check = |name: &str, code: Code, place: Place, cause: &str| {
        let error = read(sample(name)).expect_err(name);
        assert_eq!((error.code, &error.place, error.cause.as_str()), (code, &place, cause), "{name}");
    };
    let row = Place::Row(23);
    check("bad-null-list", Code::BadValue, row.clone(), "expected a list of 4 values, found null");
    check("bad-empty-list", Code::BadValue, row.clone(), "expected a list of 4 values, found 0");
    check("bad-short-list", Code::BadValue, row.clone(), "expected a list of 4 values, found 3");
    check("bad-long-list", Code::BadValue, row.clone(), "expected a list of 4 values, found 9");
    let null = "expected a number as value 1 of the list, found null";
    check("bad-null-element", Code::BadValue, row.clone(), null);
    check("bad-null-path", Code::BadValue, row.clone(), "expected a text, found null");
    check("bad-not-utf8", Code::BadValue, row, "expected a text, found bytes that are not UTF-8");
    for (name, codec) in [("bad-brotli", "Brotli"), ("bad-lz4", "LZ4")] {
        let error = read(sample(name)).expect_err(name);
        let cause = format!("compression with {codec}; expected none, Snappy, gzip or Zstandard");
        assert_eq!((error.code, error.cause), (Code::Unsupported, cause));
    }
    for name in ["bad-integers", "bad-nested"] {
        let kind = open(sample(name)).unwrap().columns()[1].kind;
        assert_eq!(kind, ParquetKind::Other, "{name}");
    }
    // A NaN is a number; who takes the rows judges it.
    let (_, lists) = read(sample("bad-nan")).unwrap();
    assert!(lists[23][1].is_nan() && lists.iter().flatten().filter(|value| value.is_nan()).count() == 1);
}

#[test]
fn what_is_no_table_is_refused() {
    let check = |bytes: &[u8], code: Code| {
        let error = open(bytes.to_vec()).err().unwrap_or_else(|| panic!("{bytes:?} is accepted"));
        assert_eq!(error.code, code, "{error}");
    };
    check(b"", Code::UnknownFormat);
    check(b"PK\x03\x04PAR1", Code::UnknownFormat);
    check(b"PAR1PAR1", Code::Truncated);
    check(b"PAR1\xff\xff\xff\xffPAR1", Code::Truncated);
    check(b"PAR1\0\0\0\0PARE", Code::Unsupported);
    check(b"PAR1\0\0\0\0PAR1", Code::Truncated);
    check(b"PAR1\0\x01\0\0\0PAR1", Code::Malformed);
    let whole = sample("pyarrow-plain");
    check(&whole[..whole.len() - 1], Code::Truncated);
    check(&whole[..whole.len() / 2], Code::Truncated);
}

/// Every small change is refused, or reads as some table, and nothing panics. Where pages have checksums, few changes give
/// other rows: those that swap what the description says of two columns or groups.
#[test]
fn changed_tables_are_refused_or_read() {
    for (name, most) in [
        ("pyarrow-snappy", 2290),
        ("pyarrow-zstd", 1550),
        ("pyarrow-encodings", 11834),
        ("pyarrow-pages", 78),
        ("duckdb-v2", 692),
    ] {
        let changed = mutations(&sample(name)).into_iter().map(read);
        let others = changed.filter(|found| found.as_ref().is_ok_and(|found| *found != expected())).count();
        assert!(others <= most, "{name}: {others} changes give other rows");
    }
}
