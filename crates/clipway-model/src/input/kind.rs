//! Kinds of inputs, and the largest file of each.

use crate::config::limits;

/// What a file is opened as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file of weights. Its readers read parts of it, and bound each part.
    Weights,
    /// A file that this run wrote, read back.
    Written,
    /// An index of shards.
    Index,
    /// A config: `open_clip_config.json`, `config.json`, `preprocessor_config.json`, or one given by `--model`.
    Config,
    /// A file of a tokenizer.
    Tokenizer,
    /// An image.
    Image,
    /// Labels or texts, one on each line.
    Texts,
    /// The `clipway.json` of an artifact.
    Artifact,
    /// A lock beside an output.
    Lock,
}

impl Kind {
    /// Every kind, for tables.
    pub const ALL: [Kind; 9] = [
        Kind::Weights,
        Kind::Written,
        Kind::Index,
        Kind::Config,
        Kind::Tokenizer,
        Kind::Image,
        Kind::Texts,
        Kind::Artifact,
        Kind::Lock,
    ];

    /// Most bytes of a file of this kind.
    pub const fn limit(self) -> u64 {
        match self {
            Kind::Weights | Kind::Written => 16 << 40,
            Kind::Index | Kind::Texts | Kind::Artifact => 64 << 20,
            Kind::Config => limits::FILE_BYTES,
            Kind::Tokenizer => 256 << 20,
            Kind::Image => 512 << 20,
            Kind::Lock => 1 << 10,
        }
    }

    /// Name in messages, as in "a file of texts".
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Weights => "weights",
            Kind::Written => "what was written",
            Kind::Index => "an index of shards",
            Kind::Config => "a config",
            Kind::Tokenizer => "a tokenizer",
            Kind::Image => "an image",
            Kind::Texts => "texts",
            Kind::Artifact => "a `clipway.json`",
            Kind::Lock => "a lock",
        }
    }
}
