//! Image processors of transformers' folders against stored pixels of transformers, bit for bit.
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
    // Nine folders of 16 images under two backends, one of which has no box; 11 images are not square without a crop.
    assert_eq!((cases.len(), compared, refused), (17, 250, 22));
}

/// An image of another size than the tower's is an error that says both.
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
    let picture = decode(&bytes, &DecodeLimits::default()).unwrap();
    let image = transform(&picture, &settings).unwrap();
    let error = to_pixels(&image, &settings, &mut [0.0; 108]).unwrap_err();
    assert_eq!(error.to_string(), "its processor makes it 9 x 6, and the model takes 6 x 6 only");
    assert_eq!(error.code(), "bad-value");
}
