//! Kinds of inputs, and their size limits.

use crate::config::limits;

/// What a file is opened as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A weight file. Its readers read parts of it, and limit each part.
    Weights,
    /// A file written by this run, read back.
    Written,
    /// A shard index.
    Index,
    /// A config: `open_clip_config.json`, `config.json`, `preprocessor_config.json`, or one given by `--model`.
    Config,
    /// A tokenizer file.
    Tokenizer,
    /// An image.
    Image,
    /// Labels or texts, one per line.
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

    /// Size limit of this kind, in bytes.
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
            Kind::Written => "a written file",
            Kind::Index => "a shard index",
            Kind::Config => "a config",
            Kind::Tokenizer => "a tokenizer",
            Kind::Image => "an image",
            Kind::Texts => "texts",
            Kind::Artifact => "a `clipway.json`",
            Kind::Lock => "a lock",
        }
    }
}
