//! ONNX: the corpus, every way to store elements, and refusals one by one.

use std::sync::Arc;

use clipway_formats::{Code, Dtype, FileFormat, FormatError, OnnxFile, Place, ReadAt, TensorFile};

use crate::corpus;

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Encodes a field that holds a number.
fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// Encodes a field that holds bytes: text, a message or a packed list.
pub fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&varint(field << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}

/// Returns a model with these initializers and one node.
pub fn model(initializers: &[Vec<u8>]) -> Vec<u8> {
    let weight = if initializers.is_empty() { vec![] } else { bytes(1, "w") };
    let node = bytes(1, [bytes(1, "x"), weight, bytes(2, "y"), bytes(4, "Identity")].concat());
    let input = bytes(11, bytes(1, "x"));
    let initializers: Vec<u8> = initializers.iter().flat_map(|message| bytes(5, message)).collect();
    let graph = [node, bytes(2, "g"), initializers, input, bytes(12, bytes(1, "y"))].concat();
    let property = bytes(14, [bytes(1, "key"), bytes(2, "value")].concat());
    [number(1, 8), bytes(8, number(2, 17)), property, bytes(7, graph)].concat()
}

/// Encodes the fields of an initializer except its elements.
pub fn tensor(dtype: u64, shape: &[u64]) -> Vec<u8> {
    let packed: Vec<u8> = shape.iter().flat_map(|&length| varint(length)).collect();
    [bytes(1, packed), number(2, dtype), bytes(8, "w")].concat()
}

fn external(pairs: &[(&str, &str)]) -> Vec<u8> {
    let pairs = pairs.iter().flat_map(|(key, value)| bytes(13, [bytes(1, key), bytes(2, value)].concat()));
    pairs.chain(number(14, 1)).collect()
}

/// Opens a model whose only external data file is `d/w.bin`, the bytes from 0 to 9.
fn open(model: Vec<u8>) -> Result<OnnxFile, FormatError> {
    OnnxFile::open(Arc::new(model), &mut |path| match path {
        "d/w.bin" => Ok(Arc::new((0..10).collect::<Vec<u8>>())),
        _ => Err(FormatError::new(Code::Io, Place::File, "no such file")),
    })
}

#[test]
fn corpus_cases_come_out_as_stated() {
    let Some(folder) = corpus::shared() else { return };
    for case in corpus::cases("onnx").unwrap_or_default() {
        let path = folder.join("corpus").join(&case.path);
        let mut absent = false;
        let mut opener = |name: &str| {
            let file = path.with_file_name(name);
            absent = !file.exists();
            let io = |error| FormatError::io(0, &error);
            if file.canonicalize().map_err(io)? == path.canonicalize().map_err(io)? {
                return Err(FormatError::new(Code::PathEscape, Place::File, "the model as its own data"));
            }
            Ok(Arc::new(std::fs::read(file).map_err(io)?) as Arc<dyn ReadAt>)
        };
        let found =
            OnnxFile::open(Arc::new(case.bytes), &mut opener).and_then(|file| corpus::read_tensors(&file));
        match (case.tensors, found) {
            (None, found) => assert!(found.is_err(), "{} is accepted", case.path),
            // Some copies of the corpus lack the external data files.
            (Some(_), Err(_)) if absent => eprintln!("skipped: {} has no external data here", case.path),
            (Some(expected), found) => assert_eq!(found.as_ref(), Ok(&expected), "{}", case.path),
        }
    }
}

