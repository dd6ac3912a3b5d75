//! The pickle of a state dict, in protocol 2.

use std::collections::HashMap;

use crate::dtype::Dtype;
use crate::tensor::TensorInfo;

/// Number of entries added by one `SETITEMS`, as in CPython's pickler.
const BATCH: usize = 1000;

/// Pickles an ordered dictionary of contiguous tensors; tensor `i` uses the storage with key `i`.
pub(super) fn state_dict(tensors: &[TensorInfo]) -> Vec<u8> {
    let mut pickle = Emitter::default();
    pickle.out.extend([0x80, 2]);
    pickle.empty_ordered_dict();
    for batch in tensors.chunks(BATCH).scan(0, |first, batch| {
        let start = *first;
        *first += batch.len();
        Some((start, batch))
    }) {
        pickle.out.push(b'(');
        for (position, info) in batch.1.iter().enumerate() {
            pickle.text(&info.name);
            pickle.tensor(info, batch.0 + position);
        }
        pickle.out.push(b'u');
    }
    pickle.out.push(b'.');
    pickle.out
}

/// How PyTorch stores an element type: by its storage class or, for types newer than these classes, as bytes with a
/// separate dtype.
enum Stored {
    Class(&'static str),
    Bytes(&'static str),
}

fn stored(dtype: Dtype) -> Stored {
    match dtype {
        Dtype::F64 => Stored::Class("DoubleStorage"),
        Dtype::F32 => Stored::Class("FloatStorage"),
        Dtype::F16 => Stored::Class("HalfStorage"),
        Dtype::BF16 => Stored::Class("BFloat16Storage"),
        Dtype::I64 => Stored::Class("LongStorage"),
        Dtype::I32 => Stored::Class("IntStorage"),
        Dtype::I16 => Stored::Class("ShortStorage"),
        Dtype::I8 => Stored::Class("CharStorage"),
        Dtype::U8 => Stored::Class("ByteStorage"),
        Dtype::Bool => Stored::Class("BoolStorage"),
        Dtype::F8E4M3 => Stored::Bytes("float8_e4m3fn"),
        Dtype::F8E5M2 => Stored::Bytes("float8_e5m2"),
        Dtype::U64 => Stored::Bytes("uint64"),
        Dtype::U32 => Stored::Bytes("uint32"),
        Dtype::U16 => Stored::Bytes("uint16"),
    }
}

#[derive(Default)]
struct Emitter {
    out: Vec<u8>,
    /// Memo index of each recurring text and global.
    memo: HashMap<Vec<u8>, u32>,
}

impl Emitter {
    fn tensor(&mut self, info: &TensorInfo, key: usize) {
        let (function, class) = match stored(info.dtype) {
            Stored::Class(class) => ("torch._utils\n_rebuild_tensor_v2", format!("torch\n{class}")),
            Stored::Bytes(_) => ("torch._utils\n_rebuild_tensor_v3", "torch.storage\nUntypedStorage".into()),
        };
        let length = match stored(info.dtype) {
            Stored::Class(_) => info.elements(),
            Stored::Bytes(_) => info.bytes(),
        };
        self.global(function);
        self.out.extend(b"((");
        self.shared_text("storage");
        self.global(&class);
        self.text(&key.to_string());
        self.shared_text("cpu");
        self.integer(length);
        self.out.extend(b"tQK\0");
        self.tuple(&info.shape);
        self.tuple(&strides(&info.shape));
        self.out.push(0x89);
        self.empty_ordered_dict();
        if let Stored::Bytes(dtype) = stored(info.dtype) {
            self.global(&format!("torch\n{dtype}"));
        }
        self.out.extend(b"tR");
    }

    fn empty_ordered_dict(&mut self) {
        self.global("collections\nOrderedDict");
        self.out.extend(b")R");
    }

    /// A class or function: module and name on two lines.
    fn global(&mut self, name: &str) {
        self.once([b"c", name.as_bytes(), b"\n"].concat());
    }

    fn shared_text(&mut self, text: &str) {
        self.once(text_opcode(text));
    }

    fn text(&mut self, text: &str) {
        self.out.extend(text_opcode(text));
    }

    /// Emits an opcode and memoizes its value, or fetches it the next time.
    fn once(&mut self, opcode: Vec<u8>) {
        // There are fewer than 256 such values, so one byte is enough for their indices.
        let next = self.memo.len() as u32;
        match self.memo.get(&opcode) {
            Some(&number) => self.out.extend([b'h', number as u8]),
            None => {
                self.out.extend(&opcode);
                self.out.extend([b'q', next as u8]);
                self.memo.insert(opcode, next);
            }
        }
    }

    fn integer(&mut self, value: usize) {
        match value {
            0..=0xff => self.out.extend([b'K', value as u8]),
            0x100..=0xffff => {
                self.out.push(b'M');
                self.out.extend((value as u16).to_le_bytes());
            }
            0x1_0000..=0x7fff_ffff => {
                self.out.push(b'J');
                self.out.extend((value as u32).to_le_bytes());
            }
            _ => {
                self.out.extend([0x8a, 8]);
                self.out.extend((value as u64).to_le_bytes());
            }
        }
    }

    fn tuple(&mut self, values: &[usize]) {
        if values.is_empty() {
            self.out.push(b')');
            return;
        }
        self.out.push(b'(');
        values.iter().for_each(|&value| self.integer(value));
        self.out.push(b't');
    }
}

fn text_opcode(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Strides of a contiguous tensor; a dimension of 0 counts as 1.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * shape[dimension].max(1);
    }
    strides
}
