//! Token ids from text, as open_clip makes them.
//!
//! A text is cleaned ([`Clean`]: repair of mis-decoded text, HTML references, white space, case) and then
//! cut into tokens, either by CLIP's byte-pair encoding, whose vocabulary is built in, or by the rules of a
//! `tokenizer.json`. [`TokenizerRules`] says which and how; it is what an artifact stores.
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

pub use clip::{ClipFile, check_clip_vocabulary, tokenizer_files_for_clip, tokenizer_json_for_clip};
pub use clipway_model::config::{HuggingFaceOptions, TokenizerSource};
pub use clipway_model::contract::{Clean, JsonRules, Side, TokenizerKind, TokenizerMode, TokenizerRules};
pub use error::TokenizerError;
pub use folder::{FolderTokenizer, TextReading};
pub use huggingface::{
    Backend, Reader, TokenizerFiles, check_tokenizer_file, check_tokenizer_json, read as read_tokenizer,
};
pub use target::{TextTarget, WrittenTokenizer};
pub use tokenizer::{Encoded, EncodedBatch, Tokenizer};
