//! Connections: what is refused before a request is understood.

mod accept;
mod guarded;
pub mod head;
mod places;

pub(crate) use accept::{Door, accept};
