//! Distributed checkpoints of PyTorch, whose `.metadata` is built by hand.

use std::sync::Arc;

use clipway_formats::{
    Code, DistributedFile, DistributedIndex, Dtype, FileFormat, FormatError, PytorchOptions, ReadAt,
    TensorFile,
};

use crate::pytorch::{archive, global, storage, text, tuple};

const METADATA: &str = "torch.distributed.checkpoint.metadata";
const FILESYSTEM: &str = "torch.distributed.checkpoint.filesystem";

/// One part of a tensor: offsets, sizes, and the values of its elements.
#[derive(Clone)]
struct Piece {
    offsets: Vec<u8>,
    sizes: Vec<u8>,
    values: Vec<f32>,
    /// File of the part.
    file: &'static str,
}

/// An object of a class with a dictionary of attributes.
fn object(module: &str, class: &str, attributes: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs = attributes.iter().flat_map(|(name, value)| [text(name), value.clone()]).collect::<Vec<_>>();
    [&global(module, class)[..], b")\x81}(", &pairs.concat(), b"ub"].concat()
}

fn int(value: usize) -> Vec<u8> {
    [b"J", &(value as i32).to_le_bytes()[..]].concat()
}

fn size(lengths: &[u8]) -> Vec<u8> {
    [&global("torch", "Size")[..], &tuple(lengths), b"\x85R"].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](", &items.concat()[..], b"e"].concat()
}

fn dict(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let pairs = pairs.iter().flat_map(|(key, value)| [&key[..], value].concat()).collect::<Vec<u8>>();
    [b"}(", &pairs[..], b"u"].concat()
}

/// The archive of a part: one tensor without a name.
fn part(piece: &Piece, rebuild: (&str, &str)) -> Vec<u8> {
    let mut strides = vec![1; piece.sizes.len()];
    for dimension in (1..piece.sizes.len()).rev() {
        strides[dimension - 1] = strides[dimension] * piece.sizes[dimension];
    }
    let pickle = [
        b"\x80\x02".to_vec(),
        global(rebuild.0, rebuild.1),
        b"(".to_vec(),
        storage("FloatStorage", "0", piece.values.len() as u8),
        b"K\0".to_vec(),
        tuple(&piece.sizes),
        tuple(&strides),
        b"\x89}tR.".to_vec(),
    ];
    let bytes: Vec<u8> = piece.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    archive(&[("a/data.pkl", &pickle.concat()), ("a/data/0", &bytes), ("a/version", b"3\n")])
}

