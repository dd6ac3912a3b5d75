//! Opens one file with the libraries, like the commands do, in a separate process.

use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, NpyFile, NpzFile, OnnxFile, Place, ReadAt, TensorFile, read_all, shown,
};
use clipway_model::architecture;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::{ConfigFile, limits};
use clipway_model::input::{self, Kind};
use clipway_run::image::{DecodeLimits, Preprocess, decode, transform};
use clipway_run::text::check_tokenizer_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::{Format, Tensor};

/// Stack size of the thread that opens the file, in bytes: a worker thread's, which is less than the main thread's.
const STACK: usize = 2 << 20;

/// Maximum bytes of a tokenizer file or an image.
const LARGEST_FILE: u64 = 256 << 20;

/// The result of opening a file, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// Read completely.
    Loaded(Loaded),
    /// Refused, with the message that people would see.
    Refused(String),
}

/// The contents of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Loaded {
    /// Its tensors, in order.
    pub tensors: Vec<(String, Tensor)>,
    /// The image.
    pub image: Option<LoadedImage>,
}

/// The contents of an image.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoadedImage {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// SHA-256 of its red, green and blue bytes.
    pub rgb_sha256: String,
}

/// Opens a file, prints the report on one line, and waits until stdin ends, so that it can be measured.
pub fn run(format: Format, path: PathBuf) -> Result<bool, String> {
    let open = move || match open(format, &path) {
        Ok(loaded) => Report::Loaded(loaded),
        Err(message) => Report::Refused(message),
    };
    let thread =
        std::thread::Builder::new().stack_size(STACK).spawn(open).map_err(|error| error.to_string())?;
    let report = thread.join().map_err(|_| "a panic".to_owned())?;
    let line = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| error.to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(true)
}

/// Returns the SHA-256 in lowercase hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads everything in a file; the error names the file.
fn open(format: Format, path: &Path) -> Result<Loaded, String> {
    let source =
        || input::open(path, Kind::Weights).map(Arc::new).map_err(|error| refusal(path, &error.why()));
    let named = |error: FormatError| refusal(path, &error);
    match format {
        Format::Pt
        | Format::Legacy
        | Format::Zip
        | Format::Torchscript
        | Format::WrongFile
        | Format::Safetensors
        | Format::Sharded => {
            let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
            tensors(path, &**checkpoint.tensors())
        }
        Format::Npy => tensors(path, &NpyFile::open(source()?).map_err(named)?),
        Format::Npz => tensors(path, &NpzFile::open(source()?).map_err(named)?),
        Format::Onnx => {
            let mut external = |name: &str| open_external(path, name);
            tensors(path, &OnnxFile::open(source()?, &mut external).map_err(named)?)
        }
        Format::Config => config(path, &read_all(&source()?, limits::FILE_BYTES).map_err(named)?),
        Format::Tokenizer => {
            let bytes = read_all(&source()?, LARGEST_FILE).map_err(named)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            check_tokenizer_file(&name, &bytes).map_err(|error| refusal(path, &error))?;
            Ok(Loaded::default())
        }
        Format::Image => image(path, &read_all(&source()?, LARGEST_FILE).map_err(named)?),
    }
}

fn refusal(path: &Path, cause: &dyn Display) -> String {
    format!("`{}`: {cause}", path.display())
}

/// Reads and hashes every tensor.
fn tensors(path: &Path, file: &dyn TensorFile) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    for (index, info) in file.tensors().iter().enumerate() {
        let mut hash = Sha256::new();
        file.read_chunks(index, &mut |bytes| hash.update(bytes)).map_err(|error| refusal(path, &error))?;
        let shape = info.shape.iter().map(|&length| length as u64).collect();
        let tensor = Tensor { dtype: info.dtype.name().to_owned(), shape, sha256: hex(hash) };
        loaded.tensors.push((info.name.clone(), tensor));
    }
    Ok(loaded)
}

/// Opens a file with a model's external data, unless a link leads out of the folder or to the model itself.
fn open_external(model: &Path, name: &str) -> Result<Arc<dyn ReadAt>, FormatError> {
    let refuse = |code: Code, cause: &dyn Display| {
        FormatError::new(code, Place::File, format!("external data `{}`: {cause}", shown(name)))
    };
    let io = |error: std::io::Error| refuse(Code::Io, &error);
    let folder = model.parent().unwrap_or(model).canonicalize().map_err(io)?;
    let target = folder.join(name).canonicalize().map_err(io)?;
    if !target.starts_with(&folder) {
        return Err(refuse(Code::PathEscape, &"a link that leaves the folder of the model"));
    }
    if target == model.canonicalize().map_err(io)? {
        return Err(refuse(Code::PathEscape, &"the model itself"));
    }
    let source = input::open(&target, Kind::Weights);
    Ok(Arc::new(source.map_err(|error| refuse(Code::Io, &error.why()))?))
}

/// Reads a config, and builds the model if both towers are open_clip's own.
fn config(path: &Path, bytes: &[u8]) -> Result<Loaded, String> {
    let model = ConfigFile::parse(bytes).map_err(|error| refusal(path, &error))?.model;
    if model.vision.timm.is_none() && model.text.hugging_face.is_none() {
        architecture::build(&model).map_err(|error| refusal(path, &error))?;
    }
    Ok(Loaded::default())
}

/// Decodes an image and converts it to RGB at its own size.
fn image(path: &Path, bytes: &[u8]) -> Result<Loaded, String> {
    let decoded = decode(bytes, &DecodeLimits::default()).map_err(|error| refusal(path, &error))?;
    let (width, height) = (decoded.width, decoded.height);
    let same_size = Preprocess { size: (height, width), ..Preprocess::default() };
    let rgb = transform(&decoded, &same_size).map_err(|error| refusal(path, &error))?;
    let image = LoadedImage { width, height, rgb_sha256: sha256(&rgb.data) };
    Ok(Loaded { image: Some(image), ..Loaded::default() })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn external_data_stays_below_the_model() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        let model = folder.join("m.onnx");
        std::fs::create_dir_all(folder.join("d")).unwrap();
        for file in [&model, &folder.join("d/w.bin"), &root.path().join("outside.bin")] {
            std::fs::write(file, [1; 24]).unwrap();
        }
        symlink("d/w.bin", folder.join("inside")).unwrap();
        symlink("../outside.bin", folder.join("leaves")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("m.onnx", folder.join("itself")).unwrap();
        let check =
            |name: &str, expected: Result<u64, (Code, &str)>| match (open_external(&model, name), expected) {
                (Ok(found), Ok(bytes)) => assert_eq!(found.size(), bytes, "{name}"),
                (Err(error), Err((code, cause))) => {
                    assert_eq!(error.code, code, "{name}: {error}");
                    assert_eq!(error.cause, format!("external data `{name}`: {cause}"));
                }
                (Ok(_), Err(expected)) => panic!("{name} is opened, expected {expected:?}"),
                (Err(error), Ok(_)) => panic!("{name}: {error}"),
            };
        let leaves = "a link that leaves the folder of the model";
        check("d/w.bin", Ok(24));
        check("inside", Ok(24));
        check("leaves", Err((Code::PathEscape, leaves)));
        check("up/outside.bin", Err((Code::PathEscape, leaves)));
        check("m.onnx", Err((Code::PathEscape, "the model itself")));
        check("itself", Err((Code::PathEscape, "the model itself")));
        check("d/none", Err((Code::Io, "No such file or directory (os error 2)")));
        check("d", Err((Code::Io, "not a regular file but a folder")));
    }
}
