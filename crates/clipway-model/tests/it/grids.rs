//! Sources whose images keep their proportions (NaFlex), and what is written of them.

use std::sync::atomic::AtomicBool;

use clipway_model::artifact::Artifact;
use clipway_model::config::{PatchGrids, PixelRule, PreprocessOptions, Resample, ResizeTo};
use clipway_model::contract::Origin;
use clipway_model::export::Export;
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;

use super::bench::write_options;
use super::layouts::write;
use super::layouts_timm::{naflex, siglip};

fn at_most(patches: usize) -> SourceOptions {
    SourceOptions { max_patches: Some(patches), ..SourceOptions::default() }
}

/// Expected values are from timm 1.0.31 and transformers 5.24.
#[test]
fn sizes_are_those_of_timm_and_transformers() {
    let check = |most, height, width, expected: [usize; 2]| {
        assert_eq!(
            PatchGrids { side: 16, most }.size_of(height, width),
            expected,
            "{height}x{width}, {most}"
        );
    };
    check(1024, 273, 799, [304, 848]);
    check(512, 4877, 786, [896, 144]);
    check(2, 1, 66, [16, 32]);
    check(1, 346, 3354, [16, 16]);
    check(256, 28, 2503, [32, 2048]);
    check(1, 134, 176, [16, 16]);
    check(2, 726, 39, [32, 16]);
    check(2, 3854, 992, [32, 16]);
    check(512, 958, 1, [8192, 16]);
    check(1, 260, 3, [16, 16]);
    check(2, 6384, 1, [32, 16]);
    check(2, 5719, 4, [32, 16]);
    // The size of large images depends on where the bisection begins.
    check(2, 6628, 6626, [16, 16]);
    check(1024, 7650, 11181, [416, 624]);
    check(512, 7569, 1310, [832, 144]);
    check(64, 14775, 2216, [320, 48]);
}

#[test]
fn a_source_keeps_proportions_by_its_own_librarys_rule() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = naflex(folder.path());
    let source = Source::resolve(&path, &at_most(6)).unwrap();
    let grids = PatchGrids { side: 4, most: 6 };
    let rule = source.config().preprocess().rule;
    assert_eq!(rule.grids(), Some(grids));
    let PixelRule::Transformers(processor) = &rule else { panic!("{rule}") };
    let resize = processor.resize.unwrap();
    assert_eq!((resize.to, resize.resample), (ResizeTo::Patches(grids), Resample::Bilinear));
    assert_eq!(
        rule.to_string(),
        "transformers (torchvision), own proportions in at most 6 patches of 4 pixels"
    );
    assert_eq!(
        source.contract().image.as_ref().unwrap().rule.from.to_string(),
        "set by the option `max_patches`"
    );
    let note = "images keep their proportions, in at most 6 patches of 4x4 pixels";
    assert!(source.notes().iter().any(|found| found == note), "{:?}", source.notes());
    // Settings of open_clip replace the processor; what keeps proportions is then timm's transform.
    let mean = PreprocessOptions { mean: Some([0.25; 3]), ..PreprocessOptions::default() };
    let said = Source::resolve(&path, &SourceOptions { preprocess: mean, ..at_most(6) }).unwrap();
    assert_eq!(said.config().preprocess().rule, PixelRule::Timm(grids));
    assert_eq!(said.config().preprocess().mean, [0.25; 3]);
}

#[test]
fn a_source_has_as_many_patches_as_its_own_processor() {
    let folder = tempfile::tempdir().unwrap();
    let (path, [_, processor]) = naflex(folder.path());
    let rule_of =
        |options: SourceOptions| Source::resolve(&path, &options).unwrap().config().preprocess().rule;
    // As many as the tower has positions, and another number.
    for most in [4, 9] {
        let text = processor.replace("\"max_num_patches\": 4", &format!("\"max_num_patches\": {most}"));
        std::fs::write(folder.path().join("preprocessor_config.json"), text).unwrap();
        let rule = rule_of(SourceOptions::default());
        assert_eq!(rule.grids(), Some(PatchGrids { side: 4, most }));
        assert!(matches!(rule, PixelRule::Transformers(_)), "{rule}");
        let source = Source::resolve(&path, &SourceOptions::default()).unwrap();
        let from = source.contract().image.as_ref().unwrap().rule.from.to_string();
        assert!(from.contains("preprocessor_config.json"), "{from}");
        assert_eq!(rule_of(at_most(6)).grids(), Some(PatchGrids { side: 4, most: 6 }));
        // One size: that of the positions, or the one that is asked for.
        for (options, size) in [
            (SourceOptions { one_size: true, ..SourceOptions::default() }, [8, 8]),
            (SourceOptions { image_size: Some([8, 12]), ..SourceOptions::default() }, [8, 12]),
        ] {
            let PixelRule::Transformers(processor) = rule_of(options) else { panic!("its processor") };
            assert_eq!(processor.resize.unwrap().to, ResizeTo::Exactly(size));
        }
    }
    // Without a file, nothing states a number.
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    assert_eq!(rule_of(SourceOptions::default()).grids(), None);
}

#[test]
fn only_clipways_own_folder_keeps_proportions() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = naflex(folder.path());
    let source = Source::resolve(&path, &at_most(6)).unwrap();
    for target in ["open_clip", "pytorch", "transformers", "onnx", "onnx-immich"] {
        let error = Export::prepare(&source, Target::named(target).unwrap().spelling).unwrap_err();
        assert_eq!(error.code(), "inexpressible", "{target}");
        let cause = "images keep their proportions, in at most 6 patches: only clipway's own folder says so";
        assert!(error.to_string().contains(cause), "{target}: {error}");
    }
    let out = folder.path().join("out");
    let prepared = Export::prepare(&source, Target::named("clipway").unwrap().spelling).unwrap();
    prepared.write(&out, &write_options(&AtomicBool::new(false))).unwrap();
    let rule = source.config().preprocess().rule;
    assert_eq!(Artifact::find(&out).unwrap().unwrap().contract.image.unwrap().rule.value, rule);
    let again = Source::resolve(&out, &SourceOptions::default()).unwrap();
    let asked = Origin::option("max_patches").in_artifact();
    assert_eq!(again.contract().image.as_ref().unwrap().rule.from, asked);
    let rule_of =
        |options: SourceOptions| Source::resolve(&out, &options).unwrap().config().preprocess().rule;
    assert_eq!(rule_of(SourceOptions::default()), rule);
    // Another number of patches, and one size where that is asked for.
    assert_eq!(rule_of(at_most(9)).grids(), Some(PatchGrids { side: 4, most: 9 }));
    let fixed = SourceOptions { image_size: Some([8, 12]), ..SourceOptions::default() };
    assert_eq!(rule_of(fixed), PixelRule::OpenClip);
    let alone = SourceOptions { ignore_artifact: true, ..SourceOptions::default() };
    assert_eq!(rule_of(alone), PixelRule::OpenClip);
}

#[test]
fn numbers_of_patches_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = naflex(folder.path());
    for patches in [0, 2049, usize::MAX] {
        let error = Source::resolve(&path, &at_most(patches)).unwrap_err();
        assert_eq!(error.code(), "bad-value");
        let expected = format!("expected 1 to 2048 patches of 4 pixels, found {patches}");
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    Source::resolve(&path, &at_most(2048)).unwrap();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("config.json"), super::layouts_timm::CONFIG).unwrap();
    let path = write(other.path(), "model.safetensors", &siglip());
    let error = Source::resolve(&path, &at_most(6)).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("only NaFlex towers"), "{error}");
}
