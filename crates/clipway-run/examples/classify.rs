//! Classifies an image by labels, with a prompt template.
//!
//! `cargo run --example classify -- MODEL IMAGE lion avocado snail`

#![allow(clippy::disallowed_methods)]

use std::error::Error;

use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, decode};
use clipway_run::zero_shot::{Classifier, fill_template};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, image, labels @ ..] = &arguments[..] else {
        return Err("usage: classify MODEL IMAGE LABEL…".into());
    };
    let clip = Clip::open(model)?;
    let prompts =
        labels.iter().map(|label| fill_template("a photo of a {}", label)).collect::<Result<Vec<_>, _>>()?;
    let (texts, _) = clip.encode_texts(&prompts)?;
    let classifier = Classifier::new(&texts, 1, clip.embed_dim(), clip.logit_scale(), clip.logit_bias());

    let decoded = decode(&std::fs::read(image)?, &DecodeLimits::default())?;
    let feature = clip.encode_pixels(&clip.pixels(image, &decoded)?)?;
    for score in classifier.scores(&feature) {
        println!("{:5.1} %  {}", 100.0 * score.probability, labels[score.label]);
    }
    Ok(())
}
