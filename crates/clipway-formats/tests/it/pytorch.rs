//! PyTorch files built by hand, opcode by opcode.

use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, GlobalKind, PickleKind, PickleValue, PytorchFile, PytorchOptions, TensorFile,
};

/// Returns a stored archive with local headers, directory and checksums.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in entries {
        let offset = out.len() as u32;
        let size = (content.len() as u32).to_le_bytes();
        let crc = crc32fast::hash(content).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        fields.extend([crc, size, size].as_flattened());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (out.len() as u32, (entries.len() as u16).to_le_bytes());
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].as_flattened());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Returns six floats, the bytes of storage `0`.
pub fn weights() -> Vec<u8> {
    (1..=6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect()
}

/// Returns an archive with this pickle and storage `0`.
pub fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    archive(&[("a/data.pkl", pickle), ("a/data/0", &weights()), ("a/version", b"3\n")])
}

pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(values: &[u8]) -> Vec<u8> {
    let values = values.iter().flat_map(|&value| [b'K', value]);
    b"(".iter().copied().chain(values).chain(*b"t").collect()
}

pub fn storage(class: &str, key: &str, elements: u8) -> Vec<u8> {
    let parts = [text("storage"), global("torch", class), text(key), text("cpu"), vec![b'K', elements]];
    [b"(", &parts.concat()[..], b"tQ"].concat()
}

/// Encodes `_rebuild_tensor_v2` on storage `0`.
pub fn tensor(offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let parts = [
        global("torch._utils", "_rebuild_tensor_v2"),
        b"(".to_vec(),
        storage("FloatStorage", "0", 6),
        vec![b'K', offset],
        tuple(shape),
        tuple(strides),
        b"\x89}tR".to_vec(),
    ];
    parts.concat()
}

pub fn whole() -> Vec<u8> {
    tensor(0, &[2, 3], &[3, 1])
}

/// Encodes a dictionary of one tensor, `w`, and `value` under `v`.
fn beside(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}(", &text("w")[..], &whole(), &text("v"), value, b"u."].concat()
}

pub fn open(bytes: Vec<u8>) -> Result<PytorchFile, FormatError> {
    PytorchFile::open(Arc::new(bytes), PytorchOptions::default())
}

/// Formats a value the way Python writes it.
pub fn show(value: PickleValue<'_>) -> String {
    let items = || value.items().map(show).collect::<Vec<_>>().join(", ");
    let entries = || {
        let entries = value.entries().map(|(key, value)| format!("{}: {}", show(key), show(value)));
        entries.collect::<Vec<_>>().join(", ")
    };
    match value.kind() {
        PickleKind::None => "None".into(),
        PickleKind::Bool(value) => value.to_string(),
        PickleKind::Int(value) => value.to_string(),
        PickleKind::BigInt(bytes) => format!("big{bytes:?}"),
        PickleKind::Float(value) => format!("{value:?}"),
        PickleKind::Str(text) => format!("{text:?}"),
        PickleKind::Bytes(bytes) => format!("b{bytes:?}"),
        PickleKind::Tuple => format!("({})", items()),
        PickleKind::List => format!("[{}]", items()),
        PickleKind::Set => format!("set({})", items()),
        PickleKind::Dict => format!("{{{}}}", entries()),
        PickleKind::Tensor(index) => format!("tensor {index}"),
        PickleKind::Storage => "storage".into(),
        PickleKind::Global(name) => name.into(),
        PickleKind::Opaque(name) => format!("{name}({}{})", items(), entries()),
    }
}

/// Returns the value of `v` next to a tensor, or the error code.
fn value_of(value: &[u8], options: PytorchOptions) -> Result<String, Code> {
    let file =
        PytorchFile::open(Arc::new(checkpoint(&beside(value))), options).map_err(|error| error.code)?;
    assert_eq!(file.tensors()[0].name, "w");
    Ok(show(file.value().get("v").unwrap()))
}

