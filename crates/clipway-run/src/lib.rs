//! Runs CLIP models.
//!
//! Pixels and token ids exactly as open_clip makes them, the engine that turns them into features, and what rests on
//! features: verification and zero-shot classification. Nothing here touches the network or prints.

#![forbid(unsafe_code)]

pub mod image;
pub mod text;
pub mod tower;
pub mod engine;
pub mod encoder;
pub mod clip;
pub mod load;
pub mod verify;
pub mod activation;
pub mod zero_shot;
