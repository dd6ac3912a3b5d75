//! Tensors spread over several files, and the index that says where each one is (`*.index.json`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Code, FormatError, Place, shown};
use crate::json::{Json, JsonCursor, JsonLimits, push_json_string};
use crate::path::escape;
use crate::tensor::{FileFormat, TensorFile, TensorInfo};

/// Limits of an index: about a quarter of a million tensors.
const INDEX_LIMITS: JsonLimits =
    JsonLimits { bytes: 64 << 20, depth: 8, values: (1 << 18) + 64, byte_order_mark: false };

/// The contents of an index file: the shards, and the shard of each tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedIndex {
    shards: Vec<String>,
    /// Each tensor with the index of its shard in `shards`.
    tensors: Vec<(String, usize)>,
}

impl ShardedIndex {
    /// Parses the bytes of an index.
    ///
    /// # Errors
    /// `Code::PathEscape` if the name of a shard is not a plain relative path below the index's own folder; the errors
    /// of [`Json::parse`]; `Code::BadValue`, `Code::Missing` and `Code::UnknownKey` for JSON that is not an index;
    /// `Code::Missing` if it names no tensors.
    pub fn parse(bytes: &[u8]) -> Result<ShardedIndex, FormatError> {
        let json = Json::parse(bytes, INDEX_LIMITS)?;
        let root = json.root();
        root.only_keys(&["metadata", "weight_map"])?;
        if let Some(metadata) = root.get("metadata")? {
            metadata.get("total_size")?;
        }
        let map = root.require("weight_map")?;
        let mut index = ShardedIndex { shards: Vec::new(), tensors: Vec::new() };
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (tensor, shard) in map.members()? {
            let name = shard.string()?;
            let place = match places.get(name) {
                Some(&place) => place,
                None => {
                    check_shard_name(name, &shard)?;
                    index.shards.push(name.to_owned());
                    places.insert(name, index.shards.len() - 1);
                    index.shards.len() - 1
                }
            };
            index.tensors.push((tensor.to_owned(), place));
        }
        if index.tensors.is_empty() {
            return Err(map.error(Code::Missing, "the index names no tensors"));
        }
        Ok(index)
    }

    /// Names of the shards, relative to the folder of the index, in order of first occurrence.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Each tensor and the name of its shard, in the order of the index.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.tensors.iter().map(|(tensor, place)| (tensor.as_str(), self.shards[*place].as_str()))
    }
}

fn check_shard_name(name: &str, at: &JsonCursor<'_>) -> Result<(), FormatError> {
    if let Some(cause) = escape(name) {
        return Err(at.error(Code::PathEscape, cause));
    }
    if name.ends_with(".index.json") {
        let cause = format!("`{}` is an index and cannot be a shard", shown(name));
        return Err(at.error(Code::Malformed, cause));
    }
    Ok(())
}

/// The text of an index file for tensors and their shards, in the given order.
pub fn sharded_index_json(tensors: &[(String, String)], total_bytes: u64) -> String {
    let mut out =
        format!("{{\n  \"metadata\": {{\n    \"total_size\": {total_bytes}\n  }},\n  \"weight_map\": {{");
    for (count, (tensor, shard)) in tensors.iter().enumerate() {
        out.push_str(if count == 0 { "\n    " } else { ",\n    " });
        push_json_string(&mut out, tensor);
        out.push_str(": ");
        push_json_string(&mut out, shard);
    }
    out.push_str("\n  }\n}\n");
    out
}

/// The tensors of all shards of an index as one file, in the order of the index.
pub struct ShardedFile {
    shards: Vec<(String, Arc<dyn TensorFile>)>,
    tensors: Vec<TensorInfo>,
    /// For each tensor, its shard and its index there.
    places: Vec<(usize, usize)>,
    metadata: Vec<(String, String)>,
}