/// What a checkpoint is made of; a test changes one thing.
#[derive(Clone)]
struct Made {
    /// Name, shape and parts of each tensor.
    tensors: Vec<(&'static str, Vec<u8>, Vec<Piece>)>,
    /// Class of the root object.
    root: &'static str,
    dtype: &'static str,
    /// Module and name of what rebuilds each part.
    rebuild: (&'static str, &'static str),
    /// Pickled value of every `transform_descriptors`.
    transforms: Vec<u8>,
    /// Added to every part's start, and to its length.
    moved: (usize, usize),
    /// Further pickled attributes of the root.
    beside: Vec<(&'static str, Vec<u8>)>,
    /// Name that stands for every file.
    renamed: Option<&'static str>,
}

/// Files by name, and the `.metadata`.
type Written = (Vec<u8>, Vec<(&'static str, Vec<u8>)>);

impl Made {
    /// A matrix in four quarters over two files, a vector in two parts of one file, and a scalar.
    fn new() -> Made {
        let piece = |offsets: &[u8], sizes: &[u8], values: &[f32], file| Piece {
            offsets: offsets.to_vec(),
            sizes: sizes.to_vec(),
            values: values.to_vec(),
            file,
        };
        let (first, second) = ("__0_0.distcp", "__1_0.distcp");
        let quarters = vec![
            piece(&[2, 2], &[1, 1], &[9.0], second),
            piece(&[0, 0], &[2, 2], &[1.0, 2.0, 4.0, 5.0], first),
            piece(&[0, 2], &[2, 1], &[3.0, 6.0], second),
            piece(&[2, 0], &[1, 2], &[7.0, 8.0], first),
        ];
        let halves = vec![piece(&[0], &[1], &[1.5], first), piece(&[1], &[2], &[2.5, 3.5], first)];
        let tensors = vec![
            ("model.matrix", vec![3, 3], quarters),
            ("model.vector", vec![3], halves),
            ("model.scalar", vec![], vec![piece(&[], &[], &[4.5], second)]),
        ];
        Made {
            tensors,
            root: "Metadata",
            dtype: "float32",
            rebuild: ("torch._utils", "_rebuild_tensor_v2"),
            transforms: b"N".to_vec(),
            moved: (0, 0),
            beside: Vec::new(),
            renamed: None,
        }
    }

    fn write(&self) -> Written {
        let mut files: Vec<(&'static str, Vec<u8>)> = Vec::new();
        let (mut described, mut places, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        for (name, shape, pieces) in &self.tensors {
            let mut chunks = Vec::new();
            for piece in pieces {
                let file = match files.iter().position(|(file, _)| *file == piece.file) {
                    Some(file) => file,
                    None => {
                        files.push((piece.file, b"before".to_vec()));
                        files.len() - 1
                    }
                };
                let content = part(piece, self.rebuild);
                let start = files[file].1.len() + self.moved.0;
                let place = [
                    ("relative_path", text(self.renamed.unwrap_or(piece.file))),
                    ("offset", int(start)),
                    ("length", int(content.len() + self.moved.1)),
                    ("transform_descriptors", self.transforms.clone()),
                ];
                let index = [("fqn", text(name)), ("index", b"N".to_vec()), ("offset", size(&piece.offsets))];
                let index = object(METADATA, "MetadataIndex", &index);
                places.push((index, object(FILESYSTEM, "_StorageInfo", &place)));
                let chunk = [("offsets", size(&piece.offsets)), ("sizes", size(&piece.sizes))];
                chunks.push(object(METADATA, "ChunkStorageMetadata", &chunk));
                files[file].1.extend(content);
            }
            // The state of the properties is a tuple.
            let state = [b"(", &global("torch", self.dtype)[..], b"N\x89N\x89t"].concat();
            let properties = [&global(METADATA, "TensorProperties")[..], b")\x81", &state, b"b"].concat();
            let attributes = [("properties", properties), ("size", size(shape)), ("chunks", list(&chunks))];
            described.push((text(name), object(METADATA, "TensorStorageMetadata", &attributes)));
            let keys = name.split('.').map(text).collect::<Vec<_>>();
            paths.push((text(name), [b"(", &keys.concat()[..], b"t"].concat()));
        }
        let bytes = [&global(METADATA, "BytesStorageMetadata")[..], b")\x81"].concat();
        described.push((text("epoch"), bytes));
        paths.push((text("epoch"), [&text("epoch")[..], b"\x85"].concat()));
        let index = object(METADATA, "MetadataIndex", &[("fqn", text("epoch"))]);
        let file = self.renamed.unwrap_or("__0_0.distcp");
        let place = [("relative_path", text(file)), ("offset", int(0)), ("length", int(6))];
        places.push((index, object(FILESYSTEM, "_StorageInfo", &place)));
        let mut root = vec![
            ("state_dict_metadata", dict(&described)),
            ("planner_data", dict(&paths)),
            ("storage_data", dict(&places)),
        ];
        root.extend(self.beside.clone());
        ([b"\x80\x02", &object(METADATA, self.root, &root)[..], b"."].concat(), files)
    }

    fn open(&self) -> Result<(DistributedIndex, DistributedFile), FormatError> {
        open(&self.write())
    }
}

fn open((metadata, files): &Written) -> Result<(DistributedIndex, DistributedFile), FormatError> {
    let options = PytorchOptions::default();
    let index = DistributedIndex::open(Arc::new(metadata.clone()), options)?;
    let find = |name: &String| {
        let file = files.iter().find(|(file, _)| file == name).expect("a file of the checkpoint");
        Arc::new(file.1.clone()) as Arc<dyn ReadAt>
    };
    let sources = index.files().iter().map(find).collect();
    let file = DistributedFile::new(&index, sources, options)?;
    Ok((index, file))
}

fn refused(change: impl FnOnce(&mut Made)) -> FormatError {
    let mut made = Made::new();
    change(&mut made);
    made.open().err().expect("it is refused")
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn parts_are_joined() {
    let (index, file) = Made::new().open().unwrap();
    assert_eq!(index.files(), ["__1_0.distcp", "__0_0.distcp"]);
    assert_eq!(file.format(), FileFormat::PytorchDistributed);
    let infos: Vec<_> =
        file.tensors().iter().map(|info| (&info.name[..], info.dtype, &info.shape[..])).collect();
    let expected: [(_, _, &[usize]); 3] = [
        ("model.matrix", Dtype::F32, &[3, 3]),
        ("model.vector", Dtype::F32, &[3]),
        ("model.scalar", Dtype::F32, &[]),
    ];
    assert_eq!(infos, expected);
    let wanted = [(1..=9).map(|value| value as f32).collect(), vec![1.5, 2.5, 3.5], vec![4.5]];
    for (tensor, wanted) in wanted.iter().enumerate() {
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        file.read(tensor, &mut whole).unwrap();
        file.read_chunks(tensor, &mut |piece| pieces.extend_from_slice(piece)).unwrap();
        assert_eq!((&floats(&whole), &floats(&pieces)), (wanted, wanted));
    }
    let keys = |path: &[&str]| index.keys(&path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
    assert_eq!(keys(&[]), Some(vec!["model".to_owned(), "epoch".to_owned()]));
    assert_eq!(keys(&["model"]).unwrap(), ["matrix", "vector", "scalar"]);
    assert_eq!(keys(&["other"]), None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let piece = |made: &mut Made, change: &dyn Fn(&mut Piece)| change(&mut made.tensors[0].2[1]);
    for (error, code, says) in [
        (refused(|made| made.root = "Other"), Code::Malformed, "not the `Metadata`"),
        (refused(|made| made.tensors.clear()), Code::Missing, "no tensors"),
        (refused(|made| made.dtype = "complex64"), Code::Unsupported, "dtype `torch.complex64`"),
        (refused(|made| made.dtype = "device"), Code::Malformed, "element type"),
        (refused(|made| made.dtype = "float64"), Code::Malformed, "expected a part of dtype F64"),
        (refused(|made| made.dtype = "int32"), Code::Malformed, "expected a part of dtype I32"),
        (refused(|made| drop(made.tensors[0].2.pop())), Code::Missing, "the parts have 7 of 9 elements"),
        (refused(|made| made.tensors[1].1 = vec![4]), Code::Missing, "3 of 4"),
        (refused(|made| piece(made, &|piece| piece.offsets = vec![1, 1])), Code::Malformed, "overlap"),
        (refused(|made| piece(made, &|piece| piece.offsets = vec![2, 1])), Code::Malformed, "not inside"),
        (refused(|made| piece(made, &|piece| piece.sizes = vec![2])), Code::Malformed, "not inside"),
        (
            refused(|made| piece(made, &|piece| piece.values.truncate(1))),
            Code::Malformed,
            "not inside its storage",
        ),
        (refused(|made| made.transforms = list(&[text("zstd")])), Code::Unsupported, "transformed"),
        (refused(|made| made.renamed = Some("../__0_0.distcp")), Code::PathEscape, "not a path below"),
        (refused(|made| made.renamed = Some("/etc/passwd")), Code::PathEscape, "not a path below"),
        (refused(|made| made.moved = (0, 1 << 30)), Code::Truncated, "beyond the"),
        (refused(|made| made.moved = (1 << 30, 0)), Code::Truncated, "beyond the"),
        (refused(|made| made.moved = (1, 0)), Code::Truncated, "beyond the"),
        (
            refused(|made| {
                made.beside
                    .push(("storage_meta", [&global("os", "system")[..], &text("id"), b"\x85R"].concat()))
            }),
            Code::UnsafePickle,
            "os.system",
        ),
        (refused(|made| made.tensors[1].0 = "model.matrix"), Code::Duplicate, "twice"),
    ] {
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn bytes_belong_to_one_part() {
    let mut made = Made::new();
    made.tensors[1].2[1].file = "__0_0.distcp";
    let (metadata, files) = made.write();
    // Every part of the file is said to begin where the first one does.
    let starts: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(starts.len(), 2);
    let first = [&text("offset")[..], &int(6)].concat();
    let mut changed = metadata.clone();
    let mut from = 0;
    let key = text("offset");
    let mut count = 0;
    while let Some(at) = changed[from..].windows(key.len()).position(|window| window == key) {
        let at = from + at;
        from = at + key.len();
        if changed[from] == b'J' && changed[from + 1..from + 5] != 0i32.to_le_bytes() {
            changed[at..at + first.len()].copy_from_slice(&first);
            count += 1;
        }
    }
    assert_eq!(count, 7);
    let error = open(&(changed, files)).err().expect("it is refused");
    assert_eq!(error.code, Code::Malformed, "{error}");
    assert!(error.to_string().contains("also those of another part"), "{error}");
}

#[test]
fn parts_that_run_code_are_refused() {
    let error = refused(|made| made.rebuild = ("posix", "system"));
    assert_eq!(error.code, Code::UnsafePickle, "{error}");
    assert!(error.to_string().contains("in shard `__0_0.distcp`"), "{error}");
    let error = refused(|made| made.rebuild = ("builtins", "dict"));
    assert_eq!(error.code, Code::Malformed, "{error}");
}

#[test]
fn every_cut_is_an_error_and_no_change_panics() {
    let (metadata, files) = Made::new().write();
    let values = |made: &Written| -> Option<Vec<Vec<u8>>> {
        let (_, file) = open(made).ok()?;
        let read = |tensor| {
            let mut bytes = Vec::new();
            file.read(tensor, &mut bytes).ok().map(|()| bytes)
        };
        (0..file.tensors().len()).map(read).collect()
    };
    assert!(values(&(metadata.clone(), files.clone())).is_some());
    for end in 0..metadata.len() {
        assert!(open(&(metadata[..end].to_vec(), files.clone())).is_err(), "cut at {end}");
    }
    for file in 0..files.len() {
        for end in (0..files[file].1.len()).step_by(7) {
            let mut cut = files.clone();
            cut[file].1.truncate(end);
            assert!(open(&(metadata.clone(), cut)).is_err(), "file {file} cut at {end}");
        }
    }
    // Without checksums a changed letter can be another name; nothing may panic.
    let mut refused = 0;
    for at in 0..metadata.len() {
        let mut changed = metadata.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(index) = DistributedIndex::open(Arc::new(changed.clone()), PytorchOptions::default()) else {
            refused += 1;
            continue;
        };
        if index.files().iter().all(|name| files.iter().any(|(file, _)| file == name)) {
            values(&(changed, files.clone()));
        }
    }
    assert!(refused > metadata.len() / 2, "{refused} of {}", metadata.len());
}
