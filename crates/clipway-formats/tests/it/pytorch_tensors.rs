//! Names and bytes of tensors from handmade pickles.

use clipway_formats::{Code, FileFormat, TensorFile};

use crate::pytorch::{checkpoint, global, open, show, tensor, text, tuple, weights, whole};

/// Returns the names and values of all tensors in a dictionary whose only entry, `w`, is `value`.
fn tensors_of(value: &[u8]) -> Result<Vec<(String, Vec<f32>)>, Code> {
    let pickle = [b"\x80\x02}", &text("w")[..], value, b"s."].concat();
    let file = open(checkpoint(&pickle)).map_err(|error| error.code)?;
    let mut bytes = Vec::new();
    let tensors = file.tensors().iter().enumerate().map(|(index, info)| {
        file.read(index, &mut bytes).map_err(|error| error.code)?;
        assert_eq!(bytes.len(), info.bytes());
        let mut pieces = Vec::new();
        file.read_chunks(index, &mut |piece| pieces.extend_from_slice(piece)).unwrap();
        assert_eq!(bytes, pieces);
        let values = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        Ok((info.name.clone(), values))
    });
    tensors.collect()
}

#[test]
fn strided_tensors() {
    fn check(offset: u8, shape: &[u8], strides: &[u8], expected: &[f32]) {
        let found = tensors_of(&tensor(offset, shape, strides));
        assert_eq!(found, Ok(vec![("w".into(), expected.to_vec())]), "{offset} {shape:?} {strides:?}");
    }
    check(0, &[2, 3], &[3, 1], &[1., 2., 3., 4., 5., 6.]);
    check(0, &[3, 2], &[1, 3], &[1., 4., 2., 5., 3., 6.]);
    check(1, &[2, 2], &[3, 1], &[2., 3., 5., 6.]);
    check(1, &[2], &[4], &[2., 6.]);
    check(5, &[], &[], &[6.]);
    check(5, &[1, 1], &[7, 9], &[6.]);
    check(0, &[2, 3], &[0, 1], &[1., 2., 3., 1., 2., 3.]);
    check(2, &[4], &[0], &[3., 3., 3., 3.]);
    check(0, &[2, 1, 3], &[1, 6, 2], &[1., 3., 5., 2., 4., 6.]);
    check(0, &[0, 3], &[3, 1], &[]);
    check(6, &[0], &[1], &[]);
}

#[test]
fn tensors_outside_their_storage() {
    fn check(offset: u8, shape: &[u8], strides: &[u8]) {
        assert_eq!(tensors_of(&tensor(offset, shape, strides)), Err(Code::Malformed), "{offset} {shape:?}");
    }
    check(1, &[2, 3], &[3, 1]);
    check(0, &[7], &[1]);
    check(0, &[2], &[6]);
    check(7, &[0], &[1]);
    check(0, &[2, 3], &[1]);
    check(6, &[], &[]);
}

#[test]
fn names() {
    fn check(value: &[u8], expected: &[&str]) {
        let names = tensors_of(value).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        assert_eq!(names, Ok(expected.iter().map(|&name| name.to_owned()).collect()));
    }
    let tensor = whole();
    check(&[b"](", &tensor[..], &tensor, b"e"].concat(), &["w.0", "w.1"]);
    check(&[b"}K\x07", &tensor[..], b"s"].concat(), &["w.7"]);
    check(&[b"}G\0\0\0\0\0\0\0\0", &tensor[..], b"s"].concat(), &["w.#0"]);
    check(&[b"}X\0\0\0\0", &tensor[..], b"s"].concat(), &["w."]);
    check(&[b"cmine\nA\n)\x81}", &text("x")[..], &tensor, b"sb"].concat(), &["w.x"]);
    check(&[b"cmine\nA\n(", &tensor[..], b"t\x81"].concat(), &["w.0"]);
    check(&[b"ctorch._utils\n_rebuild_parameter\n(", &tensor[..], b"\x88NtR"].concat(), &["w"]);
    // An object that refers to itself is visited once; names omit the tables of a module.
    let own = [b"cmine\nA\n)\x81q\x09}(", &text("me")[..], b"h\x09", &text("x"), &tensor, b"ub"];
    check(&own.concat(), &["w.x"]);
    let tables =
        [&text("_buffers")[..], b"}", &text("_modules"), b"}", &text("_parameters"), b"}", &text("p")];
    let module = [b"ctorch.nn\nM\n)\x81}(", &tables.concat()[..], &tensor, b"sub"].concat();
    check(&module, &["w.p"]);
}

#[test]
fn refused_names() {
    fn check(pickle: &[u8], expected: Code) {
        assert_eq!(open(checkpoint(pickle)).err().map(|error| error.code), Some(expected), "{pickle:?}");
    }
    let tensor = whole();
    check(b"}.", Code::Missing);
    check(b"N.", Code::Unsupported);
    check(&[&tensor[..], b"."].concat(), Code::Unsupported);
    check(&[b"](", &tensor[..], b"e."].concat(), Code::Unsupported);
    check(&[b"}K\x07", &tensor[..], b"s."].concat(), Code::BadValue);
    check(&[b"}", &text("a\0")[..], &tensor, b"s."].concat(), Code::BadValue);
    let one_name = [b"}(", &text("a.b")[..], &tensor, &text("a"), b"}", &text("b"), &tensor, b"su."];
    check(&one_name.concat(), Code::Duplicate);
}

