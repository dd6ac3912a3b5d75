//! What requests ask for, in the shapes of several services. Nothing here knows HTTP or the engine.
//!
//! Bodies go through the strict JSON parser, and an unknown key is an error: a client that asks for something that this
//! server does not do should learn so.

mod classify;
mod cohere;
mod common;
mod image;
mod immich;
mod multipart;
mod openai;
mod search;
mod tei;

pub use classify::{ClassifyRequest, parse_classify};
pub use cohere::{CohereRequest, parse_cohere};
pub use common::{Input, ParseLimits};
pub use immich::{PredictRequest, parse_predict};
pub use openai::{EmbeddingsRequest, Encoding, parse_embeddings};
pub use search::{SearchFor, SearchRequest, SearchTerm, parse_search};
pub use tei::{TeiRequest, parse_tei};
