//! Whole commands: exit status, stdout and stderr, and what is on the disk afterwards.

// Tests and chores read and write files of their own.
#![allow(clippy::disallowed_methods)]

mod bad_input;
mod bad_weights;
mod classify;
mod contradictions;
mod embed;
mod export;
mod identify;
mod inspect;
mod models;
mod readme;
mod scene;
mod shell;
mod snapshot;
mod tensors;
mod threads;
mod trouble;
mod verify;
