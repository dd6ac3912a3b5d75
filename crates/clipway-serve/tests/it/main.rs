//! The server, from the outside: real sockets, the demo model.

#![allow(clippy::disallowed_methods)]

#[path = "../../../clipway-fetch/tests/lies/mod.rs"]
mod lies;
mod apis;
mod classify;
mod client;
mod engine;
mod guard;
mod immich;
mod limits;
mod load;
mod remote;
mod scene;
mod search;
mod status;
