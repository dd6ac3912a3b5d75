//! ONNX models; their external data is 64 bytes under any name but `none`.
#![no_main]

use std::sync::Arc;

use clipway_formats::{Code, FormatError, OnnxFile, Place, ReadAt};
use clipway_fuzz::check_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let open = |source: Arc<dyn ReadAt>| {
        OnnxFile::open(source, &mut |name| match name {
            "none" => Err(FormatError::new(Code::Io, Place::File, "no such file")),
            _ => Ok(Arc::new(vec![7_u8; 64]) as Arc<dyn ReadAt>),
        })
    };
    check_file(input, open);
});
