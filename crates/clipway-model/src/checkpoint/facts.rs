//! What a checkpoint records besides its tensors: its writer, training counters, classes in its pickle.

use clipway_formats::{ByteOrder, Global, GlobalKind, PickleKind, PickleValue, shown};
use serde::Serialize;

use super::Checkpoint;
use super::detect::Opened;
use super::fact::FactValue;

/// Maximum length of a text fact, in bytes.
const LONGEST_TEXT: usize = 200;

/// Maximum number of facts.
const MOST_FACTS: usize = 100;

/// A class or function that the pickle names; none is ever called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceGlobal {
    /// Module and name, escaped and shortened.
    pub name: String,
    /// `known`, `harmless`, `unknown` or `dangerous`.
    pub kind: &'static str,
}

/// Who wrote the files, as far as they record it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// The program, if the file shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// Version of PyTorch's archive format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_version: Option<u32>,
    /// Protocol of the pickle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pickle_protocol: Option<u8>,
    /// Whether the weights are stored in big-endian byte order.
    pub big_endian: bool,
    /// Whether the file has checksums of the weights.
    pub has_checksums: bool,
    /// Whether any parts are compressed.
    pub compressed: bool,
    /// Text in the file, such as the `__metadata__` of safetensors; escaped and shortened.
    pub metadata: Vec<(String, String)>,
}

impl SourceGlobal {
    fn of(global: &Global) -> SourceGlobal {
        SourceGlobal { name: shown(&global.name), kind: global.kind.name() }
    }
}

impl Checkpoint {
    /// Who wrote the files.
    pub fn writer(&self) -> Writer {
        let metadata: Vec<(String, String)> =
            self.tensors().metadata().iter().map(|(key, value)| (shown(key), shown(value))).collect();
        let Some(Opened::Pytorch(file)) = self.parts.first() else {
            let format = metadata.iter().find(|(key, _)| key == "format").map(|(_, value)| value.as_str());
            let producer = (format == Some("pt")).then(|| "safetensors for PyTorch".to_owned());
            return Writer { producer, metadata, ..Writer::default() };
        };
        let facts = file.writer();
        Writer {
            producer: facts.producer.map(str::to_owned),
            archive_version: facts.version,
            pickle_protocol: Some(facts.protocol),
            big_endian: facts.byte_order == ByteOrder::Big,
            has_checksums: facts.has_checksums,
            compressed: facts.compressed,
            metadata,
        }
    }

    /// Single values beside the tensors, such as `epoch` and `name`, in file order.
    pub fn facts(&self) -> Vec<(String, FactValue)> {
        let Some(root) = self.root() else { return Vec::new() };
        let fact = |(key, value): (PickleValue<'_>, PickleValue<'_>)| {
            let value = match value.kind() {
                PickleKind::Bool(value) => FactValue::Bool(value),
                PickleKind::Int(value) => FactValue::Integer(value),
                PickleKind::Float(value) => FactValue::Number(value),
                PickleKind::Str(text) if text.len() <= LONGEST_TEXT => FactValue::Text(shown(text)),
                _ => return None,
            };
            Some((shown(key.as_str()?), value))
        };
        root.entries().filter_map(fact).take(MOST_FACTS).collect()
    }

    /// Every class and function named by the pickles, without repeats.
    pub fn globals(&self) -> Vec<SourceGlobal> {
        let mut globals: Vec<SourceGlobal> = Vec::new();
        for part in &self.parts {
            if let Opened::Pytorch(file) = part {
                globals.extend(file.globals().iter().map(SourceGlobal::of));
            }
        }
        globals.extend(self.distributed.iter().flat_map(|index| index.globals()).map(SourceGlobal::of));
        globals.sort_by(|a, b| a.name.cmp(&b.name));
        globals.dedup();
        globals
    }

    /// Full names of dangerous globals. Only a checkpoint opened with `allow_opaque` has any.
    pub fn dangerous_globals(&self) -> Vec<String> {
        let dangerous = GlobalKind::Dangerous.name();
        self.globals()
            .into_iter()
            .filter(|global| global.kind == dangerous)
            .map(|global| global.name)
            .collect()
    }

    /// Keys of the dictionary at a path of keys from the root; `None` if there is none.
    pub(super) fn keys_of(&self, path: &[String]) -> Option<Vec<String>> {
        if let Some(index) = &self.distributed {
            return index.keys(path);
        }
        let mut value = self.root()?;
        for key in path {
            value = value.get(key)?;
        }
        let is_level = matches!(value.kind(), PickleKind::Dict | PickleKind::Opaque(_));
        let key = |key: PickleValue<'_>| match key.kind() {
            PickleKind::Str(text) => Some(text.to_owned()),
            PickleKind::Int(number) => Some(number.to_string()),
            _ => None,
        };
        is_level.then(|| value.entries().filter_map(|(name, _)| key(name)).collect())
    }

    /// The value of the only pickle.
    fn root(&self) -> Option<PickleValue<'_>> {
        match &self.parts[..] {
            [Opened::Pytorch(file)] => Some(file.value()),
            _ => None,
        }
    }
}