impl ShardedFile {
    /// Joins open shards, each with its name in the index, after checking that index and shards agree: every tensor is
    /// in its shard, and no shard has others.
    ///
    /// # Errors
    /// `Code::Missing` for a missing shard or tensor, `Code::Duplicate` for a tensor in two shards, `Code::Malformed`
    /// for a tensor that is in another shard than the index says or that it does not name, and for shards of several
    /// formats.
    pub fn new(
        index: &ShardedIndex,
        shards: Vec<(String, Arc<dyn TensorFile>)>,
    ) -> Result<ShardedFile, FormatError> {
        let mut file = ShardedFile { shards, tensors: Vec::new(), places: Vec::new(), metadata: Vec::new() };
        file.check_shards(index)?;
        let mut found = file.tensors_of_shards(index)?;
        for (name, shard) in index.tensors() {
            let Some(place) = found.remove(name) else {
                let cause = format!("the index says it is in `{}`, but it is not", shown(shard));
                return Err(FormatError::new(Code::Missing, Place::Tensor(name.to_owned()), cause));
            };
            file.tensors.push(file.shards[place.0].1.tensors()[place.1].clone());
            file.places.push(place);
        }
        file.metadata = file.common_metadata();
        Ok(file)
    }

    /// Checks that the shards contain what the index lists, once each, and have the same format.
    fn check_shards(&self, index: &ShardedIndex) -> Result<(), FormatError> {
        let refuse = |code, name: &str, cause: &str| {
            Err(FormatError::new(code, Place::File, format!("shard `{}`: {cause}", shown(name))))
        };
        for name in index.shards() {
            match self.shards.iter().filter(|(shard, _)| shard == name).count() {
                0 => return refuse(Code::Missing, name, "named by the index, but not given"),
                1 => {}
                _ => return refuse(Code::Duplicate, name, "given twice"),
            }
        }
        for (name, shard) in &self.shards {
            if !index.shards().contains(name) {
                return refuse(Code::Malformed, name, "not named by the index");
            }
            let (format, first) = (shard.format(), self.shards[0].1.format());
            if format != first {
                let cause = format!("is {}, but the first shard is {}", format.name(), first.name());
                return refuse(Code::Malformed, name, &cause);
            }
        }
        Ok(())
    }

    /// Location of each tensor, after checking that it is where the index says.
    fn tensors_of_shards(
        &self,
        index: &ShardedIndex,
    ) -> Result<HashMap<String, (usize, usize)>, FormatError> {
        let expected: HashMap<&str, &str> = index.tensors().collect();
        let mut found = HashMap::new();
        for (shard_place, (shard, file)) in self.shards.iter().enumerate() {
            for (place, info) in file.tensors().iter().enumerate() {
                let refuse = |code, cause: String| {
                    let cause = format!("in shard `{}`, {cause}", shown(shard));
                    Err(FormatError::new(code, Place::Tensor(info.name.clone()), cause))
                };
                match expected.get(info.name.as_str()) {
                    None => return refuse(Code::Malformed, "but the index does not name it".to_owned()),
                    Some(named) if named != shard => {
                        let named_too = self.holds(named, &info.name);
                        let named = shown(named);
                        return match named_too {
                            true => {
                                refuse(Code::Duplicate, format!("and also in `{named}`, as the index says"))
                            }
                            false => {
                                refuse(Code::Malformed, format!("but the index says it is in `{named}`"))
                            }
                        };
                    }
                    Some(_) => {}
                }
                if found.insert(info.name.clone(), (shard_place, place)).is_some() {
                    return refuse(Code::Duplicate, "where it is a duplicate".to_owned());
                }
            }
        }
        Ok(found)
    }

    /// Whether a shard contains a tensor.
    fn holds(&self, shard: &str, tensor: &str) -> bool {
        let shards = self.shards.iter().filter(|(name, _)| name == shard);
        shards.flat_map(|(_, file)| file.tensors()).any(|info| info.name == tensor)
    }

    /// The text that every shard carries.
    fn common_metadata(&self) -> Vec<(String, String)> {
        let Some(((_, first), others)) = self.shards.split_first() else { return Vec::new() };
        let in_all = |pair: &&(String, String)| others.iter().all(|(_, file)| file.metadata().contains(pair));
        first.metadata().iter().filter(in_all).cloned().collect()
    }
}

impl TensorFile for ShardedFile {
    fn format(&self) -> FileFormat {
        // An index names at least one tensor, so there is a first shard.
        self.shards[0].1.format()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let (shard, place) = self.places[index];
        let (name, file) = &self.shards[shard];
        file.read(place, out).map_err(|error| error.in_shard(name))
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let (shard, place) = self.places[index];
        let (name, file) = &self.shards[shard];
        file.read_chunks(place, sink).map_err(|error| error.in_shard(name))
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }
}
