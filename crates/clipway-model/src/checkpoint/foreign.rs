//! Files and folders of other programs, which are named and not read.

use std::fmt;
use std::path::Path;

use clipway_formats::{Code, FormatError, Place};

/// A program whose files of weights are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Flax's trees of arrays in MessagePack.
    Flax,
    /// Checkpoints of Orbax, for JAX.
    Orbax,
    /// TensorFlow's saved models, graphs and checkpoints.
    TensorFlow,
    /// Weights of Keras or TensorFlow in HDF5, and `.keras`.
    Keras,
    /// TensorFlow Lite, also called LiteRT.
    TensorFlowLite,
    /// OpenVINO's `.xml` with its `.bin`.
    OpenVino,
    /// Engines of TensorRT.
    TensorRt,
    /// Packages and models of Core ML.
    CoreMl,
    /// GGUF, of llama.cpp and clip.cpp.
    Gguf,
    /// What llama.cpp and clip.cpp read before GGUF.
    Ggml,
    /// ONNX files and ONNX Runtime's own form of them.
    Onnx,
    /// Programs of ExecuTorch.
    ExecuTorch,
    /// Models of MNN.
    Mnn,
    /// Models of ncnn.
    Ncnn,
    /// Models for Rockchip's processors.
    Rknn,
    /// Models for Hailo's processors.
    Hailo,
    /// Models for Qualcomm's processors.
    Qualcomm,
}

impl Program {
    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Program::Flax => "Flax",
            Program::Orbax => "Orbax (JAX)",
            Program::TensorFlow => "TensorFlow",
            Program::Keras => "Keras or TensorFlow (HDF5)",
            Program::TensorFlowLite => "TensorFlow Lite",
            Program::OpenVino => "OpenVINO",
            Program::TensorRt => "TensorRT",
            Program::CoreMl => "Core ML",
            Program::Gguf => "llama.cpp or clip.cpp (GGUF)",
            Program::Ggml => "clip.cpp (GGML)",
            Program::Onnx => "ONNX runtimes",
            Program::ExecuTorch => "ExecuTorch",
            Program::Mnn => "MNN",
            Program::Ncnn => "ncnn",
            Program::Rknn => "Rockchip's RKNN",
            Program::Hailo => "Hailo",
            Program::Qualcomm => "Qualcomm's SNPE or QNN",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// First bytes of files, at an offset.
const HEADS: [(usize, &[u8], Program); 12] = [
    (0, b"GGUF", Program::Gguf),
    (0, b"lmgg", Program::Ggml),
    (0, b"tjgg", Program::Ggml),
    (0, b"\x89HDF\r\n\x1a\n", Program::Keras),
    (4, b"TFL3", Program::TensorFlowLite),
    (4, b"ORTM", Program::Onnx),
    (4, b"ET12", Program::ExecuTorch),
    (0, b"ftrt", Program::TensorRt),
    (0, b"ptrt", Program::TensorRt),
    (0, b"7767517\n", Program::Ncnn),
    (0, b"RKNN", Program::Rknn),
    (0, b"\x01HEF", Program::Hailo),
];

/// Ends of names, for files whose first bytes say nothing.
const ENDS: [(&str, Program); 18] = [
    (".msgpack", Program::Flax),
    ("manifest.ocdbt", Program::Orbax),
    ("_CHECKPOINT_METADATA", Program::Orbax),
    ("saved_model.pb", Program::TensorFlow),
    (".data-00000-of-00001", Program::TensorFlow),
    (".pb", Program::TensorFlow),
    (".keras", Program::Keras),
    (".h5", Program::Keras),
    (".tflite", Program::TensorFlowLite),
    (".engine", Program::TensorRt),
    (".plan", Program::TensorRt),
    (".trt", Program::TensorRt),
    (".mlmodel", Program::CoreMl),
    (".onnx", Program::Onnx),
    (".mnn", Program::Mnn),
    (".dlc", Program::Qualcomm),
    (".gguf", Program::Gguf),
    (".xml", Program::OpenVino),
];

/// First bytes of compressed files: gzip, xz, Zstandard, bzip2 and 7z.
const PACKERS: [&[u8]; 5] = [b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh", b"7z\xbc\xaf\x27\x1c"];

/// The entry of a zip that makes it PyTorch's.
const PICKLE: &str = "/data.pkl";

/// Ends of names of folders.
const PACKAGES: [&str; 2] = [".mlpackage", ".mlmodelc"];

/// Whether a folder is a model of another program as a whole.
pub(super) fn package(folder: &Path) -> Option<Program> {
    let name = folder.file_name()?.to_str()?;
    PACKAGES.iter().any(|end| name.ends_with(end)).then_some(Program::CoreMl)
}

/// The program that a file belongs to, by its first bytes, else by its name.
pub(super) fn of_file(path: &Path, head: &[u8]) -> Option<Program> {
    let name = path.file_name()?.to_str()?;
    let by_head =
        HEADS.iter().find(|(at, bytes, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes)));
    if let Some((_, _, program)) = by_head {
        return Some(*program);
    }
    if is_message_pack(head) {
        return Some(Program::Flax);
    }
    if is_intermediate(path) {
        return Some(Program::OpenVino);
    }
    // A text of another kind has only the name.
    let is_named = |end: &str| match end {
        ".xml" => name.ends_with(end) && head.trim_ascii_start().starts_with(b"<"),
        _ => name.ends_with(end),
    };
    ENDS.iter().find(|(end, _)| is_named(end)).map(|(_, program)| *program)
}

/// Whether a file that cannot be opened for this reason is an archive of other files: a zip without PyTorch's pickle, a tar,
/// or anything compressed.
pub(super) fn is_packed(path: &Path, head: &[u8], cause: &FormatError) -> bool {
    let ends = |end: &str| path.to_str().is_some_and(|path| path.ends_with(end));
    let is_zip = head.starts_with(b"PK");
    match (cause.code, &cause.place) {
        (Code::UnknownFormat, _) if PACKERS.iter().any(|bytes| head.starts_with(bytes)) => true,
        (Code::UnknownFormat, _) if is_zip => !ends(".keras"),
        (Code::Missing, Place::Entry(name)) if is_zip => name.ends_with(PICKLE) && !ends(".keras"),
        _ => ends(".tar") && !ends(".pth.tar"),
    }
}

/// Whether a file has the weights of an OpenVINO model, whose layers are in the `.xml` beside it.
pub(super) fn is_intermediate(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "bin") && path.with_extension("xml").is_file()
}