#[test]
fn shared_storages() {
    let (first, second) = (tensor(0, &[3], &[1]), tensor(3, &[3], &[1]));
    let pickle =
        [b"}(", &text("a")[..], &first, b"q\x09", &text("b"), &second, &text("c"), b"h\x09u."].concat();
    let file = open(checkpoint(&pickle)).unwrap();
    let names: Vec<&str> = file.tensors().iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!([0, 1, 2].map(|index| file.shares_storage(index)), [Some(0); 3]);
    assert_eq!(file.storage_bytes(0), 24);
    assert_eq!(show(file.value()), "{\"a\": tensor 0, \"b\": tensor 1, \"c\": tensor 0}");
    assert_eq!(file.format(), FileFormat::PytorchZip);
}

/// The `_metadata` of a state dict is an attribute, not an entry.
#[test]
fn attributes_of_a_dictionary() {
    let metadata = [b"}", &text("_metadata")[..], b"Nsb"].concat();
    let pickle = [b"ccollections\nOrderedDict\n)R", &text("w")[..], &whole(), b"s", &metadata, b"."].concat();
    let file = open(checkpoint(&pickle)).unwrap();
    assert_eq!(show(file.value()), "{\"w\": tensor 0}");
    assert_eq!(show(file.value().attributes().unwrap()), "{\"_metadata\": None}");
    assert_eq!((file.value().as_int(), file.value().get("x").is_none()), (None, true));
}

/// A few pickle bytes can request very long names many times.
#[test]
fn bombs_of_names() {
    fn check(value: &[u8]) {
        assert_eq!(tensors_of(value).map(|tensors| tensors.len()), Err(Code::TooLarge));
    }
    let long = text(&"k".repeat(60_000));
    let tensors = [&whole()[..], b"q\x090](", &b"h\x09".repeat(1000), b"e"].concat();
    check(&[b"}", &long[..], &tensors, b"s"].concat());
    let dicts = [b"}", &long[..], b"]sq\x090](", &b"h\x09".repeat(200_000), b"e"].concat();
    check(&[b"](", &whole()[..], &dicts, b"e"].concat());
    check(&[b"}", &text(&"k".repeat(70_000))[..], &whole(), b"s"].concat());
}

/// One tensor under so many names, or expanded so often, that reading everything would take very long.
#[test]
fn bombs_of_bytes() {
    let expanded = tensor(0, &[158, 158, 158], &[0, 0, 0]);
    let twice = [b"](", &expanded[..], &expanded, b"e"].concat();
    assert_eq!(tensors_of(&twice).map(|tensors| tensors.len()), Ok(2));
    let thrice = [b"](", &expanded[..], b"q\x09", &b"h\x09".repeat(2), b"e"].concat();
    assert_eq!(tensors_of(&thrice), Err(Code::TooLarge));
}

/// A `DTensor` of this shape whose part in the file has the shape `[2, 3]`.
fn distributed(shape: &[u8], class: &str, state: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02}".to_vec(),
        text("w"),
        global("torch._tensor", "_rebuild_from_type_v2"),
        b"(".to_vec(),
        global("torch._utils", "_rebuild_wrapper_subclass"),
        global("torch.distributed.tensor", class),
        b"(".to_vec(),
        global("torch.distributed.tensor", class),
        global("torch", "float32"),
        tuple(shape),
        tuple(&[3, 1]),
        b"K\0t".to_vec(),
        state.to_vec(),
        b"tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn a_tensor_of_one_process_is_whole_and_a_part_of_one_is_named() {
    let state = |key: &str| [&b"N}"[..], &text(key), &whole(), b"s\x86"].concat();
    let file = open(checkpoint(&distributed(&[2, 3], "DTensor", &state("_local_tensor")))).unwrap();
    assert_eq!((file.tensors()[0].name.as_str(), &file.tensors()[0].shape[..]), ("w", &[2, 3][..]));
    let mut bytes = Vec::new();
    file.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, weights());
    for (pickle, code, says) in [
        (
            distributed(&[4, 3], "DTensor", &state("_local_tensor")),
            Code::Unsupported,
            "one process's part, [2, 3]; `full_tensor()`",
        ),
        (distributed(&[2, 3], "DTensor", &state("_spec")), Code::Malformed, "without its size or its part"),
        (distributed(&[2, 3], "DTensor", b"N"), Code::Malformed, "without its size or its part"),
        (distributed(&[2, 3], "OtherTensor", &state("_local_tensor")), Code::Malformed, "not a dictionary"),
    ] {
        let error = open(checkpoint(&pickle)).err().expect("it is refused");
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