#[test]
fn values() {
    fn check(value: &[u8], expected: &str) {
        assert_eq!(value_of(value, PytorchOptions::default()).as_deref(), Ok(expected), "{value:?}");
    }
    check(b"N", "None");
    check(b"\x88", "true");
    check(b"I01\n", "true");
    check(b"I-7\n", "-7");
    check(b"L36893488147419103232L\n", "big[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]");
    check(b"K\xff", "255");
    check(b"M\xff\xff", "65535");
    check(b"J\xff\xff\xff\xff", "-1");
    check(b"\x8a\x02\x00\x80", "-32768");
    check(b"\x8b\x01\0\0\0\x07", "7");
    check(b"F2.5\n", "2.5");
    check(b"G\xbf\xf8\0\0\0\0\0\0", "-1.5");
    check(b"S'a\\x42'\n", "\"aB\"");
    check(b"Vx\\u00e9\n", "\"xé\"");
    check(b"U\x01a", "\"a\"");
    check(b"U\x01\xff", "b[255]");
    check(b"T\x02\0\0\0ab", "\"ab\"");
    check(b"\x8c\x01a", "\"a\"");
    check(b"\x8d\x01\0\0\0\0\0\0\0a", "\"a\"");
    check(b"C\x01a", "b[97]");
    check(b"B\x01\0\0\0a", "b[97]");
    check(b"\x8e\x01\0\0\0\0\0\0\0a", "b[97]");
    check(b"\x96\x01\0\0\0\0\0\0\0a", "b[97]");
    check(b"](K\x01K\x02e", "[1, 2]");
    check(b"]K\x01a", "[1]");
    check(b"(K\x01l", "[1]");
    check(b"(K\x01K\x02d", "{1: 2}");
    check(b"}K\x01K\x02s", "{1: 2}");
    check(b")", "()");
    check(b"K\x01\x85", "(1)");
    check(b"K\x01K\x02K\x03\x87", "(1, 2, 3)");
    check(b"\x8f(K\x01\x90", "set(1)");
    check(b"(K\x01\x91", "set(1)");
    check(b"K\x01q\x05h\x05\x86", "(1, 1)");
    check(b"K\x01r\x05\0\0\0j\x05\0\0\0\x86", "(1, 1)");
    check(b"K\x01p9\ng9\n\x86", "(1, 1)");
    check(b"K\x01\x94h\0\x86", "(1, 1)");
    check(b"K\x012\x86", "(1, 1)");
    check(b"K\x02K\x010", "2");
    check(b"(K\x011N", "None");
    check(b"(0N", "None");
    check(b"\x95\x01\0\0\0\0\0\0\0N", "None");
    check(b"ccollections\nOrderedDict\n)R", "{}");
    check(b"ccollections\nOrderedDict\n(](](K\x01K\x02eetR", "{1: 2}");
    check(b"ccollections\ndefaultdict\n(c__builtin__\nlist\ntRK\x01K\x02s", "{1: 2}");
    check(b"c__builtin__\nset\n(](K\x01K\x02etR", "set(1, 2)");
    check(b"cbuiltins\nfrozenset\n(](K\x01etR", "set(1)");
    check(b"cbuiltins\nlist\n)R", "[]");
    check(b"ctorch\nSize\n(K\x02K\x03\x86tR", "(2, 3)");
    check(b"ctorch\nfloat16\n", "torch.float16");
    check(b"c_codecs\nencode\n(X\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1tR", "b[255]");
    check(b"\x8c\x05torch\x8c\x04Size\x93", "torch.Size");
}

