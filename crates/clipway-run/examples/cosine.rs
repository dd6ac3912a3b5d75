// Opens a model, embeds an image and a text, and prints their cosine.

use clipway_run::{Clip, cosine};

#[allow(clippy::disallowed_methods)] // Library code opens files in one place; a program may use `std::fs`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clip = Clip::open("out/emoji-clip")?;
    let image = clip.embed_image(&std::fs::read("examples/emoji-clip/pictures/lion.png")?)?;
    let text = clip.embed_text("an emoji of a lion")?;
    println!("{:.4}", cosine(&image, &text));
    Ok(())
}