#[test]
fn elements_are_read_however_they_are_stored() {
    let check = |dtype: u64, shape: &[u64], data: Vec<u8>, kind: Dtype, expected: &[u8]| {
        let file = open(model(&[[tensor(dtype, shape), data].concat()])).unwrap();
        assert_eq!((file.format(), file.tensors()[0].dtype), (FileFormat::Onnx, kind));
        let mut out = vec![9];
        file.read(0, &mut out).unwrap();
        assert_eq!(out, expected, "{kind}");
    };
    let minus_one = u64::MAX;
    check(2, &[3], bytes(9, [1, 2, 3]), Dtype::U8, &[1, 2, 3]);
    check(2, &[], bytes(9, [1]), Dtype::U8, &[1]);
    check(1, &[0, 3], vec![], Dtype::F32, &[]);
    check(1, &[2], bytes(4, [1, 2, 3, 4, 5, 6, 7, 8]), Dtype::F32, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let unpacked = [&varint(4 << 3 | 5)[..], &[1, 2, 3, 4], &varint(4 << 3 | 5), &[5, 6, 7, 8]].concat();
    check(1, &[2], unpacked, Dtype::F32, &[1, 2, 3, 4, 5, 6, 7, 8]);
    check(11, &[1], [&varint(10 << 3 | 1)[..], &[1; 8]].concat(), Dtype::F64, &[1; 8]);
    check(10, &[2], bytes(5, [varint(0x3c00), varint(0xffff)].concat()), Dtype::F16, &[0, 0x3c, 255, 255]);
    check(3, &[2], [number(5, minus_one), number(5, 2)].concat(), Dtype::I8, &[255, 2]);
    check(7, &[1], bytes(7, varint(minus_one)), Dtype::I64, &[255; 8]);
    check(12, &[1], bytes(11, varint(7)), Dtype::U32, &[7, 0, 0, 0]);
    check(2, &[10], external(&[("location", "d/w.bin")]), Dtype::U8, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let part = external(&[("length", "2"), ("offset", "3"), ("location", "d/w.bin")]);
    check(2, &[2], part, Dtype::U8, &[3, 4]);
    assert_eq!(open(model(&[])).unwrap().metadata(), [("key".to_owned(), "value".to_owned())]);
}

#[test]
fn bad_tensors_are_refused() {
    let check = |dtype: u64, shape: &[u64], data: Vec<u8>, code: Code, part: &str| {
        let result = open(model(&[[tensor(dtype, shape), data].concat()]));
        let error = result.and_then(|file| file.read(0, &mut Vec::new())).expect_err(part);
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(part), "{error} does not say `{part}`");
    };
    check(
        2,
        &[3],
        bytes(9, [1, 2]),
        Code::Malformed,
        "tensor `w`: U8 [3] has 3 bytes, but 2 bytes are stored",
    );
    check(2, &[3], vec![], Code::Malformed, "but 0 bytes are stored");
    check(2, &[2], [bytes(9, [1, 2]), bytes(9, [1, 2])].concat(), Code::Duplicate, "duplicate field 9");
    check(2, &[1], [bytes(9, [1]), number(5, 1)].concat(), Code::Malformed, "in two ways");
    check(2, &[1], [number(5, 1), number(7, 1)].concat(), Code::Malformed, "in two ways");
    check(1, &[1], number(5, 1), Code::Malformed, "elements of F32 are in field 4, not 5");
    check(2, &[2], number(5, 1), Code::Malformed, "but 1 numbers are stored");
    check(2, &[1], number(5, 256), Code::BadValue, "contains the number 256");
    check(9, &[1], number(5, 2), Code::BadValue, "contains the number 2");
    check(3, &[1], number(5, 128), Code::BadValue, "contains the number 128");
    check(1, &[1], bytes(4, [1, 2, 3]), Code::Malformed, "not a list of numbers");
    check(0, &[1], vec![], Code::BadValue, "undefined dtype");
    check(8, &[1], bytes(6, "x"), Code::Unsupported, "strings");
    check(21, &[1], vec![], Code::Unsupported, "dtype 21");
    check(1, &[u64::MAX], vec![], Code::BadValue, "negative");
    check(1, &[1 << 40, 1 << 40], vec![], Code::TooLarge, "too large");
    check(1, &[1; 65], vec![], Code::TooLarge, "64 dimensions");
    check(2, &[1], [bytes(9, [1]), number(15, 1)].concat(), Code::UnknownKey, "no field 15");
    check(2, &[1], number(14, 2), Code::Unsupported, "data location 2");
    check(
        2,
        &[1],
        [external(&[("location", "d/w.bin")]), bytes(9, [1])].concat(),
        Code::Malformed,
        "two ways",
    );
    check(
        2,
        &[1],
        bytes(13, [bytes(1, "location"), bytes(2, "x")].concat()),
        Code::Malformed,
        "not marked as used",
    );
    let ext = |pairs: &[(&str, &str)], code: Code, part: &str| check(2, &[2], external(pairs), code, part);
    ext(&[], Code::Missing, "no location");
    ext(&[("location", "d/w.bin")], Code::Malformed, "ends at byte 2 of 10, without a length");
    ext(&[("location", "d/w.bin"), ("offset", "9"), ("length", "2")], Code::Truncated, "is truncated");
    ext(&[("location", "d/w.bin"), ("length", "3")], Code::Malformed, "has 3 bytes, but its shape needs 2");
    ext(&[("location", "d/w.bin"), ("offset", "-1")], Code::BadValue, "offset");
    ext(&[("location", "d/w.bin"), ("offset", "99999999999999999999")], Code::BadValue, "offset");
    ext(
        &[("location", "d/w.bin"), ("offset", "18446744073709551615"), ("length", "2")],
        Code::Truncated,
        "truncated",
    );
    ext(&[("location", "d/w.bin"), ("location", "d/w.bin")], Code::Duplicate, "`location`");
    ext(&[("location", "d/w.bin"), ("checksum", "0")], Code::UnknownKey, "`checksum`");
    ext(&[("location", "absent")], Code::Io, "no such file");
    for path in ["", ".", "/w", "../w", "a\\w", "file:w", "a\0"] {
        ext(&[("location", path)], Code::PathEscape, "external data");
    }
}

#[test]
fn bad_models_are_refused() {
    let check = |bytes: Vec<u8>, code: Code| {
        let error = open(bytes.clone()).err().unwrap_or_else(|| panic!("{bytes:?} is accepted"));
        assert_eq!(error.code, code, "{error}");
    };
    let good = model(&[[tensor(2, &[1]), bytes(9, [1])].concat()]);
    assert!(open(good.clone()).is_ok());
    for length in 0..good.len() {
        assert!(open(good[..length].to_vec()).is_err(), "{length} of {} bytes are accepted", good.len());
    }
    check([good.clone(), number(1, 8)].concat(), Code::Duplicate);
    check([good.clone(), bytes(8, number(2, 17))].concat(), Code::Duplicate);
    check([good.clone(), number(99, 8)].concat(), Code::UnknownKey);
    check([good.clone(), bytes(25, "")].concat(), Code::Unsupported);
    check([good.clone(), bytes(2, [0xff])].concat(), Code::Malformed);
    check([good.clone(), number(2, 1)].concat(), Code::Malformed);
    check([good.clone(), varint(3 << 3 | 3)].concat(), Code::Malformed);
    check([good, vec![8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]].concat(), Code::Malformed);
    let twice = [tensor(2, &[1]), bytes(9, [1])].concat();
    check(model(&[twice.clone(), twice]), Code::Duplicate);
    check(model(&[[number(2, 2), bytes(9, [1])].concat()]), Code::BadValue);
    let graph = |node: Vec<u8>| {
        let node = [node, bytes(2, "y")].concat();
        let graph = [bytes(1, node), bytes(12, bytes(1, "y"))].concat();
        [number(1, 8), bytes(8, number(2, 17)), bytes(7, graph)].concat()
    };
    assert!(open(graph(bytes(4, "Add"))).is_ok());
    check(graph(bytes(4, "RunShell")), Code::Unsupported);
    check(graph([bytes(4, "Add"), bytes(1, "lost")].concat()), Code::Missing);
    check(graph(vec![]), Code::Missing);
    check(graph([bytes(4, "Gelu"), bytes(7, "com.microsoft")].concat()), Code::Unsupported);
    check([number(1, 8), bytes(8, number(2, 17)), bytes(7, "")].concat(), Code::Missing);
    check([number(1, 2), bytes(8, number(2, 17)), bytes(7, bytes(12, ""))].concat(), Code::Unsupported);
    check([number(1, 8), bytes(8, number(2, 99)), bytes(7, bytes(12, ""))].concat(), Code::Unsupported);
    check([number(1, 8), bytes(8, [bytes(1, "x"), number(2, 1)].concat())].concat(), Code::Unsupported);
    check([number(1, 8), bytes(7, bytes(12, ""))].concat(), Code::Missing);
}

/// Encodes a node with these inputs, outputs and further fields.
fn node(inputs: &[&str], outputs: &[&str], more: Vec<u8>) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    let outputs: Vec<u8> = outputs.iter().flat_map(|name| bytes(2, name)).collect();
    bytes(1, [inputs, outputs, bytes(4, "Add"), more].concat())
}

