//! Kinds of inputs, and their size limits.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::limits;

/// The limit asked for by [`raise_size_limits`], in bytes.
static RAISED: AtomicU64 = AtomicU64::new(0);

/// Lets this process read tokenizer files, images and texts of up to `bytes` bytes, if that is more than their kinds
/// allow. Other kinds keep their limits: no sound file of theirs comes near.
pub fn raise_size_limits(bytes: u64) {
    RAISED.fetch_max(bytes, Ordering::Relaxed);
}

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
    /// The rows of an index of features, read in blocks.
    Rows,
    /// A tar archive of images, read in parts.
    Archive,
}

impl Kind {
    /// Every kind, for tables.
    pub const ALL: [Kind; 11] = [
        Kind::Weights,
        Kind::Written,
        Kind::Index,
        Kind::Config,
        Kind::Tokenizer,
        Kind::Image,
        Kind::Texts,
        Kind::Artifact,
        Kind::Lock,
        Kind::Rows,
        Kind::Archive,
    ];

    /// Whether [`raise_size_limits`] applies to this kind.
    pub const fn is_raisable(self) -> bool {
        matches!(self, Kind::Tokenizer | Kind::Image | Kind::Texts)
    }

    /// Size limit of this kind in this process, in bytes.
    pub fn limit(self) -> u64 {
        if self.is_raisable() {
            self.default_limit().max(RAISED.load(Ordering::Relaxed))
        } else {
            self.default_limit()
        }
    }

    /// Size limit of this kind unless it was raised, in bytes.
    pub const fn default_limit(self) -> u64 {
        match self {
            Kind::Weights | Kind::Written | Kind::Rows | Kind::Archive => 16 << 40,
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
            Kind::Rows => "rows of an index",
            Kind::Archive => "an archive",
        }
    }
}
