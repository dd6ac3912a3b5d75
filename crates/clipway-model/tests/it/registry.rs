//! The whole registry is readable, and can be searched by name.

use clipway_model::architecture;
use clipway_model::config::{Interpolation, ResizeMode};
use clipway_model::plan::Precision;
use clipway_model::registry::{self, ModelSize};

#[test]
fn every_entry_reads() {
    assert_eq!(registry::names().len(), 144);
    let mut tags = 0;
    for name in registry::names() {
        let config = registry::model(name).unwrap();
        assert!(config.embed_dim >= 256, "{name}");
        tags += registry::pretrained(name).count();
    }
    assert_eq!(tags, 196);
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let check = |name: &str, message: &str| {
        assert_eq!(registry::model(name).unwrap_err().to_string(), message);
    };
    check("ViT-B32", "unknown architecture `ViT-B32`; the nearest is `ViT-B-32`");
    check("", "unknown architecture ``");
    check("\u{1b}[2J", "unknown architecture `\\u{1b}[2J`");
    check(
        "naflex_ViT-B-16",
        "unknown architecture `naflex_ViT-B-16`, which open_clip's main branch has and 3.3.0 has not: its config is not built in",
    );
    check(
        "CLAP-HTSAT-tiny",
        "unknown architecture `CLAP-HTSAT-tiny` of open_clip's main branch: it reads sound, which is not supported",
    );
    check(
        "naflexgenlip_b16",
        "unknown architecture `naflexgenlip_b16` of open_clip's main branch: it writes texts, which is not supported",
    );
    assert_eq!(registry::model("ViT-B/32").unwrap().embed_dim, 512);
}

#[test]
fn patterns_find_names() {
    let check =
        |pattern: &str, expected: &[&str]| assert_eq!(registry::search(pattern), expected, "{pattern}");
    check("rn50x4", &["RN50x4", "RN50x4-quickgelu"]);
    check("rn*x64", &["RN50x64"]);
    check(
        "*-B-32",
        &[
            "coca_roberta-ViT-B-32",
            "coca_ViT-B-32",
            "mt5-base-ViT-B-32",
            "roberta-ViT-B-32",
            "ViT-B-32",
            "xlm-roberta-base-ViT-B-32",
        ],
    );
    check("nothing like it", &[]);
    check("...", &[]);
    // By a tag, and by letters and digits alone where that finds nothing.
    check("datacomp_m_*", &["ViT-B-32"]);
    check("VIT/B32-256", &["ViT-B-32-256"]);
}

#[test]
fn tags_are_found_as_open_clip_finds_them() {
    let openai = registry::tag("ViT-B/32", "OpenAI").unwrap();
    assert!(openai.quick_gelu);
    assert_eq!(openai.preprocess.mean, Some([0.48145466, 0.4578275, 0.40821073]));
    let siglip = registry::tag("ViT-B-16-SigLIP", "webli").unwrap();
    assert_eq!(siglip.preprocess.resize_mode, Some(ResizeMode::Squash));
    assert_eq!(siglip.preprocess.interpolation, Some(Interpolation::Bicubic));
    assert_eq!(siglip.hub.as_deref(), Some("timm/ViT-B-16-SigLIP/"));
    let error = registry::tag("ViT-B-32", "laion2b_s34b_b79").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`ViT-B-32` has no pretrained weights `laion2b_s34b_b79`; the nearest is `laion2b_s34b_b79k`"
    );
}

#[test]
fn sizes_are_those_of_the_architectures_that_can_be_built() {
    let mut built = 0;
    for name in registry::names() {
        let size = registry::size(name).unwrap_or_else(|| panic!("{name} has no size"));
        let Ok(model) = architecture::build(&registry::model(name).unwrap()) else { continue };
        assert_eq!(size, ModelSize::of(&model.parameters), "{name}");
        built += 1;
    }
    assert!(built >= 55, "{built}");
    let size = registry::size("RN50").unwrap();
    assert_eq!(size.bytes(Precision::F32) - size.bytes(Precision::F16), 2 * size.floats);
    assert_eq!(registry::size("RN51"), None);
}