/// An unknown object stays opaque; its attributes can be read.
#[test]
fn opaque_values() {
    fn check(value: &[u8], expected: &str) {
        assert_eq!(value_of(value, PytorchOptions::default()).as_deref(), Ok(expected), "{value:?}");
    }
    check(b"cargparse\nNamespace\n)\x81}X\x02\0\0\0lrK\x01sb", "argparse.Namespace(\"lr\": 1)");
    check(b"cmine\nParams\n)\x81}K\x01K\x02sb", "mine.Params(1: 2)");
    check(b"(imine\nParams\n", "mine.Params()");
    check(b"(cmine\nParams\nK\x01o", "mine.Params()");
    check(b"cmine\nParams\n)}\x92", "mine.Params()");
    check(b"ccollections\ndeque\n)R(K\x01K\x02e", "collections.deque(1, 2)");
    check(b"cmine\nDict\n)\x81K\x01K\x02s", "mine.Dict(1: 2)");
    check(b"ctorch\ndevice\n(X\x03\0\0\0cputR", "torch.device()");
    check(b"cmine\nfunction\n", "mine.function");
}

#[test]
fn refused_pickles() {
    fn check(value: &[u8], expected: Code) {
        let found = value_of(value, PytorchOptions::default());
        assert_eq!(found, Err(expected), "{:?}", &value[..value.len().min(80)]);
    }
    check(b"cos\nsystem\n", Code::UnsafePickle);
    check(b"\x8c\x02os\x8c\x06system\x93", Code::UnsafePickle);
    check(b"cmine\nfunction\n)R", Code::UnsafePickle);
    check(b"ctorch.storage\n_load_from_bytes\n(C\x01atR", Code::UnsafePickle);
    check(b"ccollections\nOrderedDict.__init__\n", Code::UnsafePickle);
    check(b"cmine\nA\n)\x81)R", Code::UnsafePickle);
    check(b"\x82\x01", Code::UnsafePickle);
    check(b"c\xff\nx\n", Code::Malformed);
    check(b"K\x01K\x02\x93", Code::Malformed);
    check(b"\x80\x02N", Code::Malformed);
    check(b"P0\n", Code::Malformed);
    check(b"\x97", Code::Malformed);
    check(b"K\x01Q", Code::Malformed);
    check(b"h\x09", Code::Malformed);
    check(b"gx\n", Code::Malformed);
    check(b"}]K\x01s", Code::Malformed);
    check(b"](K\x01u", Code::Malformed);
    check(b"}(K\x01u", Code::Malformed);
    check(b"}K\x01a", Code::Malformed);
    check(b"}(K\x01\x90", Code::Malformed);
    check(b"NNb", Code::Malformed);
    check(b"cmine\nA\n)\x81NbNb", Code::Malformed);
    check(b"}Nb", Code::Malformed);
    check(b"K\x01)R", Code::Malformed);
    check(b"ctorch\nSize\nNR", Code::Malformed);
    check(b"ctorch\nSize\n(K\x01tR", Code::Malformed);
    check(b"K\x01)\x81", Code::Malformed);
    check(b"ctorch\nFloatStorage\n(K\x01tR", Code::Malformed);
    check(b"cbuiltins\nbytearray\n(K\x64tR", Code::Malformed);
    check(b"(o", Code::Malformed);
    check(b"cmine\nA\n)N\x92", Code::Malformed);
    check(b"}(K\x01NI01\nNu", Code::Duplicate);
    check(b"\x95\xff\0\0\0\0\0\0\0N", Code::Truncated);
    check(b"\x8b\xff\xff\0\0", Code::Malformed);
    check(b"X\xff\xff\xff\x7f", Code::Truncated);
    check(b"}q\x09K\x01h\x09s", Code::Malformed);
    check(b"ctorch._utils\n_rebuild_sparse_tensor\n)R", Code::Unsupported);
    check(b"ctorch._utils\n_rebuild_parameter\n(K\x01\x89NtR", Code::Malformed);
    check(&[&b"(K\x01"[..], &b"2".repeat(1 << 18)].concat(), Code::TooLarge);
    check(&[&b"K\x01"[..], &b"\x94".repeat(1 << 20)].concat(), Code::TooLarge);
    check(&[b"]".repeat(300), b"a".repeat(299)].concat(), Code::TooLarge);
    // A pair of itself, nested 60 times.
    check(&[&b"K\x01"[..], &b"2\x86".repeat(60)].concat(), Code::TooLarge);
    // 1,000 copies of a list of 10,000.
    let copies =
        [&b"]("[..], &b"N".repeat(10_000)[..], b"eq\x09", &b"cbuiltins\nlist\n(h\x09tR0".repeat(1000)];
    check(&copies.concat(), Code::TooLarge);
}

