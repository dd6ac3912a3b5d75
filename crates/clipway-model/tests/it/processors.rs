//! Image processors in transformers folders: which file, class, keys and defaults, and what open_clip cannot express.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use clipway_model::artifact::Artifact;
use clipway_model::config::{
    Backend, ImageProcessor, Interpolation, Normalize, PixelRule, PreprocessConfig, PreprocessOptions,
    Resample, Resize, ResizeMode, ResizeTo,
};
use clipway_model::contract::{Field, ImageContract, Known, Origin};
use clipway_model::export::Export;
use clipway_model::source::{ConfigOrigin, Source, SourceOptions};
use clipway_model::spelling::Target;

use crate::bench::write_options;
use crate::layouts::{CONFIG, transformers, write};

const OPENAI: Normalize =
    Normalize { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };

/// Returns `CLIPImageProcessor` at the image size of the [`CONFIG`] model.
fn clip() -> ImageProcessor {
    ImageProcessor {
        backend: Backend::Torchvision,
        over_white: true,
        resize: Some(Resize { to: ResizeTo::Shortest(8), resample: Resample::Bicubic }),
        crop: Some([8, 8]),
        rescale: Some(1.0 / 255.0),
        normalize: Some(OPENAI),
        pad: None,
    }
}

/// Creates a folder of [`CONFIG`] with processor files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "model.safetensors", &transformers());
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Returns the preprocessing and the notes of a folder.
fn read(folder: &Path) -> Result<(PreprocessConfig, Vec<String>), String> {
    let source = Source::resolve(folder, &SourceOptions::default()).map_err(|error| error.to_string())?;
    let notes = source.notes().iter().filter(|note| note.contains("rocessor")).cloned().collect();
    Ok((source.config().preprocess(), notes))
}

fn rule(files: &[(&str, &str)]) -> ImageProcessor {
    match read(folder(files).path()).unwrap().0.rule {
        PixelRule::Transformers(processor) => processor,
        rule => panic!("{files:?}: {rule}"),
    }
}

const SIZE: &str = r#""size": 8, "crop_size": 8"#;

