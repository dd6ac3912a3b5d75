//! `embed_by_open_clip_inference FOLDER < INPUTS`: reads `{"images": [PATH…], "texts": [TEXT…]}` and prints the features
//! of both, as the crate open_clip_inference gives them.

use open_clip_inference::{TextEmbedder, VisionEmbedder};
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("expected a folder")?);
    let inputs: Value = serde_json::from_reader(std::io::stdin())?;
    let images: Vec<String> = serde_json::from_value(inputs["images"].clone())?;
    let texts: Vec<String> = serde_json::from_value(inputs["texts"].clone())?;
    let images = images.iter().map(image::open).collect::<Result<Vec<_>, _>>()?;
    let images = VisionEmbedder::from_local_dir(&folder).build()?.embed_images(&images)?;
    let texts = TextEmbedder::from_local_dir(&folder).build()?.embed_texts(&texts)?;
    let rows = |features: &[f32], count: usize| -> Vec<Vec<f32>> {
        features.chunks(features.len() / count).map(<[f32]>::to_vec).collect()
    };
    let (some_images, some_texts) = (images.nrows(), texts.nrows());
    let flat = |found: Option<&[f32]>| found.map(<[f32]>::to_vec).ok_or("rows that are not one after another");
    let images = rows(&flat(images.as_slice())?, some_images);
    let texts = rows(&flat(texts.as_slice())?, some_texts);
    println!("{}", json!({ "images": images, "texts": texts }));
    Ok(())
}
