//! Sharded checkpoints: the index, and its required agreement with the shards.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FileFormat, FormatError, NpyFile, PytorchFile, PytorchOptions, SafetensorsFile, ShardedFile,
    ShardedIndex, TensorFile, TensorInfo, sharded_index_json, write_safetensors,
};

use crate::corpus;

/// Opens a shard of one-byte tensors, each holding the first letter of its name.
fn shard(names: &[&str], note: &str) -> Arc<dyn TensorFile> {
    let info = |name: &&str| TensorInfo { name: name.to_string(), dtype: Dtype::U8, shape: vec![1] };
    let tensors: Vec<TensorInfo> = names.iter().map(info).collect();
    let metadata = [("format".to_owned(), "pt".to_owned()), ("note".to_owned(), note.to_owned())];
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors, &metadata, |index| Ok(names[index].as_bytes()[..1].to_vec()))
        .unwrap();
    Arc::new(SafetensorsFile::open(Arc::new(bytes)).unwrap())
}

fn index(pairs: &[(&str, &str)]) -> ShardedIndex {
    let pairs: Vec<(String, String)> = pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    ShardedIndex::parse(sharded_index_json(&pairs, 3).as_bytes()).unwrap()
}

#[test]
fn tensors_of_all_shards_are_one_file() {
    let index = index(&[("b", "2"), ("a", "1"), ("c", "2")]);
    assert_eq!(index.shards(), ["2", "1"]);
    assert_eq!(index.tensors().collect::<Vec<_>>(), [("b", "2"), ("a", "1"), ("c", "2")]);
    let shards = vec![("1".to_owned(), shard(&["a"], "x")), ("2".to_owned(), shard(&["c", "b"], "y"))];
    let file = ShardedFile::new(&index, shards).unwrap();
    assert_eq!(file.format(), FileFormat::Safetensors);
    assert_eq!(file.metadata(), [("format".to_owned(), "pt".to_owned())]);
    let mut out = Vec::new();
    for (place, expected) in ["b", "a", "c"].into_iter().enumerate() {
        file.read(place, &mut out).unwrap();
        assert_eq!((file.tensors()[place].name.as_str(), &out[..]), (expected, expected.as_bytes()));
    }
}

#[test]
fn an_index_that_disagrees_with_its_shards_is_refused() {
    let map = index(&[("a", "1"), ("b", "2")]);
    let check = |shards: &[(&str, Arc<dyn TensorFile>)], code: Code, part: &str| {
        let shards = shards.iter().map(|(name, file)| (name.to_string(), file.clone())).collect();
        let error = ShardedFile::new(&map, shards).err().expect("this is refused");
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(part), "{error} does not say `{part}`");
    };
    let (a, b) = (shard(&["a"], ""), shard(&["b"], ""));
    let (both, other) = (shard(&["b", "a"], ""), shard(&["b", "c"], ""));
    let npy = b"\x93NUMPY\x01\x00\x36\x00{'descr':'|u1','fortran_order':False,'shape':(1,)}   \n1".to_vec();
    let npy: Arc<dyn TensorFile> = Arc::new(NpyFile::open(Arc::new(npy)).unwrap());
    check(&[("1", a.clone())], Code::Missing, "shard `2`: named by the index, but not given");
    check(&[("1", a.clone()), ("1", a.clone()), ("2", b.clone())], Code::Duplicate, "shard `1`: given twice");
    check(&[("1", a.clone()), ("2", b.clone()), ("3", b.clone())], Code::Malformed, "shard `3`: not named");
    check(
        &[("1", b.clone()), ("2", a.clone())],
        Code::Malformed,
        "tensor `b`: in shard `1`, but the index says it is in `2`",
    );
    check(
        &[("1", a.clone()), ("2", both)],
        Code::Duplicate,
        "tensor `a`: in shard `2`, and also in `1`, as the index says",
    );
    check(
        &[("1", a.clone()), ("2", other)],
        Code::Malformed,
        "tensor `c`: in shard `2`, but the index does not name it",
    );
    check(
        &[("1", a.clone()), ("2", shard(&[], ""))],
        Code::Missing,
        "tensor `b`: the index says it is in `2`",
    );
    check(&[("1", a), ("2", npy)], Code::Malformed, "shard `2`: is npy, but the first shard is safetensors");
}

#[test]
fn bad_indexes_are_refused() {
    let check = |text: &str, code: Code| {
        let error =
            ShardedIndex::parse(text.as_bytes()).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!(error.code, code, "{text}: {error}");
    };
    for name in [
        "",
        ".",
        "..",
        "/a",
        "../a",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\\\b",
        "C:a",
        "http://h/a",
        "a\\u0000b",
        "a\\nb",
    ] {
        check(&format!(r#"{{"weight_map":{{"w":"{name}"}}}}"#), Code::PathEscape);
    }
    check(r#"{"weight_map":{"w":"model.safetensors.index.json"}}"#, Code::Malformed);
    check(r#"{"weight_map":{}}"#, Code::Missing);
    check(r#"{"metadata":{}}"#, Code::Missing);
    check(r#"{"weight_map":["w"]}"#, Code::BadValue);
    check(r#"{"weight_map":{"w":1}}"#, Code::BadValue);
    check(r#"{"metadata":3,"weight_map":{"w":"a"}}"#, Code::BadValue);
    check(r#"{"weight_map":{"w":"a"},"x":1}"#, Code::UnknownKey);
    check(r#"{"weight_map":{"w":"a","w":"b"}}"#, Code::Duplicate);
    check("[]", Code::BadValue);
    assert!(ShardedIndex::parse(br#"{"weight_map":{"w":"part/a.safetensors"}}"#).is_ok());
}

/// Reads a shard; follows a link that some copies of the corpus store as text.
fn read_shard(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    match std::str::from_utf8(&bytes) {
        Ok(target) if target.starts_with("../") => std::fs::read(path.with_file_name(target)),
        _ => Ok(bytes),
    }
}

#[test]
fn corpus_cases_come_out_as_stated() {
    let Some(folder) = corpus::shared() else { return };
    for case in corpus::cases("sharded").unwrap_or_default() {
        let path = folder.join("corpus").join(&case.path);
        let parent = path.parent().unwrap();
        let found = ShardedIndex::parse(&case.bytes).and_then(|index| {
            let open = |name: &String| {
                let bytes =
                    Arc::new(read_shard(&parent.join(name)).map_err(|error| FormatError::io(0, &error))?);
                let file: Arc<dyn TensorFile> = match name.ends_with(".bin") {
                    true => Arc::new(PytorchFile::open(bytes, PytorchOptions::default())?),
                    false => Arc::new(SafetensorsFile::open(bytes)?),
                };
                Ok((name.clone(), file))
            };
            ShardedFile::new(&index, index.shards().iter().map(open).collect::<Result<_, _>>()?)
        });
        // Some copies of the corpus lack the shards; a good case cannot be opened without them.
        let absent = matches!(&found, Err(error) if error.code == Code::Io);
        match (case.tensors, found) {
            (None, found) => assert!(found.is_err(), "{} is accepted", case.path),
            (Some(_), _) if absent => eprintln!("skipped: {} has no shards here", case.path),
            (Some(mut expected), found) => {
                let mut found = corpus::read_tensors(&found.unwrap()).unwrap();
                expected.sort();
                found.sort();
                assert_eq!(found, expected, "{}", case.path);
            }
        }
    }
}
