//! Looks into a file that may be hostile: nothing in it is executed, and a refusal says what is wrong and where.
//!
//! `cargo run --example inspect_hostile -- FILE`

#![allow(clippy::disallowed_methods)]

use std::error::Error;

use clipway_model::checkpoint::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args().nth(1) else { return Err("usage: inspect_hostile FILE".into()) };
    match Checkpoint::open(&path) {
        Err(error) => println!("refused: {error} [{}]", error.code()),
        Ok(checkpoint) => {
            // Names, dtypes and shapes are known without reading a weight.
            for tensor in checkpoint.tensors().tensors() {
                println!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
            }
        }
    }
    Ok(())
}
