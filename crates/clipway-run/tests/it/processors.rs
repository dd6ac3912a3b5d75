//! Image processors in transformers folders against stored transformers pixels, bit for bit.
//!
//! `scripts/compare_transformers_pixels.py --stored` made the files.

use std::path::Path;

use clipway_run::image::{DecodeLimits, PixelRule, Preprocess, decode, to_pixels, transform};
use clipway_testing::processor_goldens::check_processor_goldens;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/processors"))
}

#[test]
fn pixels_are_those_of_transformers() {
    let cases = check_processor_goldens(folder(), &folder().join("images")).unwrap();
    let wrong: Vec<_> = cases.iter().filter(|case| !case.passed()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let compared: usize = cases.iter().map(|case| case.compared).sum();
    let refused: usize = cases.iter().map(|case| case.refused).sum();
    // Nine folders of 16 images under two backends, one of which lacks the box filter; 11 images are not square without
    // a crop.
    assert_eq!((cases.len(), compared, refused), (17, 250, 22));
}

/// An image that does not have the tower's size is an error that states both sizes.
#[test]
fn what_a_processor_leaves_at_another_size_is_refused() {
    use clipway_model::config::{Backend, ImageProcessor, Resample, Resize, ResizeTo};
    let processor = ImageProcessor {
        backend: Backend::Torchvision,
        over_white: true,
        resize: Some(Resize { to: ResizeTo::Shortest(6), resample: Resample::Bicubic }),
        crop: None,
        rescale: None,
        normalize: None,
        pad: None,
    };
    let settings =
        Preprocess { size: (6, 6), rule: PixelRule::Transformers(processor), ..Preprocess::default() };
    let bytes = std::fs::read(folder().join("images/turned.jpg")).unwrap();
    let image = decode(&bytes, &DecodeLimits::default()).unwrap();
    let image = transform(&image, &settings).unwrap();
    let error = to_pixels(&image, &settings, &mut [0.0; 108]).unwrap_err();
    assert_eq!(error.to_string(), "its processor makes it 9 x 6, but the model expects 6 x 6");
    assert_eq!(error.code(), "bad-value");
}

/// 90 x 57 at 48: transformers keeps one column further left than open_clip, and puts transparency on white.
#[test]
fn what_two_rules_cost_is_measured() {
    use clipway_model::config::{Backend, ImageProcessor, Normalize, Resample, Resize, ResizeTo};
    use clipway_run::image::{Image, PixelDifference, Samples};
    let samples = (0..90 * 57).flat_map(|at| [(at % 90 * 2) as u8; 3]).collect();
    let image = Image {
        width: 90,
        height: 57,
        orientation: None,
        transparency: None,
        samples: Samples::Rgb(samples),
    };
    let processor = ImageProcessor {
        backend: Backend::Pillow,
        over_white: true,
        resize: Some(Resize { to: ResizeTo::Shortest(48), resample: Resample::Bicubic }),
        crop: Some([48, 48]),
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize { mean: [0.0; 3], std: [1.0; 3] }),
        pad: None,
    };
    let open_clip = Preprocess { size: (48, 48), mean: [0.0; 3], std: [1.0; 3], ..Preprocess::default() };
    let transformers = Preprocess { rule: PixelRule::Transformers(processor), ..open_clip.clone() };
    let found = PixelDifference::of(&image, [&open_clip, &transformers]).unwrap();
    // An output column spans 1.2 image columns, each brighter by 2 of 255: 2 or 3 after rounding.
    let [one, other] = &found.pixels;
    assert_eq!(one[..47], other[1..48]);
    assert!((found.largest * 255.0).round() == 3.0, "{}", found.largest);
    let same = PixelDifference::of(&image, [&open_clip, &open_clip]).unwrap();
    assert_eq!(same.largest, 0.0);
}
