//! Runs CLIP models: from images and texts to features, and what builds on features.
//!
//! Pixels and token ids exactly as in open_clip, the engine that turns them into features, verification and zero-shot
//! classification. Nothing here accesses the network or prints.
//!
//! [`Clip::open`] opens a folder or a checkpoint with a config beside it; [`Clip::open_with`] takes options:
//!
//! ```
//! use clipway_model::source::{ModelChoice, SourceOptions};
//! use clipway_run::engine::Processor;
//! use clipway_run::load::LoadOptions;
//! use clipway_run::{Clip, cosine};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/emoji-clip");
//! # let (weights, config) = (format!("{folder}/emoji-clip.pt"), format!("{folder}/emoji-clip.json"));
//! # let read = |name: &str| std::fs::read(format!("{folder}/pictures/{name}"));
//! let options = SourceOptions { model: Some(ModelChoice::of(&config)), ..SourceOptions::default() };
//! let clip = Clip::open_with(&weights, &options, &LoadOptions::new(Processor::detect()?))?;
//! let lion = clip.embed_image(&read("lion.png")?)?;
//! let (a_lion, an_avocado) = (clip.embed_text("lion")?, clip.embed_text("avocado")?);
//! assert!(cosine(&lion, &a_lion) > cosine(&lion, &an_avocado));
//!
//! let scores = clip.classify(&read("avocado.png")?, &["lion", "avocado", "snail"])?;
//! assert_eq!(scores[0].label, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod image;
pub mod text;
pub mod tower;
pub mod engine;
pub mod encoder;
pub mod clip;
pub mod budget;
mod planned_weights;
mod grids;
pub mod load;
pub mod mix;
mod embed;
pub mod verify;
pub mod space;
pub mod activation;
pub mod quantize;
pub mod calibrate;
pub mod onnx;
pub mod zero_shot;
pub mod head;

pub use clip::Clip;
pub use embed::{ClassifyError, DEFAULT_TEMPLATE};
pub use verify::cosine;