/// Whether the first bytes are a MessagePack map whose first key is a word.
fn is_message_pack(head: &[u8]) -> bool {
    let rest = match head {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] => rest,
        _ => return false,
    };
    let [length @ 0xa1..=0xbf, rest @ ..] = rest else { return false };
    let word = rest.get(..usize::from(length & 0x1f));
    word.is_some_and(|word| word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_first_bytes_and_else_by_their_names() {
        let check = |name: &str, head: &[u8], expected: Option<Program>| {
            assert_eq!(of_file(Path::new(name), head), expected, "{name}");
        };
        check("a.pt", b"GGUF\x03\0\0\0", Some(Program::Gguf));
        check("model.bin", b"lmgg\0\0\0\0", Some(Program::Ggml));
        check("model.engine", b"ftrt\0\0\0\0", Some(Program::TensorRt));
        check("a", b"\x1c\0\0\0TFL3", Some(Program::TensorFlowLite));
        check("checkpoint_100", b"\x81\xa6params\x82", Some(Program::Flax));
        check("wide", b"\xde\0\x11\xa3img\x82", Some(Program::Flax));
        check("model.onnx", b"\x08\x08\x12\x07pytorch", Some(Program::Onnx));
        check("net.xml", b"<?xml version=\"1.0\"?>", Some(Program::OpenVino));
        check("net.xml", b"nothing", None);
        // An empty map, a key that is no word, and one that is cut off.
        check("a", b"\x80\xa6params", None);
        check("a", b"\x81\xa2\0\x01\0", None);
        check("a", b"\x81\xbfshort", None);
        check("a.pt", b"\x80\x02}q\0.", None);
        check("a.pt", b"a text", None);
        check("a.pt", b"", None);
    }

    #[test]
    fn a_damaged_checkpoint_is_no_archive_of_other_files() {
        let check = |code: Code, entry: &str, expected: bool| {
            let cause = FormatError::new(code, Place::Entry(entry.to_owned()), "no such entry");
            assert_eq!(is_packed(Path::new("a.pt"), b"PK\x03\x04", &cause), expected, "{entry}");
        };
        check(Code::Missing, "archive/data.pkl", true);
        check(Code::Missing, "archive/data/0", false);
        check(Code::Truncated, "archive/data.pkl", false);
    }
}
