//! The globals that a pickle names, and which of them are harmless.
//!
//! Nothing is ever looked up or called, so no global can do anything here. They are judged all the same: a file that
//! contains `os.system` beside valid weights is an attack on anyone who opens it with another tool.

use std::collections::HashMap;

use crate::dtype::Dtype;

/// The judgment on a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalKind {
    /// Interpreted: tensors, storages, dtypes, plain containers.
    Known,
    /// Not interpreted, and known to only hold data.
    Harmless,
    /// Not interpreted and unknown, such as a class of the program that wrote the file.
    Unknown,
    /// Runs code, reads files or gives access to such functions, if a pickle is executed.
    Dangerous,
}

impl GlobalKind {
    /// Name in messages and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            GlobalKind::Known => "known",
            GlobalKind::Harmless => "harmless",
            GlobalKind::Unknown => "unknown",
            GlobalKind::Dangerous => "dangerous",
        }
    }
}

/// A class, function or constant that a pickle names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Module and name, joined with `.`.
    pub name: String,
    /// How it is judged.
    pub kind: GlobalKind,
    pub(super) meaning: Meaning,
}

impl Global {
    /// Whether the last part of the name is written like a function's, not like a class's.
    pub(super) fn looks_like_function(&self) -> bool {
        let last = self.name.rsplit('.').next().unwrap_or_default();
        !last.trim_start_matches('_').starts_with(char::is_uppercase)
    }
}

/// How the reader interprets a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    RebuildFromType,
    /// Called with a tensor as first argument, returns that tensor.
    Parameter,
    /// Class of a typed storage; `None` for an element type that is not supported.
    Storage(Option<Dtype>),
    UntypedStorage,
    /// Element type; `None` for one that is not supported.
    Element(Option<Dtype>),
    Dict,
    DefaultDict,
    List,
    Tuple,
    Set,
    ByteArray,
    Encode,
    /// Called with a value as first argument, returns that value.
    Same,
    /// A whole PyTorch file inside a pickle.
    NestedFile,
    /// An unsupported way to make tensors.
    UnsupportedTensor,
    Opaque,
}

/// The globals of a pickle, without repeats, in order of first use.
#[derive(Debug, Default)]
pub(super) struct Globals {
    all: Vec<Global>,
    by_name: HashMap<(String, String), u32>,
}

