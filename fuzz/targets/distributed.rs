//! Distributed checkpoints of PyTorch: four bytes that give the length of the `.metadata`, the `.metadata`, and the bytes
//! of each file that it names.
#![no_main]

use std::sync::Arc;

use clipway_formats::{Code, DistributedFile, DistributedIndex, FormatError, Place, PytorchOptions, ReadAt};
use clipway_fuzz::check_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return };
    let length = u32::from_le_bytes(*length) as usize;
    let Some((metadata, data)) = rest.split_at_checked(length) else { return };
    let data: Arc<dyn ReadAt> = Arc::new(data.to_vec());
    check_file(metadata, |source| {
        let index = DistributedIndex::open(source, PytorchOptions::default())?;
        for name in index.files() {
            let path = std::path::Path::new(name);
            let is_below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(is_below && !name.contains(['\\', ':', '\0']), "{name:?} leaves the folder");
        }
        if index.files().len() > 64 {
            return Err(FormatError::new(Code::TooLarge, Place::File, "more files than a run opens"));
        }
        let files = index.files().iter().map(|_| Arc::clone(&data)).collect();
        DistributedFile::new(&index, files, PytorchOptions::default())
    });
});
