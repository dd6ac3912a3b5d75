//! Measures how many texts per second CLIP's tokenizer encodes on one thread, next to the tokenizers library.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clipway_run::text::{Clean, Tokenizer, tokenizer_json_for_clip};
use serde::{Deserialize, Serialize};

/// Speed of one tokenizer on one set of texts, in the same format that the peer's script prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenBench {
    /// `clipway`, or the peer with its version.
    pub engine: String,
    /// Texts per second.
    pub per_second: f64,
}

/// Makes distinct captions of a few words; with `scripts`, each ends in a non-Latin script.
pub fn captions(count: usize, scripts: bool) -> Vec<String> {
    let things =
        ["cat", "dog", "red house", "mountain bike", "woman farmer", "Golden Retriever", "old-fashioned car"];
    let places = ["on the street", "in the snow", "at night", "near a lake", "under the Eiffel Tower"];
    let foreign = ["naïve café", "日本語のテキスト", "Привет, мир", "l’été à la plage", "🐱 kedi yüzü"];
    (0..count)
        .map(|place| {
            let thing = things[place % things.len()];
            let scene = places[place / things.len() % places.len()];
            let ending = if scripts { foreign[place % foreign.len()] } else { "" };
            format!("a photo of a {thing} {scene}, number {place} {ending}")
        })
        .collect()
}

/// Measures clipway's tokenizer and the tokenizers library on CLIP's `tokenizer.json`, on the calling thread.
///
/// # Errors
/// If a tokenizer fails.
pub fn measure_tokens(
    texts: &[String],
    least: Duration,
) -> Result<[TokenBench; 2], Box<dyn std::error::Error>> {
    let clip = Tokenizer::clip(77, Clean::Lower)?;
    let library =
        tokenizers::Tokenizer::from_bytes(tokenizer_json_for_clip()).map_err(|error| error.to_string())?;
    let ours = repeat(texts, least, |text| {
        black_box(clip.encode(text)?);
        Ok(())
    })?;
    let theirs = repeat(texts, least, |text| {
        black_box(library.encode_fast(text, true).map_err(|error| error.to_string())?);
        Ok(())
    })?;
    let named = |engine: &str, per_second| TokenBench { engine: engine.to_owned(), per_second };
    Ok([named("clipway", ours), named("tokenizers, the library", theirs)])
}

/// Encodes all texts repeatedly and returns texts per second.
fn repeat(
    texts: &[String],
    least: Duration,
    mut encode: impl FnMut(&str) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<f64, Box<dyn std::error::Error>> {
    texts.iter().try_for_each(|text| encode(text))?;
    let (mut count, start) = (0, Instant::now());
    while count == 0 || start.elapsed() < least {
        texts.iter().try_for_each(|text| encode(text))?;
        count += texts.len();
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