impl Globals {
    pub(super) fn get(&self, index: u32) -> &Global {
        &self.all[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Global {
        &mut self.all[index as usize]
    }

    pub(super) fn all(&self) -> &[Global] {
        &self.all
    }

    /// Index of a global, judged on first use.
    pub(super) fn find_or_add(&mut self, module: &str, name: &str) -> u32 {
        let Globals { all, by_name } = self;
        *by_name.entry((module.to_owned(), name.to_owned())).or_insert_with(|| {
            let meaning = meaning_of(module, name);
            let kind = judge(module, name, meaning);
            all.push(Global { name: format!("{module}.{name}"), kind, meaning });
            (all.len() - 1) as u32
        })
    }
}

fn meaning_of(module: &str, name: &str) -> Meaning {
    match (module, name) {
        ("torch._utils", "_rebuild_tensor") => Meaning::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v2") => Meaning::RebuildTensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Meaning::RebuildTensorV3,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter", "Parameter" | "Buffer") => Meaning::Parameter,
        ("torch._utils", other) if other.starts_with("_rebuild_") => Meaning::UnsupportedTensor,
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => Meaning::RebuildFromType,
        ("torch.storage", "UntypedStorage" | "_UntypedStorage") | ("torch", "UntypedStorage") => {
            Meaning::UntypedStorage
        }
        ("torch.storage", "_load_from_bytes") => Meaning::NestedFile,
        ("torch" | "torch.cuda", other) if other.ends_with("Storage") => {
            storage_element(other).map_or(Meaning::Opaque, Meaning::Storage)
        }
        ("torch", other) if element(other).is_some() => Meaning::Element(element(other).flatten()),
        ("torch", "Size") => Meaning::Tuple,
        ("collections", "OrderedDict" | "Counter") => Meaning::Dict,
        ("collections", "defaultdict") => Meaning::DefaultDict,
        ("builtins" | "__builtin__", "dict") => Meaning::Dict,
        ("builtins" | "__builtin__", "list") => Meaning::List,
        ("builtins" | "__builtin__", "tuple") => Meaning::Tuple,
        ("builtins" | "__builtin__", "set" | "frozenset") => Meaning::Set,
        ("builtins" | "__builtin__", "bytearray" | "bytes") => Meaning::ByteArray,
        ("_codecs", "encode") => Meaning::Encode,
        (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist" | "restore_type_tag",
        ) => Meaning::Same,
        _ => Meaning::Opaque,
    }
}

/// Element type of a storage class; the inner `None` is an unsupported one.
fn storage_element(class: &str) -> Option<Option<Dtype>> {
    Some(match class {
        "DoubleStorage" => Some(Dtype::F64),
        "FloatStorage" => Some(Dtype::F32),
        "HalfStorage" => Some(Dtype::F16),
        "BFloat16Storage" => Some(Dtype::BF16),
        "LongStorage" => Some(Dtype::I64),
        "IntStorage" => Some(Dtype::I32),
        "ShortStorage" => Some(Dtype::I16),
        "CharStorage" => Some(Dtype::I8),
        "ByteStorage" => Some(Dtype::U8),
        "BoolStorage" => Some(Dtype::Bool),
        "ComplexDoubleStorage"
        | "ComplexFloatStorage"
        | "QInt8Storage"
        | "QInt32Storage"
        | "QUInt8Storage"
        | "QUInt4x2Storage"
        | "QUInt2x4Storage" => None,
        _ => return None,
    })
}

/// Element type named `torch.…`; the inner `None` is an unsupported one.
fn element(name: &str) -> Option<Option<Dtype>> {
    Some(match name {
        "float64" | "double" => Some(Dtype::F64),
        "float32" | "float" => Some(Dtype::F32),
        "float16" | "half" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        "float8_e4m3fn" => Some(Dtype::F8E4M3),
        "float8_e5m2" => Some(Dtype::F8E5M2),
        "int64" | "long" => Some(Dtype::I64),
        "int32" | "int" => Some(Dtype::I32),
        "int16" | "short" => Some(Dtype::I16),
        "int8" => Some(Dtype::I8),
        "uint64" => Some(Dtype::U64),
        "uint32" => Some(Dtype::U32),
        "uint16" => Some(Dtype::U16),
        "uint8" => Some(Dtype::U8),
        "bool" => Some(Dtype::Bool),
        "complex32" | "complex64" | "complex128" | "cfloat" | "cdouble" | "chalf" | "float8_e4m3fnuz"
        | "float8_e5m2fnuz" | "float8_e8m0fnu" | "float4_e2m1fn_x2" | "qint8" | "qint32" | "quint8"
        | "quint4x2" | "quint2x4" | "bits8" | "bits16" | "bits1x8" | "bits2x4" | "bits4x2" => None,
        _ => return None,
    })
}

fn judge(module: &str, name: &str, meaning: Meaning) -> GlobalKind {
    match meaning {
        Meaning::Opaque => {}
        Meaning::NestedFile => return GlobalKind::Dangerous,
        _ => return GlobalKind::Known,
    }
    if is_harmless(module, name) {
        return GlobalKind::Harmless;
    }
    let top = module.split('.').next().unwrap_or_default();
    let dunder = |part: &str| part.starts_with("__");
    if top == "__torch__" {
        return GlobalKind::Harmless;
    }
    let odd_module = module.is_empty()
        || !module.is_ascii()
        || module.split('.').any(str::is_empty)
        || module.split('.').any(|part| dunder(part) && part != "__main__");
    let odd_name = name.is_empty() || !name.is_ascii() || name.split('.').any(|p| p.is_empty() || dunder(p));
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_class = last.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase());
    let below =
        |parent: &str| module.strip_prefix(parent).is_some_and(|r| r.is_empty() || r.starts_with('.'));
    if odd_module || odd_name || STANDARD_LIBRARY.contains(&top) || CODE_RUNNERS.contains(&top) {
        GlobalKind::Dangerous
    } else if is_class && (below("torch.nn") || below("torch.optim")) {
        GlobalKind::Harmless
    } else if is_class || below("torch.nn") || below("torch._C._nn") {
        GlobalKind::Unknown
    } else if top == "torch" || top == "numpy" {
        GlobalKind::Dangerous
    } else {
        GlobalKind::Unknown
    }
}

