//! Runs CLIP models.
//!
//! Pixels and token ids exactly as open_clip makes them, the engine that turns them into features, and what rests on
//! features: verification and zero-shot classification. Nothing here touches the network or prints.

#![forbid(unsafe_code)]

pub mod zero_shot;
pub mod image;
