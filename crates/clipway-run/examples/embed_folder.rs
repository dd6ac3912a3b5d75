//! Embeds every image of a folder and prints how similar each is to a text.
//!
//! `cargo run --example embed_folder -- MODEL FOLDER "a lion"`

#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::{Path, PathBuf};

use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, decode};
use clipway_run::verify::cosine;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, text] = &arguments[..] else {
        return Err("usage: embed_folder MODEL FOLDER TEXT".into());
    };
    let clip = Clip::open(model)?;
    let (text, _) = clip.encode_texts(&[text])?;
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(Path::new(folder))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.display().to_string();
        // One image that cannot be read does not end the run.
        match decode(&std::fs::read(&path)?, &DecodeLimits::default()) {
            Ok(image) => {
                let feature = clip.encode_pixels(&clip.pixels(&name, &image)?)?;
                println!("{name}: {:.4}", cosine(&feature, &text));
            }
            Err(error) => println!("{name}: {error} [{}]", error.code()),
        }
    }
    Ok(())
}
