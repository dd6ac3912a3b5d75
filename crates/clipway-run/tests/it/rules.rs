//! The cost of a library that turns images into pixels by another rule, or reads texts differently, is noted in the
//! artifact.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::PixelRule;
use clipway_model::export::{Export, WriteOptions};
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::clip::Clip;
use clipway_run::engine::Processor;
use clipway_run::load::{LoadOptions, LoadedTokenizer};
use clipway_run::text::{EXAMPLES, Tokenizer, tokenizer_files_for_clip};
use clipway_run::verify::{
    FolderVerification, Inputs, RuleDifference, TextDifference, cosine, resolve_exported,
};

use crate::foreign::Bench;
use crate::made::write_options;

fn load() -> LoadOptions {
    LoadOptions::new(Processor::with_threads(1).unwrap())
}

/// Exports a transformers folder for a library, verified, and returns its notes.
fn notes_of_export(source: &Source, name: &str, place: &Path) -> Vec<String> {
    let target = Target::named(name).unwrap();
    let tokenizer = LoadedTokenizer::find(source, source.folder()).unwrap().unwrap();
    let tokenizer = tokenizer.parts_for(target.spelling.layout, source).unwrap();
    let inputs = Inputs { texts: vec!["a red cat".to_owned(), "two dogs".to_owned()], ..Inputs::built_in() };
    let verify = |folder: &Path| {
        let verification =
            FolderVerification { inputs: &inputs, load: load(), source: SourceOptions::default() };
        let report = verification.run(folder, source.checkpoint()).unwrap();
        assert!(report.passed, "{name}: {}", report.explanation());
        Ok(report)
    };
    let formats = vec![target.format];
    let options = WriteOptions { formats, tokenizer, verify: Some(&verify), ..write_options() };
    let export = Export::prepare(source, target.spelling).unwrap();
    let artifact = export.write(&place.join(name), &options).unwrap().artifact;
    assert_eq!(artifact.verification.unwrap().notes, [""; 0], "{name}");
    artifact.notes
}

#[test]
fn an_export_by_another_rule_says_which_image_differs_most() {
    let bench = Bench::new();
    let folder = bench.write("transformers");
    fs::remove_file(folder.join("clipway.json")).unwrap();
    let checkpoint = Arc::new(Checkpoint::open(&folder).unwrap());
    let source = Source::of(checkpoint, &SourceOptions::default()).unwrap();
    let rule = source.config().preprocess().rule;
    assert!(matches!(rule, PixelRule::Transformers(_)));
    let place = tempfile::tempdir().unwrap();
    let notes = notes_of_export(&source, "open_clip", place.path());
    let notes: Vec<&String> = notes.iter().filter(|note| note.contains("preprocesses")).collect();

    // Computed by hand, one image at a time.
    let inputs = Inputs::built_in();
    let clips = [&PixelRule::OpenClip, &rule]
        .map(|rule| Clip::load(&source, &load()).unwrap().with_pixel_rule(rule.clone()));
    let alone = inputs.images.iter().map(|(name, image)| {
        let features =
            clips.each_ref().map(|clip| clip.encode_pixels(&clip.pixels(name, image).unwrap()).unwrap());
        (cosine(&features[0], &features[1]), name)
    });
    let (smallest, worst) = alone.min_by(|(one, _), (other, _)| one.total_cmp(other)).unwrap();
    assert!(smallest < 1.0 - 1e-6, "{smallest}");
    let found = RuleDifference::of(&clips[1], &inputs, [rule, PixelRule::OpenClip]).unwrap().unwrap();
    assert_eq!((found.images, &found.worst), (6, worst));
    assert!((found.cosine - smallest).abs() < 1e-6 && found.largest > 0.0, "{found:?} {smallest}");
    assert_eq!(notes, [&found.to_string()]);
    assert!(notes[0].contains(&format!("of 6 images, {worst} differs most")), "{notes:?}");

    // With a single rule there is nothing to report.
    let notes = notes_of_export(&source, "transformers", place.path());
    assert!(notes.iter().all(|note| !note.contains("preprocesses")), "{notes:?}");
}

#[test]
fn an_export_that_reads_texts_otherwise_says_which_differs_most() {
    let bench = Bench::new();
    let folder = bench.write("transformers");
    fs::remove_file(folder.join("clipway.json")).unwrap();
    // As a fine-tune's folder: CLIP's own files, which keep quotes and references.
    for file in tokenizer_files_for_clip(77) {
        fs::write(folder.join(file.name), file.bytes).unwrap();
    }
    let source = Source::of(Arc::new(Checkpoint::open(&folder).unwrap()), &SourceOptions::default()).unwrap();
    let place = tempfile::tempdir().unwrap();
    let notes = notes_of_export(&source, "open_clip", place.path());

    let written = resolve_exported(&place.path().join("open_clip")).unwrap();
    let library = LoadedTokenizer::of_library(&written).unwrap().unwrap();
    let clip = Clip::load(&source, &load()).unwrap();
    let inputs = Inputs { texts: vec!["a red cat".to_owned(), "two dogs".to_owned()], ..Inputs::built_in() };
    let found = TextDifference::of(&clip, &inputs, &library).unwrap().unwrap();
    // Computed by hand, one text at a time.
    let features =
        |tokenizer: &Tokenizer, text: &str| clip.encode_tokens(&tokenizer.encode(text).unwrap().ids).unwrap();
    let cosines = EXAMPLES
        .into_iter()
        .map(|text| (cosine(&features(clip.tokenizer().unwrap(), text), &features(&library, text)), text));
    let (smallest, worst) = cosines.min_by(|(one, _), (other, _)| one.total_cmp(other)).unwrap();
    assert!(smallest < 0.999, "{smallest}");
    assert_eq!((found.texts, found.worst.as_str()), (16, worst));
    assert!((found.cosine - smallest).abs() < 1e-6, "{found:?} {smallest}");
    assert!(notes.contains(&found.to_string()), "{notes:?}");

    // The same reading leaves nothing to report.
    let own = clip.tokenizer().unwrap();
    assert_eq!(TextDifference::of(&clip, &inputs, own).unwrap(), None);
}