/// Classes and functions that only hold data, from libraries that are otherwise not trusted.
fn is_harmless(module: &str, name: &str) -> bool {
    match module {
        "argparse" => name == "Namespace",
        "types" => name == "SimpleNamespace",
        "array" => matches!(name, "array" | "_array_reconstructor"),
        "collections" => matches!(name, "deque" | "ChainMap" | "UserDict" | "UserList"),
        "datetime" => matches!(name, "datetime" | "date" | "time" | "timedelta" | "timezone"),
        "decimal" => name == "Decimal",
        "fractions" => name == "Fraction",
        "uuid" => name == "UUID",
        "re" => name == "_compile",
        "pathlib" | "pathlib._local" => {
            matches!(name, "Path" | "PosixPath" | "WindowsPath")
                || matches!(name, "PurePath" | "PurePosixPath" | "PureWindowsPath")
        }
        "typing" => name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('.'),
        "copyreg" | "copy_reg" => matches!(name, "_reconstructor" | "__newobj__"),
        "builtins" | "__builtin__" => matches!(
            name,
            "object"
                | "int"
                | "long"
                | "float"
                | "bool"
                | "complex"
                | "str"
                | "unicode"
                | "slice"
                | "range"
                | "xrange"
                | "Ellipsis"
                | "NotImplemented"
        ),
        "torch" => matches!(
            name,
            "device" | "Tensor" | "Generator" | "strided" | "contiguous_format" | "preserve_format"
        ),
        "torch.serialization" => name == "_get_layout",
        "numpy" => {
            matches!(name, "ndarray" | "dtype" | "bool_" | "bool" | "complex64" | "complex128" | "str_")
                || ["float", "int", "uint"].iter().any(|kind| {
                    name.strip_prefix(kind).is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64"))
                })
        }
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "numpy.core.numeric" | "numpy._core.numeric" => name == "_frombuffer",
        "numpy.random.bit_generator" => name == "__pyx_unpickle_SeedSequence",
        "numpy.random._pickle" => name.starts_with("__") && name.ends_with("_ctor"),
        _ => module == "numpy.dtypes" && name.ends_with("DType"),
    }
}

/// Packages whose purpose is to run, install or rebuild code.
const CODE_RUNNERS: [&str; 16] = [
    "IPython",
    "_pytest",
    "cffi",
    "cloudpickle",
    "dill",
    "distutils",
    "fabric",
    "invoke",
    "numba",
    "paramiko",
    "pexpect",
    "pip",
    "pkg_resources",
    "plumbum",
    "pytest",
    "setuptools",
];

