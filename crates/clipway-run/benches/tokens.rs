//! Texts a second of CLIP's tokeniser on one thread, beside the tokenizers library with CLIP's
//! `tokenizer.json`.
//!
//! `cargo bench -p clipway-run --bench tokens`

use std::hint::black_box;
use std::time::{Duration, Instant};

use clipway_run::text::{Clean, Tokenizer, tokenizer_json_for_clip};

/// How long each measurement takes at least.
const LEAST: Duration = Duration::from_secs(1);

/// Makes captions of a few words, no two alike.
fn captions(count: usize, non_ascii: bool) -> Vec<String> {
    let things =
        ["cat", "dog", "red house", "mountain bike", "woman farmer", "Golden Retriever", "old-fashioned car"];
    let places = ["on the street", "in the snow", "at night", "near a lake", "under the Eiffel Tower"];
    let foreign = ["naïve café", "日本語のテキスト", "Привет, мир", "l’été à la plage", "🐱 kedi yüzü"];
    (0..count)
        .map(|place| {
            let thing = things[place % things.len()];
            let scene = places[place / things.len() % places.len()];
            let ending = if non_ascii { foreign[place % foreign.len()] } else { "" };
            format!("a photo of a {thing} {scene}, number {place} {ending}")
        })
        .collect()
}

/// Runs `encode` over all texts again and again and gives texts a second.
fn measure(texts: &[String], mut encode: impl FnMut(&str)) -> f64 {
    let mut count = 0;
    let start = Instant::now();
    while start.elapsed() < LEAST {
        texts.iter().for_each(|text| encode(text));
        count += texts.len();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let start = Instant::now();
    let clip = Tokenizer::clip(77, Clean::Lower).expect("77 is a usable context");
    clip.encode("a photo of a cat").expect("CLIP's encoding does not fail");
    println!("first text after {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let library = tokenizers::Tokenizer::from_bytes(tokenizer_json_for_clip()).expect("the file is sound");
    for (name, non_ascii) in [("English captions", false), ("captions with other scripts", true)] {
        let texts = captions(5000, non_ascii);
        let ours = measure(&texts, |text| {
            black_box(clip.encode(text).expect("CLIP's encoding does not fail"));
        });
        let theirs = measure(&texts, |text| {
            black_box(library.encode_fast(text, true).expect("the text can be encoded"));
        });
        println!(
            "{name}: clipway {ours:.0} texts/s, tokenizers {theirs:.0} texts/s, {:.1} times",
            ours / theirs
        );
    }
}
