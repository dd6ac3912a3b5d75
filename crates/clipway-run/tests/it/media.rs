//! What the tests of HEIC and AVIF files share.

use std::fs;
use std::path::PathBuf;

use clipway_run::image::{DecodeLimits, Image, ImageError, Samples, decode};

use super::draw::Draw;

/// A folder of sample files, each with a PNG of what Pillow reads from it.
pub struct Media {
    pub folder: &'static str,
    /// The end of the files' names.
    pub end: &'static str,
    /// At least so many files there are.
    pub least: usize,
}

impl Media {
    fn folder(&self) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(self.folder)
    }

    /// The names of the samples.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let entries = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            entries.filter_map(|name| name.strip_suffix(self.end).map(str::to_owned)).collect();
        names.sort();
        assert!(names.len() >= self.least, "{names:?}");
        names
    }

    pub fn sample(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder().join(format!("{name}{}", self.end))).unwrap()
    }

    /// Checks every sample against its PNG, and its orientation against the one that its name asks for.
    pub fn check(&self, orientation: impl Fn(&str) -> Option<u8>) {
        for name in self.names() {
            let found = read(&self.sample(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = read(&fs::read(self.folder().join(format!("{name}.png"))).unwrap()).unwrap();
            assert_eq!((found.width, found.height), (expected.width, expected.height), "{name}");
            assert_eq!(found.orientation, orientation(&name), "{name}");
            assert!(found.samples == expected.samples, "{name}: {}", difference(&found, &expected));
        }
    }

    /// Checks that a sample, cut after every `step` bytes, is an error, or the same image if its end is not needed.
    pub fn check_cut(&self, name: &str, step: impl Fn(usize) -> usize) {
        let bytes = self.sample(name);
        let whole = read(&bytes).unwrap();
        for length in (0..bytes.len()).step_by(step(bytes.len())) {
            match read(&bytes[..length]) {
                // What is cut off is a thumbnail, or EXIF data.
                Ok(image) => assert!(image == whole, "{name} cut at {length} is another image"),
                Err(ImageError::Truncated { .. } | ImageError::Corrupt { .. }) => {}
                Err(ImageError::NotAnImage { .. }) if length < 12 => {}
                Err(error) => panic!("{name} cut at {length}: {error}"),
            }
        }
    }

    /// Decodes every sample with bits flipped, in its boxes and anywhere.
    pub fn damage(&self, rounds: usize, limits: &DecodeLimits) {
        let mut draw = Draw(1);
        for name in self.names() {
            let bytes = self.sample(&name);
            // Boxes stand at the start of these files.
            let boxes = bytes.windows(4).position(|kind| kind == b"mdat").unwrap();
            for round in 0..rounds {
                let mut damaged = bytes.clone();
                for _ in 0..1 + round % 3 {
                    let place = draw.below(if round % 2 == 0 { boxes } else { bytes.len() });
                    damaged[place] ^= 1 << draw.below(8);
                }
                let _ = decode(&damaged, limits);
            }
        }
    }
}

pub fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    decode(bytes, &DecodeLimits::default())
}

/// Checks that a file is refused with this code and message.
pub fn check_error(bytes: &[u8], code: &str, expected: &str) {
    let error = read(bytes).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
}

/// Where a box's contents start.
pub fn contents(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|found| found == kind).unwrap() + 4
}

/// Where and how far samples differ.
fn difference(found: &Image, expected: &Image) -> String {
    let values = |samples: &Samples| -> Vec<i32> {
        match samples {
            Samples::Gray(data) | Samples::Rgb(data) | Samples::Rgba(data) => {
                data.iter().map(|&value| value.into()).collect()
            }
            Samples::Gray16(data) => data.iter().map(|&value| value.into()).collect(),
            _ => Vec::new(),
        }
    };
    let (a, b) = (values(&found.samples), values(&expected.samples));
    let differing: Vec<usize> = (0..a.len().min(b.len())).filter(|&at| a[at] != b[at]).collect();
    let worst = differing.iter().map(|&at| (a[at] - b[at]).abs()).max();
    format!(
        "{} and {}; {} of {} differ, by {worst:?}, first at {:?}",
        found.mode(),
        expected.mode(),
        differing.len(),
        b.len(),
        differing.first()
    )
}
