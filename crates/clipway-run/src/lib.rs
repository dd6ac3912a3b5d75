//! Runs CLIP models.
//!
//! ```no_run
//! use clipway_run::{Clip, cosine};
//!
//! let clip = Clip::open("folder")?;
//! let image = clip.embed_image(&std::fs::read("cat.png")?)?;
//! let text = clip.embed_text("a photo of a cat")?;
//! println!("{:.4}", cosine(&image, &text));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Pixels and token ids exactly as in open_clip, the engine that turns them into features, and what builds on features:
//! verification and zero-shot classification. Nothing here accesses the network or prints.
//!
//! ```no_run
//! use clipway_run::{clip::Clip, image::decode, verify::cosine};
//!
//! let clip = Clip::open("out/emoji-clip")?;
//! let lion = decode(&std::fs::read("lion.png")?, &Default::default())?;
//! let image = clip.encode_pixels(&clip.pixels("lion.png", &lion)?)?;
//! let (text, _) = clip.encode_texts(&["an emoji of a lion"])?;
//! println!("{:.4}", cosine(&image, &text));
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
pub mod load;
mod embed;
pub mod verify;
pub mod activation;
pub mod onnx;
pub mod zero_shot;

pub use clip::Clip;
pub use embed::{ClassifyError, DEFAULT_TEMPLATE};
pub use verify::cosine;