/// Encodes a graph field that holds a named value: 11 is an input, 12 an output.
fn value(field: u64, name: &str) -> Vec<u8> {
    bytes(field, bytes(1, name))
}

#[test]
fn every_value_is_made_once_and_none_of_itself() {
    let open_graph = |parts: &[Vec<u8>]| {
        let parts = [parts, &[bytes(5, [tensor(2, &[1]), bytes(9, [1])].concat())]].concat().concat();
        open([number(1, 8), bytes(8, number(2, 17)), bytes(7, parts)].concat())
    };
    let sound = |parts: &[Vec<u8>]| drop(open_graph(parts).unwrap());
    let check = |parts: &[Vec<u8>], code: Code, part: &str| {
        let error = open_graph(parts).err().expect(part);
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(part), "{error} does not say `{part}`");
    };
    let plain = |inputs: &[&str], outputs: &[&str]| node(inputs, outputs, Vec::new());
    let out = value(12, "y");
    // Nodes may come in any order, outputs may be omitted, and an input may have a default.
    sound(&[plain(&["h"], &["y"]), plain(&["w"], &["h"]), out.clone()]);
    sound(&[plain(&["w", "", "x"], &["y", "", ""]), value(11, "w"), value(11, "x"), out.clone()]);
    check(&[plain(&["y"], &["y"]), out.clone()], Code::Malformed, "`y` depends on itself");
    check(
        &[plain(&["b"], &["a"]), plain(&["a"], &["b"]), plain(&["w"], &["y"]), out.clone()],
        Code::Malformed,
        "cycle",
    );
    check(&[plain(&["w"], &["y"]), plain(&["w"], &["y"]), out.clone()], Code::Duplicate, "`y`");
    check(&[plain(&["w"], &["y", "y"]), out.clone()], Code::Duplicate, "`y`");
    check(&[plain(&["w"], &["w"]), plain(&["w"], &["y"]), out.clone()], Code::Duplicate, "`w`");
    check(&[plain(&["w"], &["y"]), value(11, "y"), out.clone()], Code::Duplicate, "`y`");
    check(&[plain(&["w"], &["y"]), value(11, "x"), value(11, "x"), out.clone()], Code::Duplicate, "`x`");
    check(&[plain(&["w"], &["y"]), out.clone(), out.clone()], Code::Duplicate, "twice");
    // The same rules apply to a graph inside a node; what it takes from outside is an input of the node.
    let inside = |graph: &[Vec<u8>]| bytes(5, [bytes(1, "body"), bytes(6, graph.concat())].concat());
    let body = [plain(&["w"], &["i"]), value(12, "i")];
    sound(&[node(&[], &["y"], inside(&body)), out.clone()]);
    let body = [plain(&["j"], &["i"]), plain(&["i"], &["j"]), value(12, "i")];
    check(&[node(&[], &["y"], inside(&body)), out.clone()], Code::Malformed, "cycle");
    let body = [plain(&["w"], &["i"]), plain(&["w"], &["i"]), value(12, "i")];
    check(&[node(&[], &["y"], inside(&body)), out.clone()], Code::Duplicate, "`i`");
    let body = [plain(&["y"], &["i"]), value(12, "i")];
    check(&[node(&[], &["y"], inside(&body)), out.clone()], Code::Malformed, "`y` depends on itself");
    let body = [plain(&["lost"], &["i"]), value(12, "i")];
    check(&[node(&[], &["y"], inside(&body)), out.clone()], Code::Missing, "`lost`");
    let mut deep = vec![plain(&["w"], &["i"]), value(12, "i")];
    for _ in 0..17 {
        deep = vec![node(&[], &["i"], inside(&deep)), value(12, "i")];
    }
    check(&[node(&[], &["y"], inside(&deep)), out], Code::TooLarge, "deeper");
}