/// Top-level modules of Python's standard library, 2 and 3; the harmless parts are listed above.
#[rustfmt::skip]
const STANDARD_LIBRARY: [&str; 354] = [
    "BaseHTTPServer", "Bastion", "CGIHTTPServer", "ConfigParser", "Cookie", "HTMLParser", "Queue",
    "SimpleHTTPServer", "SimpleXMLRPCServer", "SocketServer", "Tkinter", "UserDict", "UserList", "UserString",
    "__builtin__", "__future__", "_abc", "_aix_support", "_android_support", "_apple_support", "_ast",
    "_asyncio", "_bisect", "_blake2", "_bootsubprocess", "_bz2", "_codecs", "_codecs_cn", "_codecs_hk",
    "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_collections", "_collections_abc",
    "_colorize", "_compat_pickle", "_compression", "_contextvars", "_crypt", "_csv", "_ctypes", "_curses",
    "_curses_panel", "_datetime", "_dbm", "_decimal", "_elementtree", "_frozen_importlib",
    "_frozen_importlib_external", "_functools", "_gdbm", "_hashlib", "_heapq", "_imp", "_interpreters", "_io",
    "_ios_support", "_json", "_locale", "_lsprof", "_lzma", "_markupbase", "_md5", "_msi", "_multibytecodec",
    "_multiprocessing", "_opcode", "_operator", "_osx_support", "_overlapped", "_pickle", "_posixshmem",
    "_posixsubprocess", "_py_abc", "_pydecimal", "_pyio", "_pyrepl", "_queue", "_random", "_remote_debugging",
    "_scproxy", "_sha1", "_sha256", "_sha3", "_sha512", "_signal", "_sitebuiltins", "_socket", "_sqlite3",
    "_sre", "_ssl", "_stat", "_statistics", "_string", "_strptime", "_struct", "_suggestions", "_symtable",
    "_sysconfig", "_thread", "_threading_local", "_tkinter", "_tokenize", "_tracemalloc", "_typing", "_uuid",
    "_warnings", "_weakref", "_weakrefset", "_winapi", "_zoneinfo", "abc", "aifc", "annotationlib",
    "antigravity", "anydbm", "argparse", "array", "ast", "asynchat", "asyncio", "asyncore", "atexit",
    "audioop", "base64", "bdb", "binascii", "bisect", "builtins", "bz2", "cPickle", "cProfile", "cStringIO",
    "calendar", "cgi", "cgitb", "chunk", "cmath", "cmd", "code", "codecs", "codeop", "collections",
    "colorsys", "commands", "compileall", "compiler", "compression", "concurrent", "configparser",
    "contextlib", "contextvars", "cookielib", "copy", "copy_reg", "copyreg", "crypt", "csv", "ctypes",
    "curses", "dataclasses", "datetime", "dbhash", "dbm", "decimal", "difflib", "dis", "distutils", "doctest",
    "email", "encodings", "ensurepip", "enum", "errno", "faulthandler", "fcntl", "filecmp", "fileinput",
    "fnmatch", "fractions", "ftplib", "functools", "gc", "genericpath", "getopt", "getpass", "gettext",
    "glob", "graphlib", "grp", "gzip", "hashlib", "heapq", "hmac", "hotshot", "html", "htmlentitydefs",
    "http", "httplib", "idlelib", "ihooks", "imaplib", "imghdr", "imp", "importlib", "imputil", "inspect",
    "io", "ipaddress", "itertools", "json", "keyword", "lib2to3", "linecache", "locale", "logging", "lzma",
    "mailbox", "mailcap", "marshal", "math", "mimetypes", "mmap", "modulefinder", "msilib", "msvcrt",
    "multiprocessing", "netrc", "new", "nis", "nntplib", "nt", "ntpath", "nturl2path", "numbers", "opcode",
    "operator", "optparse", "os", "os2emxpath", "ossaudiodev", "pathlib", "pdb", "pickle", "pickletools",
    "pipes", "pkgutil", "platform", "plistlib", "popen2", "poplib", "posix", "posixfile", "posixpath",
    "pprint", "profile", "pstats", "pty", "pwd", "py_compile", "pyclbr", "pydoc", "pydoc_data", "pyexpat",
    "queue", "quopri", "random", "re", "readline", "reprlib", "resource", "rexec", "rlcompleter", "runpy",
    "sched", "secrets", "select", "selectors", "sets", "shelve", "shlex", "shutil", "signal", "site", "smtpd",
    "smtplib", "sndhdr", "socket", "socketserver", "spwd", "sqlite3", "sre_compile", "sre_constants",
    "sre_parse", "ssl", "stat", "statistics", "string", "stringprep", "struct", "subprocess", "sunau",
    "symtable", "sys", "sysconfig", "syslog", "tabnanny", "tarfile", "telnetlib", "tempfile", "termios",
    "textwrap", "this", "thread", "threading", "time", "timeit", "tkinter", "token", "tokenize", "tomllib",
    "trace", "traceback", "tracemalloc", "tty", "turtle", "turtledemo", "types", "typing", "unicodedata",
    "unittest", "urllib", "urllib2", "uu", "uuid", "venv", "warnings", "wave", "weakref", "webbrowser",
    "whichdb", "winreg", "winsound", "wsgiref", "xdrlib", "xml", "xmlrpc", "xmlrpclib", "zipapp", "zipfile",
    "zipimport", "zlib", "zoneinfo",
];