#[test]
fn keys_are_read_as_transformers_reads_them() {
    let check = |keys: &str, expected: ImageProcessor| {
        let text = format!("{{{keys}}}");
        assert_eq!(rule(&[("preprocessor_config.json", &text)]), expected, "{keys}");
    };
    let with = |keys: &str| format!("{SIZE}, {keys}");
    check(SIZE, clip());
    check(r#""size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}"#, clip());
    for name in ["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"] {
        check(&with(&format!(r#""image_processor_type": "{name}""#)), clip());
    }
    check(&with(r#""feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": null"#), clip());
    let resize = |to, resample| Some(Resize { to, resample });
    // As in transformers, a step set to `null` is skipped.
    for off in ["false", "null"] {
        let bare = ImageProcessor { rescale: None, normalize: None, over_white: false, ..clip() };
        let keys = format!(r#""do_rescale": {off}, "do_normalize": {off}, "do_convert_rgb": {off}"#);
        check(&with(&keys), bare);
        let whole = ImageProcessor { resize: None, ..clip() };
        check(&format!(r#""do_resize": {off}, "crop_size": [8, 8]"#), whole);
        let squash = ImageProcessor {
            crop: None,
            resize: resize(ResizeTo::Exactly([8, 8]), Resample::Bicubic),
            ..clip()
        };
        check(&format!(r#""do_center_crop": {off}, "size": {{"width": 8, "height": 8}}"#), squash);
    }
    let to = |to| ImageProcessor { resize: resize(to, Resample::Bicubic), ..clip() };
    check(r#""size": 10, "default_to_square": true, "crop_size": 8"#, to(ResizeTo::Exactly([10, 10])));
    check(r#""size": [10, 9], "crop_size": 8"#, to(ResizeTo::Exactly([10, 9])));
    check(
        r#""size": {"shortest_edge": 9, "longest_edge": 20}, "crop_size": 8"#,
        to(ResizeTo::ShortestWithin { shortest: 9, longest: 20 }),
    );
    check(r#""size": {"max_width": 9, "max_height": 20}, "crop_size": 8"#, to(ResizeTo::Within([20, 9])));
    for (number, resample) in
        [Resample::Nearest, Resample::Lanczos, Resample::Bilinear].into_iter().enumerate()
    {
        let expected = ImageProcessor { resize: resize(ResizeTo::Shortest(8), resample), ..clip() };
        check(&with(&format!(r#""resample": {number}"#)), expected);
    }
    // torchvision has neither a box nor a Hamming filter.
    let hamming = ImageProcessor {
        backend: Backend::Pillow,
        resize: resize(ResizeTo::Shortest(8), Resample::Hamming),
        ..clip()
    };
    check(&with(r#""resample": 5"#), hamming);
    let normalize = Some(Normalize { mean: [0.5; 3], std: [0.1, 0.2, 0.3] });
    check(
        &with(r#""image_mean": 0.5, "image_std": [0.1, 0.2, 0.3]"#),
        ImageProcessor { normalize, ..clip() },
    );
    check(&with(r#""rescale_factor": 1"#), ImageProcessor { rescale: Some(1.0), ..clip() });
    let padded = ImageProcessor { crop: Some([6, 7]), pad: Some([8, 8]), ..clip() };
    check(r#""size": 8, "crop_size": [6, 7], "do_pad": true, "pad_size": 8"#, padded);
    check(&with(r#""do_pad": true"#), clip());
    // Each class has its own defaults.
    let vit = ImageProcessor {
        over_white: false,
        resize: resize(ResizeTo::Exactly([8, 8]), Resample::Bilinear),
        crop: None,
        normalize: Some(Normalize { mean: [0.5; 3], std: [0.5; 3] }),
        ..clip()
    };
    check(r#""feature_extractor_type": "ViTFeatureExtractor", "size": 8"#, vit);
}

#[test]
fn processor_config_comes_before_preprocessor_config() {
    let stale = format!(r#"{{{SIZE}, "image_mean": [0.1, 0.2, 0.3], "resample": 2}}"#);
    let nested = format!(r#"{{"processor_class": "CLIPProcessor", "image_processor": {{{SIZE}}}}}"#);
    let both = [("processor_config.json", nested.as_str()), ("preprocessor_config.json", stale.as_str())];
    let (config, notes) = read(folder(&both).path()).unwrap();
    assert_eq!(config.rule, PixelRule::Transformers(clip()));
    assert_eq!(
        notes,
        [
            "`processor_config.json` is used, as in transformers 5, instead of `preprocessor_config.json`, which older versions read: `resample`: bicubic, not bilinear; `image_mean`: [0.48145466, 0.4578275, 0.40821073], not \
          [0.1, 0.2, 0.3]"
        ]
    );
    // The same settings in another form are no difference.
    let same = r#"{"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}, "resample": 3}"#;
    let both = [("processor_config.json", nested.as_str()), ("preprocessor_config.json", same)];
    assert_eq!(read(folder(&both).path()).unwrap().1, Vec::<String>::new());
    let both = [("processor_config.json", nested.as_str()), ("preprocessor_config.json", "{")];
    let (_, notes) = read(folder(&both).path()).unwrap();
    assert!(notes[0].starts_with("`preprocessor_config.json` is malformed"), "{notes:?}");
    // Older versions wrote a `processor_config.json` without an image processor.
    let bare = [
        ("processor_config.json", r#"{"processor_class": "CLIPProcessor"}"#),
        ("preprocessor_config.json", same),
    ];
    assert_eq!(rule(&bare), clip());
    let null =
        [("processor_config.json", r#"{"image_processor": null}"#), ("preprocessor_config.json", same)];
    assert_eq!(rule(&null), clip());
}

#[test]
fn without_a_file_the_defaults_of_the_class_are_assumed() {
    let (config, notes) = read(folder(&[]).path()).unwrap();
    assert_eq!(config.rule, PixelRule::Transformers(clip()));
    assert_eq!(
        notes,
        [
            "neither `processor_config.json` nor `preprocessor_config.json` states the preprocessing: the defaults of \
          transformers' `CLIPImageProcessor` are assumed, at the tower's size"
        ]
    );
}

#[test]
fn what_transformers_refuses_is_refused_with_everything_that_is_wrong() {
    let check = |keys: &str, parts: &[&str]| {
        let text = format!("{{{keys}}}");
        let found = read(folder(&[("preprocessor_config.json", &text)]).path()).unwrap_err();
        assert!(parts.iter().all(|part| found.contains(part)), "{keys}: {found}");
    };
    check(
        r#""size": null, "image_mean": null, "crop_size": 8, "rescale_factor": 0, "resample": 7, "color": 1"#,
        &[
            "`$.size`: `null`, but a step needs it",
            "`$.image_mean`: `null`, but a step needs it",
            "rescale_factor`: expected a positive number, found 0e0",
            "resample",
            "color",
        ],
    );
    check(
        r#""size": {"height": 8}, "crop_size": {"shortest_edge": 8}"#,
        &["$.size`: expected", "$.crop_size`: expected"],
    );
    check(r#""size": {"longest_edge": 8}, "crop_size": 8"#, &["$.size`: expected `height` and `width`"]);
    check(
        r#""size": 8, "crop_size": 8, "image_std": [0, 1, 1]"#,
        &["image_std[0]`: expected a positive number"],
    );
    check(
        r#""image_processor_type": "SiglipImageProcessor", "size": [8, 8], "do_center_crop": true"#,
        &["`$.crop_size`: missing, but a step needs it"],
    );
    check(
        r#""image_processor_type": "FlavaImageProcessor""#,
        &["unknown processor `FlavaImageProcessor`; known: `CLIPImageProcessor`, `SiglipImageProcessor`"],
    );
}

#[test]
fn open_clip_s_settings_come_nearest() {
    let keys = r#"{"size": 8, "crop_size": 8, "resample": 2, "rescale_factor": 0.00784313725490196}"#;
    let (config, _) = read(folder(&[("preprocessor_config.json", keys)]).path()).unwrap();
    let half = OPENAI.mean.map(|mean| mean / 2.0);
    assert!(
        config.mean.iter().zip(half).all(|(found, expected)| (found - expected).abs() < 1e-9),
        "{config:?}"
    );
    assert_eq!((config.interpolation, config.resize_mode), (Interpolation::Bilinear, ResizeMode::Shortest));
    assert_eq!(config.open_clip_differences(), []);
    assert_eq!(config.under_open_clip().rule, PixelRule::OpenClip);
}

#[test]
fn what_is_said_by_options_of_open_clip_takes_the_place_of_the_rule() {
    let folder = folder(&[("preprocessor_config.json", r#"{"size": 10, "crop_size": 8}"#)]);
    let open_clip = Target::named("open_clip").unwrap().spelling;
    let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
    let error = Export::prepare(&source, open_clip).unwrap_err();
    assert!(error.to_string().contains("a shortest edge of 10 pixels; open_clip resizes to"), "{error}");
    let preprocess =
        PreprocessOptions { resize_mode: Some(ResizeMode::Shortest), ..PreprocessOptions::default() };
    let options = SourceOptions { preprocess, ..SourceOptions::default() };
    let source = Source::resolve(folder.path(), &options).unwrap();
    assert_eq!(source.config().preprocess(), PreprocessConfig::new([8, 8]));
    Export::prepare(&source, open_clip).unwrap();
}

#[test]
fn an_export_to_transformers_keeps_the_processor() {
    for keys in [
        r#"{"size": 10, "crop_size": 8, "resample": 1, "rescale_factor": 1, "do_convert_rgb": null}"#,
        r#"{"size": {"height": 8, "width": 8}, "do_center_crop": false, "do_rescale": false, "do_normalize": false}"#,
        r#"{"size": {"shortest_edge": 4, "longest_edge": 6}, "crop_size": [6, 7], "do_pad": true, "pad_size": 8}"#,
        r#"{"size": {"max_height": 9, "max_width": 12}, "crop_size": 8, "image_std": [0.5, 0.25, 1]}"#,
        r#"{"do_resize": false, "crop_size": 8, "image_mean": [0, 0.5, 1]}"#,
    ] {
        let folder = folder(&[("preprocessor_config.json", keys)]);
        let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
        let export = Export::prepare(&source, Target::named("transformers").unwrap().spelling).unwrap();
        let target = folder.path().join("out");
        export.write(&target, &write_options(&AtomicBool::new(false))).unwrap();
        let (there, _) = read(&target).unwrap();
        assert_eq!(there, source.config().preprocess(), "{keys}");
        assert_eq!(stored(&target).rule.value, there.rule, "{keys}");
    }
}

/// Returns the image part of the contract in a folder's `clipway.json`.
fn stored(target: &Path) -> ImageContract {
    Artifact::find(target).unwrap().unwrap().contract.image.unwrap()
}

#[test]
fn the_contract_of_an_export_states_the_rule_of_its_own_library() {
    let export = |source: &Source, target: &str, out: &Path| {
        let export = Export::prepare(source, Target::named(target).unwrap().spelling).unwrap();
        export.write(out, &write_options(&AtomicBool::new(false))).unwrap();
        stored(out).rule
    };
    let folder = folder(&[("preprocessor_config.json", &format!(r#"{{{SIZE}}}"#))]);
    let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
    let own = Known::new(
        PixelRule::Transformers(clip()),
        Origin::Layout { why: "the default of transformers' `CLIPImageProcessor`".to_owned() },
    );
    assert_eq!(source.contract().image.as_ref().unwrap().rule, own);
    let [there, back] = ["there", "back"].map(|name| folder.path().join(name));
    let found = export(&source, "open_clip", &there);
    assert_eq!(found.value, PixelRule::OpenClip);
    assert!(found.from.to_string().contains("transformers (torchvision)"), "{}", found.from);
    let source = Source::resolve(&there, &SourceOptions::default()).unwrap();
    assert_eq!(
        source.contract().image.as_ref().unwrap().rule,
        Known::new(found.value, found.from.in_artifact())
    );
    // What is written for transformers is read by its processor, and `clipway.json` agrees with the files.
    let found = export(&source, "transformers", &back);
    let alone = SourceOptions { ignore_artifact: true, ..SourceOptions::default() };
    let read = Source::resolve(&back, &alone).unwrap().config().preprocess();
    assert_eq!(found.value, read.rule);
    assert_eq!(found.value, PixelRule::Transformers(clip()));
}

#[test]
fn the_contract_says_which_file_and_key_of_transformers_states_a_field() {
    let keys = format!(r#"{{{SIZE}, "image_mean": [0.1, 0.2, 0.3]}}"#);
    let folder = folder(&[("preprocessor_config.json", &keys)]);
    let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
    let rows = source.whole_contract().unwrap().rows();
    let check = |field: Field, expected: &str| {
        let row = rows.iter().find(|row| row.field == field.name()).unwrap_or_else(|| panic!("{field:?}"));
        assert_eq!(row.from, expected, "{field:?}");
    };
    check(Field::Mean, "`preprocessor_config.json`, `image_mean`");
    check(Field::Std, "the default of transformers' `CLIPImageProcessor`");
    check(Field::ImageSize, "`config.json`, `vision_config.image_size`");
    check(Field::Pooling, "`config.json`, `text_config.eos_token_id`");
    check(Field::TextEpsilon, "transformers' default: `config.json` leaves `text_config.layer_norm_eps` out");
}

#[test]
fn each_setting_says_where_it_is_known_from() {
    let check = |files: &[(&str, &str)], expected: [&str; 4]| {
        let folder = folder(files);
        let source = Source::resolve(folder.path(), &SourceOptions::default()).unwrap();
        let ConfigOrigin::Layout(origin) = source.origin() else { panic!("{:?}", source.origin()) };
        let fields = [Field::Mean, Field::Std, Field::Interpolation, Field::ResizeMode];
        let found = fields.map(|field| origin.origins.get(field).unwrap().to_string());
        assert_eq!(found, expected, "{files:?}");
        let rule = origin.origins.get(Field::PixelRule).unwrap().to_string();
        let is_named = files.iter().any(|(_, text)| text.contains("image_processor_type"));
        assert_eq!(rule.ends_with("`image_processor_type`"), is_named, "{rule}");
    };
    let class = "the default of transformers' `CLIPImageProcessor`";
    let keys = format!(r#"{{{SIZE}, "image_mean": [0.1, 0.2, 0.3]}}"#);
    check(
        &[("preprocessor_config.json", &keys)],
        ["`preprocessor_config.json`, `image_mean`", class, class, "`preprocessor_config.json`, `size`"],
    );
    let nested = format!(r#"{{"image_processor": {{{SIZE}, "image_std": 0.5, "resample": 2}}}}"#);
    check(
        &[("processor_config.json", &nested)],
        [
            class,
            "`processor_config.json`, `image_processor.image_std`",
            "`processor_config.json`, `image_processor.resample`",
            "`processor_config.json`, `image_processor.size`",
        ],
    );
    check(&[], ["assumed: the default of transformers' `CLIPImageProcessor`; no file states it"; 4]);
}
