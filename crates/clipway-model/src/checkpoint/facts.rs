//! What a checkpoint says beside its tensors: who wrote it, training counters, classes of its pickle.

use clipway_formats::{ByteOrder, GlobalKind, PickleKind, PickleValue, shown};
use serde::Serialize;

use super::Checkpoint;
use super::detect::Opened;
use super::fact::FactValue;

/// Longest text that is taken as a fact, in bytes.
const LONGEST_TEXT: usize = 200;

/// Most facts that are taken.
const MOST_FACTS: usize = 100;

/// A class or function that the pickle names; none is ever called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceGlobal {
    /// Module and name, escaped and cut.
    pub name: String,
    /// `known`, `harmless`, `unknown` or `dangerous`.
    pub kind: &'static str,
}

/// Who wrote the files, as far as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// The program, where the file shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// Version of PyTorch's archive format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_version: Option<u32>,
    /// Protocol of the pickle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pickle_protocol: Option<u8>,
    /// Whether the weights are stored with the highest byte first.
    pub big_endian: bool,
    /// Whether the file has checksums of the weights.
    pub has_checksums: bool,
    /// Whether parts are compressed.
    pub compressed: bool,
    /// Text that the file carries, such as the `__metadata__` of safetensors; escaped and cut.
    pub metadata: Vec<(String, String)>,
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

    /// Single values beside the tensors, such as `epoch` and `name`, in the order of the file.
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

    /// Every class and function that the pickles name, each once.
    pub fn globals(&self) -> Vec<SourceGlobal> {
        let mut globals: Vec<SourceGlobal> = Vec::new();
        for part in &self.parts {
            if let Opened::Pytorch(file) = part {
                let all = file.globals().iter();
                globals.extend(all.map(|g| SourceGlobal { name: shown(&g.name), kind: g.kind.name() }));
            }
        }
        globals.sort_by(|a, b| a.name.cmp(&b.name));
        globals.dedup();
        globals
    }

    /// Names of dangerous globals, in full; only a checkpoint opened with `allow_opaque` has any.
    pub fn dangerous_globals(&self) -> Vec<String> {
        let dangerous = GlobalKind::Dangerous.name();
        self.globals()
            .into_iter()
            .filter(|global| global.kind == dangerous)
            .map(|global| global.name)
            .collect()
    }

    /// Keys of the dictionary that a path of keys leads to from the root; `None` where there is none.
    pub(super) fn keys_of(&self, path: &[String]) -> Option<Vec<String>> {
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

    /// The value of the one pickle.
    fn root(&self) -> Option<PickleValue<'_>> {
        match &self.parts[..] {
            [Opened::Pytorch(file)] => Some(file.value()),
            _ => None,
        }
    }
}
