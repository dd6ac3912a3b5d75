//! safetensors: the corpus, refusals one by one, and the writer's output.

use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, Place, SafetensorsFile, SafetensorsLayout, TensorFile, TensorInfo, write_safetensors,
};

use crate::corpus;

fn open(bytes: Vec<u8>) -> Result<SafetensorsFile, clipway_formats::FormatError> {
    SafetensorsFile::open(Arc::new(bytes))
}

/// Returns a file with this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..data).map(|index| index as u8));
    bytes
}

fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn corpus_cases_come_out_as_stated() {
    corpus::check("safetensors", |bytes| Ok(Box::new(open(bytes)?)));
}

#[test]
fn good_files_give_their_tensors() {
    let header = concat!(
        r#"{"__metadata__":{"format":"pt","b":"2","a":"1"},"#,
        r#""z":{"dtype":"I16","shape":[2,1],"data_offsets":[1,5]},"#,
        r#""a":{"shape":[],"data_offsets":[0,1],"dtype":"U8"},"#,
        r#""e":{"dtype":"F32","shape":[0,3],"data_offsets":[5,5]}}  "#
    );
    let file = open(file(header, 5)).unwrap();
    let tensors =
        [tensor("z", Dtype::I16, &[2, 1]), tensor("a", Dtype::U8, &[]), tensor("e", Dtype::F32, &[0, 3])];
    assert_eq!(file.tensors(), tensors);
    assert_eq!(file.metadata(), [pair("format", "pt"), pair("b", "2"), pair("a", "1")]);
    assert_eq!(file.offset_of(0), 8 + header.len() as u64 + 1);
    let mut out = vec![9; 100];
    for (index, expected) in [&[1, 2, 3, 4][..], &[0], &[]].into_iter().enumerate() {
        file.read(index, &mut out).unwrap();
        assert_eq!(out, expected);
    }
}

