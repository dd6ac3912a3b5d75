//! Shard indexes; the shards are small files made to fit.
#![no_main]

use std::sync::Arc;

use clipway_formats::{
    Dtype, SafetensorsFile, ShardedFile, ShardedIndex, TensorFile, TensorInfo, sharded_index_json,
    write_safetensors,
};
use clipway_fuzz::{bounded, check_message};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let index = match bounded(input.len(), || ShardedIndex::parse(input)) {
        Ok(index) => index,
        Err(error) => return check_message(&error),
    };
    for name in index.shards() {
        let path = std::path::Path::new(name);
        let is_below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(
            path.is_relative() && is_below && !name.contains(['\\', ':', '\0']),
            "{name:?} leaves the folder"
        );
    }
    let tensors: Vec<(String, String)> =
        index.tensors().map(|(tensor, shard)| (tensor.to_owned(), shard.to_owned())).collect();
    let again = ShardedIndex::parse(sharded_index_json(&tensors, 0).as_bytes());
    assert_eq!(again.as_ref(), Ok(&index), "written and read again");
    let shard = |name: &str| {
        let infos: Vec<TensorInfo> = tensors
            .iter()
            .filter(|(_, shard)| shard == name)
            .map(|(tensor, _)| TensorInfo { name: tensor.clone(), dtype: Dtype::U8, shape: vec![1] })
            .collect();
        let mut bytes = Vec::new();
        write_safetensors(&mut bytes, &infos, &[], |_| Ok([1])).ok()?;
        let file = SafetensorsFile::open(Arc::new(bytes)).expect("our own file");
        Some((name.to_owned(), Arc::new(file) as Arc<dyn TensorFile>))
    };
    let Some(mut shards) = index.shards().iter().map(|name| shard(name)).collect::<Option<Vec<_>>>() else {
        return;
    };
    let file = ShardedFile::new(&index, shards.clone()).expect("shards that are as the index says");
    assert!(file.tensors().iter().map(|info| &info.name).eq(tensors.iter().map(|(name, _)| name)));
    shards.pop();
    assert!(ShardedFile::new(&index, shards).is_err(), "a shard too few");
});
