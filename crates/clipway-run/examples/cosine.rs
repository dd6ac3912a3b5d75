//! Opens a model, embeds an image and a text, and prints their cosine. It is the README's program.

#![allow(clippy::disallowed_methods)]

use clipway_run::{Clip, cosine};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clip = Clip::open("out/emoji-clip")?;
    let image = clip.embed_image(&std::fs::read("examples/emoji-clip/pictures/lion.png")?)?;
    let text = clip.embed_text("lion")?;
    println!("{:.4}", cosine(&image, &text));
    Ok(())
}

/// Runs the program in `tests/it/readme.rs`.
#[cfg(test)]
pub fn run() {
    main().unwrap();
}
