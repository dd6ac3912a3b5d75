//! Token ids from text, exactly as in open_clip.
//!
//! A text is cleaned ([`Clean`]: repair of mojibake, HTML references, whitespace, case) and then tokenized, either with
//! CLIP's byte-pair encoding, whose vocabulary is built in, or with a `tokenizer.json`. [`TokenizerRules`] states which
//! and how; an artifact stores it.
//!
//! ```
//! use clipway_run::text::{Clean, Tokenizer};
//!
//! let tokenizer = Tokenizer::clip(77, Clean::Lower)?;
//! let encoded = tokenizer.encode("a photo of a cat")?;
//! assert_eq!(encoded.ids[..7], [49406, 320, 1125, 539, 320, 2368, 49407]);
//! assert!(!encoded.truncated);
//! # Ok::<(), clipway_run::text::TokenizerError>(())
//! ```

mod characters;
mod clean;
mod clip;
mod error;
mod filled;
mod huggingface;
mod folder;
mod rules;
mod tables;
mod target;
mod tokenizer;
mod trim;

pub use clip::{ClipFile, check_clip_vocabulary, tokenizer_files_for_clip, tokenizer_json_for_clip};
pub use clipway_model::config::{HuggingFaceOptions, TokenizerSource};
pub use clipway_model::contract::{Clean, JsonRules, Side, TokenizerKind, TokenizerMode, TokenizerRules};
pub use error::TokenizerError;
pub use folder::{FolderTokenizer, TextReading};
pub use huggingface::{Backend, Reader, TokenizerFiles, check_tokenizer_file, read as read_tokenizer};
pub use target::{EXAMPLES, TextTarget, WrittenTokenizer};
pub use tokenizer::{Encoded, EncodedBatch, Tokenizer};
pub use trim::{Chosen, Renumbering, TrimError};
