//! Opens a model, embeds an image and a text, and prints their cosine: `cosine FOLDER IMAGE TEXT`.

#![allow(clippy::disallowed_methods)]

use clipway_run::{Clip, cosine};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [folder, image, text] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage")?;
    let clip = Clip::open(folder)?;
    let image = clip.embed_image(&std::fs::read(image)?)?;
    println!("{:.4}", cosine(&image, &clip.embed_text(&text)?));
    Ok(())
}
