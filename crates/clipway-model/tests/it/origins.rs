//! What the pretrained tags of registered names say about preprocessing.

use clipway_model::config::Interpolation;
use clipway_model::registry::{self, TagPreprocessing};

#[test]
fn tags_are_shared_differ_or_are_none() {
    let shared = |name: &str| matches!(registry::tag_preprocessing(name), TagPreprocessing::Shared { .. });
    let (mut names, mut differing) = (0, Vec::new());
    for name in registry::names() {
        match registry::tag_preprocessing(name) {
            TagPreprocessing::NoTags => {}
            TagPreprocessing::Shared { .. } => names += 1,
            TagPreprocessing::Differs(_) => {
                names += 1;
                differing.push(name);
            }
        }
    }
    // As counted in open_clip 3.3.0.
    assert_eq!((names, differing.len()), (115, 3), "{differing:?}");
    assert!(shared("MobileCLIP-S1") && shared("ViT-B-16-SigLIP"));
    let TagPreprocessing::Shared { tags, preprocess } = registry::tag_preprocessing("MobileCLIP-S1") else {
        panic!("one tag");
    };
    assert_eq!((tags, preprocess.mean), (vec!["datacompdr".to_owned()], Some([0.0; 3])));
    assert_eq!((preprocess.std, preprocess.interpolation), (Some([1.0; 3]), Some(Interpolation::Bilinear)));
}
