//! Fetches by a network that lies, from servers that misbehave.

#[path = "../lies/mod.rs"]
mod lies;
mod attacks;
mod fetches;
mod scene;
