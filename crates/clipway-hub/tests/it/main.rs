//! The client against a fake hub.

#[path = "../fake/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod fake;

mod faults;
mod hostile;
mod pull;
mod push;
mod push_faults;
mod scene;
mod tls;
