//! What every request needs: the model, its queue, limits, and the shapes of answers.

mod body;
mod encode;
mod images;
mod id;
mod reply;
mod shelf;
mod state;

pub(crate) use body::{check_announced, read};
pub(crate) use encode::{Features, How, Times, pixel_bytes};
pub(crate) use id::Ids;
pub(crate) use reply::{Reply, Style, inputs};
pub(crate) use shelf::{SHELF_THREADS, Shelf, Work};
pub(crate) use state::{App, Call};
