//! Tests of the public interface, in one binary.

mod architecture;
mod config;
mod identify;
mod registry;