#[test]
fn dangerous_globals_can_be_accepted_as_opaque() {
    let options = PytorchOptions { allow_opaque: true };
    let value = b"cos\nsystem\n(X\x02\0\0\0lstR";
    assert_eq!(value_of(value, options).as_deref(), Ok("os.system()"));
    let file = PytorchFile::open(Arc::new(checkpoint(&beside(value))), options).unwrap();
    let globals: Vec<_> = file.globals().iter().map(|global| (global.name.as_str(), global.kind)).collect();
    assert_eq!(
        globals,
        [
            ("torch._utils._rebuild_tensor_v2", GlobalKind::Known),
            ("torch.FloatStorage", GlobalKind::Known),
            ("os.system", GlobalKind::Dangerous)
        ]
    );
}

#[test]
fn kinds_of_globals() {
    fn check(module: &str, name: &str, expected: GlobalKind) {
        let options = PytorchOptions { allow_opaque: true };
        let file = PytorchFile::open(Arc::new(checkpoint(&beside(&global(module, name)))), options).unwrap();
        assert_eq!(file.globals().last().unwrap().kind, expected, "{module}.{name}");
    }
    check("torch", "Size", GlobalKind::Known);
    check("torch", "complex64", GlobalKind::Known);
    check("argparse", "Namespace", GlobalKind::Harmless);
    check("numpy._core.multiarray", "scalar", GlobalKind::Harmless);
    check("numpy.dtypes", "Float32DType", GlobalKind::Harmless);
    check("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence", GlobalKind::Harmless);
    check("numpy.random.bit_generator", "BitGenerator.__init__", GlobalKind::Dangerous);
    // Python 3 writes `range` this way in protocol 2, which PyTorch uses.
    check("__builtin__", "xrange", GlobalKind::Harmless);
    check("builtins", "Ellipsis", GlobalKind::Harmless);
    check("collections", "UserDict", GlobalKind::Harmless);
    check("collections", "namedtuple", GlobalKind::Dangerous);
    check("array", "_array_reconstructor", GlobalKind::Harmless);
    check("torch.nn.modules.conv", "Conv2d", GlobalKind::Harmless);
    check("torch.optim.adamw", "AdamW", GlobalKind::Harmless);
    check("__torch__.___torch_mangle_0", "M", GlobalKind::Harmless);
    check("__main__", "Params", GlobalKind::Unknown);
    check("torch._C._nn", "gelu", GlobalKind::Unknown);
    check("torch.distributed.tensor", "DTensor", GlobalKind::Unknown);
    check("argparse", "ArgumentParser", GlobalKind::Dangerous);
    check("subprocess", "Popen", GlobalKind::Dangerous);
    check("builtins", "eval", GlobalKind::Dangerous);
    check("torch", "load", GlobalKind::Dangerous);
    check("torch.nnx", "f", GlobalKind::Dangerous);
    check("numpy.f2py", "run", GlobalKind::Dangerous);
    check("dill._dill", "_load_type", GlobalKind::Dangerous);
    check("mine", "A.__init__", GlobalKind::Dangerous);
    check("\u{43e}s", "system", GlobalKind::Dangerous);
}

/// Found by fuzzing: the name of an unsupported function appeared unescaped in the message.
#[test]
fn names_of_globals_are_escaped() {
    let pickle = [b"\x80\x02", &global("torch._utils", "_rebuild_\u{5}\u{202e}tensor")[..], b")R."].concat();
    let error = PytorchFile::open(Arc::new(checkpoint(&pickle)), PytorchOptions::default()).err().unwrap();
    let message = error.to_string();
    assert!(message.contains("_rebuild_\\u{5}\\u{202e}tensor"), "{message}");
}
