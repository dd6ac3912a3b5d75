//! Exports a checkpoint to a folder and verifies the folder against it.
//!
//! `cargo run --example convert_and_verify -- SOURCE CONFIG.json OUT`

#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, TokenizerParts, WriteOptions};
use clipway_model::output::StepHook;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_run::verify::{FolderVerification, Inputs};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, config, out] = &arguments[..] else {
        return Err("usage: convert_and_verify SOURCE CONFIG.json OUT".into());
    };
    let options = SourceOptions { model: Some(ModelChoice::of(config)), ..SourceOptions::default() };
    let source = Source::resolve(path, &options)?;
    let target = Target::named("open_clip").ok_or("no such target")?;
    let export = Export::prepare(&source, target.spelling)?;
    export.write(
        Path::new(out),
        &WriteOptions {
            formats: vec![target.format],
            max_shard_bytes: None,
            tokenizer: TokenizerParts::default(),
            license: None,
            license_link: None,
            force: false,
            inputs: Vec::new(),
            progress: &(),
            cancel: &AtomicBool::new(false),
            verify: None,
            hook: StepHook::default(),
        },
    )?;
    let checkpoint = Arc::new(Checkpoint::open(path)?);
    let load = LoadOptions::new(Processor::detect()?);
    let inputs = Inputs::built_in();
    let report =
        FolderVerification { inputs: &inputs, load, source: options }.run(Path::new(out), &checkpoint)?;
    println!("{}", report.summary());
    if report.passed { Ok(()) } else { Err(report.explanation().into()) }
}