#[test]
fn bad_files_are_refused_with_place_and_cause() {
    let w = |fields: &str| format!(r#"{{"w":{{{fields}}}}}"#);
    let named = |name: &str| Place::Tensor(name.to_owned());
    let check = |header: &str, data: usize, code: Code, place: Place, part: &str| {
        let error = open(file(header, data)).err().unwrap_or_else(|| panic!("{header} is accepted"));
        assert_eq!((error.code, &error.place), (code, &place), "{header}: {error}");
        assert!(error.cause.contains(part), "{header}: {error} does not say `{part}`");
    };
    let good = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;
    check("", 0, Code::Malformed, Place::Byte(8), "begins with");
    check(" {}", 0, Code::Malformed, Place::Byte(8), "begins with");
    check(&w(good), 7, Code::Truncated, named("w"), "the file has only 7");
    check(&w(good), 9, Code::Malformed, Place::File, "the tensors have 8 bytes, but the file has 9");
    check("{}", 1, Code::Malformed, Place::File, "0 bytes");
    check(&w(&format!("{good},\"x\":1")), 8, Code::UnknownKey, Place::Byte(61), "unknown field `x`");
    check(&w(&format!("{good},\"dtype\":\"F32\"")), 8, Code::Duplicate, Place::Byte(61), "`dtype`");
    check(&w(r#""shape":[2],"data_offsets":[0,8]"#), 8, Code::Missing, named("w"), "`dtype`");
    check(&w(r#""dtype":"F32","shape":[2]"#), 8, Code::Missing, named("w"), "`data_offsets`");
    check(
        &w(r#""dtype":"F4","shape":[],"data_offsets":[0,1]"#),
        1,
        Code::Unsupported,
        Place::Byte(22),
        "`F4`",
    );
    check(&w(r#""dtype":"U8","shape":[1],"data_offsets":[1,0]"#), 1, Code::Malformed, named("w"), "1 to 0");
    check(
        &w(r#""dtype":"U8","shape":[1.0],"data_offsets":[0,1]"#),
        1,
        Code::BadValue,
        Place::Byte(36),
        "1.0",
    );
    check(
        &w(r#""dtype":"U8","shape":[-0],"data_offsets":[0,0]"#),
        0,
        Code::BadValue,
        Place::Byte(36),
        "-0.0",
    );
    check(
        &w(r#""dtype":"U8","shape":[1],"data_offsets":[0]"#),
        1,
        Code::Malformed,
        Place::Byte(54),
        "1 numbers",
    );
    let huge = r#""dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]"#;
    check(&w(huge), 0, Code::TooLarge, named("w"), "too large");
    let deep = format!(r#""dtype":"U8","shape":[{}1],"data_offsets":[0,1]"#, "1,".repeat(64));
    check(&w(&deep), 1, Code::TooLarge, Place::Byte(36 + 128), "64 dimensions");
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[2],"data_offsets":{b}}}}}"#
        )
    };
    check(&two("[0,2]", "[1,3]"), 3, Code::Malformed, named("b"), "overlap");
    check(
        &two("[3,5]", "[0,2]"),
        5,
        Code::Malformed,
        named("a"),
        "bytes 2 to 3 before it belong to no tensor",
    );
    let same = two("[0,2]", "[2,4]").replace("\"b\"", "\"a\"");
    check(&same, 4, Code::Duplicate, Place::Byte(61), "duplicate key `a`");
    check(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, Code::Duplicate, Place::Byte(27), "`__metadata__`");
    check(r#"{"__metadata__":{"a":"1","a":"1"}}"#, 0, Code::Duplicate, Place::Byte(33), "`a`");
    check(r#"{"__metadata__":{"a":1}}"#, 0, Code::Malformed, Place::Byte(29), "expected a string");
    check(r#"{"w":[[[[]]]]}"#, 0, Code::Malformed, Place::Byte(13), "expected an object");
}

#[test]
fn truncated_lengths_are_refused() {
    for (bytes, code) in [
        (vec![], Code::Truncated),
        (vec![2, 0, 0, 0, 0, 0, 0], Code::Truncated),
        (vec![2, 0, 0, 0, 0, 0, 0, 0, b'{'], Code::Truncated),
        (u64::MAX.to_le_bytes().to_vec(), Code::TooLarge),
    ] {
        assert_eq!(open(bytes.clone()).err().map(|error| error.code), Some(code), "{bytes:?}");
    }
}

#[test]
fn written_files_read_back() {
    let tensors = [
        tensor("w\"\\é", Dtype::F16, &[3]),
        tensor("empty", Dtype::F32, &[0, 7]),
        tensor("steps", Dtype::I64, &[]),
        tensor("mask", Dtype::Bool, &[5]),
    ];
    let metadata = [pair("format", "pt"), pair("a\n", "ü")];
    let bytes_of = |index: usize| vec![index as u8 + 1; tensors[index].bytes()];
    let write = || {
        let mut out = Vec::new();
        write_safetensors(&mut out, &tensors, &metadata, |index| Ok(bytes_of(index))).unwrap();
        out
    };
    let written = write();
    assert_eq!(written, write(), "the same input gives the same bytes");
    let layout = SafetensorsLayout::new(&tensors, &metadata).unwrap();
    assert_eq!(layout.header_bytes(), &written[..layout.header_bytes().len()]);
    assert_eq!(layout.header_bytes().len() % 8, 0);
    assert_eq!(layout.file_size(), written.len() as u64);
    let file = open(written).unwrap();
    assert_eq!(file.tensors(), tensors, "the order of the state dict is kept");
    assert_eq!(file.metadata(), metadata);
    let mut out = Vec::new();
    for (index, info) in tensors.iter().enumerate() {
        file.read(index, &mut out).unwrap();
        assert_eq!(out, bytes_of(index));
        assert_eq!(file.offset_of(index), layout.offset_of(index));
        assert_eq!(layout.offset_of(index) % info.dtype.size() as u64, 0, "`{}` is aligned", info.name);
    }
}

#[test]
fn bytes_keep_the_order_of_the_tensors_where_that_is_aligned() {
    let order = |tensors: &[TensorInfo]| SafetensorsLayout::new(tensors, &[]).unwrap().data_order().to_vec();
    let (half, long) = (tensor("h", Dtype::F16, &[4]), tensor("l", Dtype::I64, &[1]));
    assert_eq!(order(&[half, long.clone()]), [0, 1]);
    assert_eq!(order(&[tensor("h", Dtype::F16, &[3]), long]), [1, 0]);
    assert_eq!(order(&[]), [] as [usize; 0]);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let check = |tensors: &[TensorInfo], metadata: &[(String, String)], code: Code| {
        assert_eq!(SafetensorsLayout::new(tensors, metadata).unwrap_err().code, code);
    };
    let w = tensor("w", Dtype::F32, &[1]);
    check(&[w.clone(), w.clone()], &[], Code::Duplicate);
    check(std::slice::from_ref(&w), &[pair("a", "1"), pair("a", "2")], Code::Duplicate);
    check(&[tensor("__metadata__", Dtype::F32, &[1])], &[], Code::BadValue);
    check(&[tensor("a\0b", Dtype::F32, &[1])], &[], Code::BadValue);
    check(&[tensor("a\u{1b}b", Dtype::F32, &[1])], &[], Code::BadValue);
    check(&[tensor(&"a".repeat((64 << 10) + 1), Dtype::F32, &[1])], &[], Code::TooLarge);
    check(&[tensor("w", Dtype::F32, &[usize::MAX])], &[], Code::TooLarge);
    check(&[tensor("w", Dtype::F32, &[1; 65])], &[], Code::TooLarge);
    let short = write_safetensors(&mut Vec::new(), &[w], &[], |_| Ok([0; 3]));
    assert_eq!(short.unwrap_err().to_string(), "tensor `w`: expected 4 bytes, found 3");
}

#[test]
fn names_are_bounded_and_of_printable_characters() {
    let open_names = |names: &[String]| {
        let record = r#":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\"{record}")).collect();
        let header = format!("{{{}}}", members.join(","));
        open([&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat())
    };
    let check = |names: &[String], code: Code, part: &str| {
        let error = open_names(names).err().expect(part);
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(part), "{error} does not say `{part}`");
    };
    let long = "n".repeat(64 << 10);
    assert!(open_names(std::slice::from_ref(&long)).is_ok());
    check(&[format!("{long}n")], Code::TooLarge, "a name of 65537 bytes");
    check(&["w\\u001b]0;title".to_owned()], Code::BadValue, "control character");
    check(&["w\u{9b}2J".to_owned()], Code::BadValue, "control character");
    let many: Vec<String> = (0..513).map(|index| format!("{index:03}{}", &long[3..])).collect();
    check(&many, Code::TooLarge, "names of more than 33554432 bytes together");
}
