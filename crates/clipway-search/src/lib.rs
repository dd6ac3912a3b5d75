//! An index of image features on disk, and exact search in it.
//!
//! An index is a folder: `index.json`, three files of rows (int8 codes with their scales for the scan, f16 for the final
//! ranking) and `items.redb`, which knows the files that the rows come from. One [`Writer`] adds to it while any number
//! of [`Index`] values, each a view as of one commit, search it.
//!
//! ```
//! use clipway_run::engine::Processor;
//! use clipway_run::space::{SPACE_VERSION, Space, SpacePrecision};
//! use clipway_search::{Index, Item, NewIndex, SearchOptions, Writer};
//!
//! # let space = Space {
//! #     version: SPACE_VERSION, fingerprint: String::new(), width: 3, model: None, source: String::new(),
//! #     precision: SpacePrecision::F32, image: None, text: None,
//! # };
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("index");
//! Index::create(&path, NewIndex { space, model: None })?;
//! let mut writer = Writer::open(&path)?;
//! let item = |byte| Item { hash: [byte; 32], ..Item::default() };
//! writer.put("a.jpg".as_ref(), &item(1), Some(&[1.0, 0.0, 0.0]))?;
//! writer.put("b.jpg".as_ref(), &item(2), Some(&[0.0, 1.0, 0.0]))?;
//! writer.commit()?;
//!
//! let index = Index::open(&path)?;
//! let found = index.search(&Processor::with_threads(1)?, &[0.1, 0.9, 0.0], &SearchOptions::default())?;
//! assert_eq!(found[0].hits[0].row, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod error;
mod item;
mod bitmap;
mod manifest;
mod rows;
mod store;
mod in_place;
mod writer;
mod filter;
mod index;
mod best;
mod scan;
mod search;
mod duplicates;
mod check;
mod merge;
mod import;
mod clip_retrieval;

pub use check::{Check, check};
pub use clip_retrieval::{PART_ROWS, Written, write_clip_retrieval};
pub use duplicates::{DuplicateGroup, DuplicateOptions};
pub use error::IndexError;
pub use filter::{Filter, Orientation, PathPattern};
pub use import::import;
pub use index::{Index, Info, NewIndex};
pub use item::{Item, MOST_CAPTION_BYTES, MOST_PATH_BYTES, MOST_REASON_BYTES};
pub use manifest::{MOST_WIDTH, VERSION};
pub use merge::{Merged, merge};
pub use rows::MOST_ROWS;
pub use search::{Hit, MOST_RESULTS, Ranking, SearchOptions};
pub use writer::Writer;
