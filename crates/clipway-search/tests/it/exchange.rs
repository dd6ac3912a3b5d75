//! Features that leave for other programs, and come from them.

use std::path::PathBuf;
use std::sync::Arc;

use clipway_formats::{Dtype, NpyFile, ParquetFile, TensorFile};
use clipway_model::input::{self, Kind};
use clipway_search::{
    Index, IndexError, Item, NewIndex, Writer, Written, import, merge, write_clip_retrieval,
};

use crate::{Draw, code, fill, item, name, new_index, space};

#[test]
fn parts_of_clip_retrievals_layout_have_the_rows_in_order() {
    const WIDTH: usize = 5;
    let (folder, path) = new_index(WIDTH);
    let mut draw = Draw(3);
    fill(&path, &draw.feature(7 * WIDTH));
    let mut writer = Writer::open(&path).expect("opened");
    // A file that could not be read has no row; a copy has one of its own in the layout.
    let torn = Item { unreadable: Some("torn".to_owned()), ..Item::default() };
    writer.put("a/torn.jpg".as_ref(), &torn, None).expect("put");
    writer.put("z/copy.jpg".as_ref(), &item(2), None).expect("put");
    writer.commit().expect("committed");
    let index = Index::open(&path).expect("opened");
    let out = folder.path().join("layout");
    let written = write_clip_retrieval(&index, &out, 3).expect("written");
    assert_eq!(written, Written { rows: 8, parts: 3, changed_paths: 0 });
    for (part, rows) in [(0, vec![0, 1, 2]), (1, vec![3, 4, 5]), (2, vec![6, 2])] {
        let file = input::open(&out.join(format!("img_emb/img_emb_{part}.npy")), Kind::Weights).unwrap();
        let npy = NpyFile::open(Arc::new(file)).expect("an npy file");
        assert_eq!((npy.tensors()[0].dtype, &npy.tensors()[0].shape), (Dtype::F16, &vec![rows.len(), WIDTH]));
        let mut bytes = Vec::new();
        npy.read(0, &mut bytes).expect("values");
        let halves = std::fs::read(path.join("rows.f16")).expect("rows");
        for (row, found) in rows.iter().zip(bytes.chunks_exact(2 * WIDTH)) {
            assert_eq!(found, &halves[row * 64..][..2 * WIDTH], "part {part}, row {row}");
        }
        let table = std::fs::read(out.join(format!("metadata/metadata_{part}.parquet"))).expect("a table");
        assert_eq!((&table[..4], &table[table.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
        for row in rows.iter().filter(|row| part < 2 || **row == 6) {
            let path = name(*row).to_string_lossy().into_owned();
            assert!(table.windows(path.len()).any(|bytes| bytes == path.as_bytes()), "{path}");
        }
    }
    assert_eq!(code(write_clip_retrieval(&index, &out, 3)), "exists");
}

#[test]
fn captions_are_a_column_where_there_are_any() {
    let (folder, path) = new_index(2);
    fill(&path, &[1.0, 0.0, 0.0, 1.0]);
    let texts = |out: &str| -> Vec<String> {
        let out = folder.path().join(out);
        write_clip_retrieval(&Index::open(&path).expect("opened"), &out, 100).expect("written");
        let file = input::open(&out.join("metadata/metadata_0.parquet"), Kind::Rows).expect("a file");
        let table = ParquetFile::open(Arc::new(file)).expect("a table");
        table.columns().iter().map(|column| column.name.clone()).collect()
    };
    assert_eq!(texts("without"), ["image_path"]);
    let mut writer = Writer::open(&path).expect("opened");
    let captioned = Item { caption: Some("zwei Löwen".to_owned()), ..item(1) };
    writer.put(&name(1), &captioned, None).expect("put");
    writer.commit().expect("committed");
    assert_eq!(texts("with"), ["image_path", "caption"]);
    let table = std::fs::read(folder.path().join("with/metadata/metadata_0.parquet")).expect("a table");
    let has = |text: &str| table.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("zwei Löwen") && has("images/000000.jpg"));
    // A merge keeps them.
    let both = folder.path().join("both");
    merge(&both, &[path]).expect("merged");
    let merged = Index::open(&both).expect("opened").item(&name(1)).expect("read").expect("an item");
    assert_eq!(merged.caption.as_deref(), Some("zwei Löwen"));
}

#[test]
fn the_names_of_parts_have_as_many_digits_as_their_number() {
    let (folder, path) = new_index(2);
    fill(&path, &Draw(1).feature(2 * 11));
    let index = Index::open(&path).expect("opened");
    let out = folder.path().join("layout");
    assert_eq!(write_clip_retrieval(&index, &out, 1).expect("written").parts, 11);
    for name in ["img_emb/img_emb_00.npy", "img_emb/img_emb_10.npy", "metadata/metadata_09.parquet"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    // An index without rows gives one part without rows.
    let (folder, path) = new_index(2);
    let out = folder.path().join("layout");
    let index = Index::open(&path).expect("opened");
    assert_eq!(write_clip_retrieval(&index, &out, 1).expect("written").parts, 1);
    assert!(out.join("img_emb/img_emb_0.npy").is_file());
}

#[test]
fn an_imported_index_says_so_and_a_failed_import_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = || NewIndex { space: space(2), model: None };
    let path = folder.path().join("index");
    let put = |feature: &'static [f32]| {
        move |writer: &mut Writer| -> Result<(), IndexError> {
            writer.put("a.jpg".as_ref(), &item(1), Some(&[1.0, 0.0]))?;
            writer.put("b.jpg".as_ref(), &item(2), Some(feature))?;
            Ok(())
        }
    };
    for (feature, expected) in
        [(&[f32::NAN, 1.0][..], "not-finite"), (&[0.0, 0.0], "not-finite"), (&[1.0], "shape-mismatch")]
    {
        assert_eq!(code(import(&path, new(), "x.npy".into(), put(feature))), expected);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "{expected}");
    }
    let info = import(&path, new(), "x.npy".into(), put(&[0.0, 2.0])).expect("imported");
    assert_eq!((info.rows, info.items, info.imported), (2, 2, Some(PathBuf::from("x.npy"))));
    assert_eq!(Index::open(&path).expect("opened").feature(1).expect("a row"), [0.0, 1.0]);
    assert_eq!(code(import(&path, new(), "x.npy".into(), put(&[0.0, 2.0]))), "exists");
    // What is merged with it is partly imported; other indices say nothing.
    let (_other, own) = new_index(2);
    assert_eq!(Index::open(&own).expect("opened").info().imported, None);
    let both = folder.path().join("both");
    merge(&both, &[own, path]).expect("merged");
    assert_eq!(Index::open(&both).expect("opened").info().imported, Some(PathBuf::from("x.npy")));
}
