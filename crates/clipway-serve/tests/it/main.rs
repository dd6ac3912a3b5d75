//! The server, from the outside: real sockets, the demo model.

#![allow(clippy::disallowed_methods)]

mod apis;
mod classify;
mod client;
mod engine;
mod guard;
mod immich;
mod limits;
mod load;
mod scene;
mod search;
mod status;
