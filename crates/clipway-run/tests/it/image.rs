//! Images against the shared goldens and the corpus of malformed files.

use std::fs;
use std::path::PathBuf;

use clipway_run::image::{
    DecodeLimits, ImageError, Preprocess, decode, preprocess, preprocess_batch, to_pixels, transform,
};
use clipway_testing::preprocess_goldens::{PreprocessGoldensError, check_preprocess_goldens};
use serde_json::Value;

/// Returns a path in the shared folder, or reports that it is absent.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("CLIPWAY_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: `{}` is not there", path.display());
    None
}

#[test]
fn goldens_are_exact() {
    let Some(folder) = shared("goldens/preprocess") else { return };
    let cases = check_preprocess_goldens(&folder).unwrap();
    let failed: Vec<_> = cases.iter().filter(|case| !case.passed).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), cases.len());
}

#[test]
fn a_folder_without_cases_is_an_error() {
    let folder = std::env::temp_dir().join(format!("clipway-no-cases-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("manifest.json"), r#"{"configs": {}, "cases": []}"#).unwrap();
    let found = check_preprocess_goldens(&folder);
    fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(found, Err(PreprocessGoldensError::Empty { .. })), "{found:?}");
}

/// Writes a folder of one image and one case, and returns the outcome of the case.
fn golden_case(name: &str, case: &str) -> (bool, String) {
    let folder = std::env::temp_dir().join(format!("clipway-{name}-{}", std::process::id()));
    for inner in ["images", "expected"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
        fs::write(folder.join(inner).join("tiny.bmp"), tiny()).unwrap();
    }
    let configs = r#"{"same": {"size": [1, 2], "resize_mode": "squash"}, "odd": {"resize_mode": "shrink"}}"#;
    fs::write(folder.join("manifest.json"), format!(r#"{{"configs": {configs}, "cases": [{case}]}}"#))
        .unwrap();
    let cases = check_preprocess_goldens(&folder);
    fs::remove_dir_all(&folder).unwrap();
    let case = cases.unwrap().remove(0);
    (case.passed, case.reason)
}

#[test]
fn a_golden_case_that_is_not_understood_or_not_met_fails() {
    let files = r#""image": "tiny.bmp", "expected": "tiny.bmp""#;
    let good = format!(r#"{{{files}, "config": "same", "mode": "RGB", "size": [2, 1]}}"#);
    assert_eq!(golden_case("good", &good), (true, String::new()));
    for (name, case, said) in [
        ("key", format!(r#"{{{files}, "config": "same", "turn": true}}"#), "unknown field `turn`"),
        ("config", format!(r#"{{{files}, "config": "odd"}}"#), "`resize_mode`: \"shrink\" is not understood"),
        ("nowhere", format!(r#"{{{files}, "config": "none"}}"#), "not in the manifest"),
        ("size", format!(r#"{{{files}, "config": "same", "size": [3, 1]}}"#), "read as [2, 1] pixels"),
        ("mode", format!(r#"{{{files}, "config": "same", "mode": "L"}}"#), "read in mode RGB, expected L"),
    ] {
        let (passed, reason) = golden_case(name, &case);
        assert!(!passed && reason.contains(said), "{name}: {reason}");
    }
}

#[test]
fn corpus_comes_out_as_stated() {
    let Some(manifest) = shared("corpus/manifest.json") else { return };
    let root = manifest.parent().unwrap().to_path_buf();
    let manifest: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap().iter().filter(|file| file["format"] == "image");
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in files {
        count += 1;
        let path = file["path"].as_str().unwrap();
        let found = decode(&fs::read(root.join(path)).unwrap(), &DecodeLimits::default());
        let size = |key: &str| file[key].as_u64().map(|value| value as usize);
        let right = match &found {
            Ok(image) => {
                file["expectation"] == "load"
                    && size("width") == Some(image.width)
                    && size("height") == Some(image.height)
            }
            Err(_) => file["expectation"] == "reject",
        };
        if !right {
            wrong.push(format!("{path}: {:?}", found.map(|image| image.mode())));
        }
    }
    assert!(count > 0, "the corpus has no image");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A good file cut at every eighth of its length is always an error, never a partial image.
#[test]
fn a_cut_file_is_an_error() {
    let Some(folder) = shared("goldens/preprocess/images") else { return };
    let names = [
        "chelsea_prog.jpg",
        "china_420.jpg",
        "coffee.gif",
        "motorcycle.bmp",
        "horse.tif",
        "astronaut_palette.png",
        "rocket_lossy.webp",
        "rocket_lossless.webp",
    ];
    for name in names {
        let bytes = fs::read(folder.join(name)).unwrap();
        for eighth in 0..8 {
            let found = decode(&bytes[..bytes.len() * eighth / 8], &DecodeLimits::default());
            assert!(found.is_err(), "{name} at {eighth}/8");
        }
        let found = decode(&bytes[..bytes.len() - 3], &DecodeLimits::default());
        let complete = decode(&bytes, &DecodeLimits::default()).unwrap();
        assert!(found.is_err() || found.as_ref() == Ok(&complete), "{name} without its last bytes");
    }
}

fn check_error(name: &str, bytes: &[u8], code: &str, expected: &str) {
    let error = decode(bytes, &DecodeLimits { max_pixels: 1000 }).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code, expected), "{name}");
}

#[test]
fn errors_say_what_is_wrong() {
    check_error("nothing", b"", "unknown-format", "not an image: the file is empty");
    check_error("text", b"hello", "unknown-format", "not an image: it is text");
    check_error("page", b"%PDF-1.7", "unknown-format", "not an image: it is a PDF document");
    check_error(
        "bytes",
        b"\x00\x80\xff",
        "unknown-format",
        "not an image: it begins with the bytes 00 80 ff",
    );
    check_error(
        "JPEG XL",
        b"\xff\x0a",
        "unsupported",
        "JPEG XL is not supported: this format cannot be read",
    );
    #[cfg(not(feature = "avif"))]
    check_error(
        "AVIF",
        b"\0\0\0\x1cftypavif",
        "unsupported",
        "AVIF is not supported: this program was built without the feature `avif`",
    );
    check_error(
        "a large PNG",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x0b\x08\x02\0\0\0",
        "too-large",
        "100 x 11 is 1100 pixels, more than the limit of 1000",
    );
    check_error(
        "a PNG without height",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\0\x08\x02\0\0\0",
        "bad-value",
        "the image is 100 x 0: it has no pixels",
    );
    check_error(
        "a JPEG without data",
        b"\xff\xd8\xff\xe0\0\x04ab",
        "truncated",
        "JPEG file is truncated: the file ends at byte 8 before its end marker",
    );
}

/// A 2 x 1 bitmap: red, then blue.
fn tiny() -> Vec<u8> {
    let mut bytes = b"BM\x3e\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x18\0".to_vec();
    bytes.resize(54, 0);
    bytes.extend([0, 0, 255, 255, 0, 0, 0, 0]);
    bytes
}

#[test]
fn pixels_have_the_bits_of_pytorch() {
    let settings = Preprocess { size: (1, 1), ..Preprocess::default() };
    let image = decode(&tiny(), &DecodeLimits::default()).unwrap();
    let mut image = transform(&image, &settings).unwrap();
    // `Normalize(ToTensor)` of these bytes with open_clip's mean and standard deviation.
    for (bytes, expected) in [
        ([0, 0, 0], [0xbfe5_68dc_u32, 0xbfe0_44b8, 0xbfbd_77d8]),
        ([1, 127, 255], [0xbfe3_8a7f, 0x3e1d_9531, 0x4009_5660]),
    ] {
        image.data = bytes.to_vec();
        let mut out = [0.0; 3];
        to_pixels(&image, &settings, &mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), expected, "{bytes:?}: {out:?}");
    }
}

#[test]
fn a_bad_image_does_not_stop_a_batch() {
    let settings = Preprocess { size: (2, 2), ..Preprocess::default() };
    let limits = DecodeLimits::default();
    let good = tiny();
    let files: Vec<&[u8]> = vec![&good, b"no image", &good];
    let mut out = vec![9.0; 3 * settings.pixel_values()];
    let results =
        preprocess_batch(files.len(), |at| Ok::<_, ImageError>(files[at]), &settings, &limits, &mut out)
            .unwrap();
    let mut alone = vec![0.0; settings.pixel_values()];
    preprocess(&good, &settings, &limits, &mut alone).unwrap();
    let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false]);
    let images: Vec<&[f32]> = out.chunks_exact(settings.pixel_values()).collect();
    assert_eq!(images[0], alone);
    assert!(images[1].iter().all(|&value| value == 0.0));
    assert_eq!(images[2], alone);

    let short = &mut out[1..];
    let read = |at: usize| Ok::<_, ImageError>(files[at]);
    let error = preprocess_batch(files.len(), read, &settings, &limits, short).unwrap_err();
    assert_eq!(error, ImageError::BufferLength { expected: 36, found: 35 });
}
