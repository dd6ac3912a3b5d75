//! A small model, images and folders made by tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clipway_index::{FillOptions, Progress, Summary, WalkOptions, fill, walk};
use clipway_model::plan::Towers;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_run::Clip;
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_run::space::{Identity, Probing, Space};
use clipway_search::{Index, Item, NewIndex, Writer};

/// The folder of the emoji model.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/emoji-clip")
}

/// The images of the emoji model.
pub fn pictures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(example().join("pictures")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The image tower of the emoji model, and its space.
pub fn model() -> (Clip, Space) {
    let options = SourceOptions {
        model: Some(ModelChoice::File(example().join("emoji-clip.json"))),
        ..SourceOptions::default()
    };
    let load =
        LoadOptions { towers: Some(Towers::Image), ..LoadOptions::new(Processor::with_threads(2).unwrap()) };
    let source = Source::resolve(example().join("emoji-clip.pt"), &options).unwrap();
    let clip = Clip::load(&source, &load).unwrap();
    let space = Identity::of(&source, &clip, &load).unwrap().space(&clip, Probing::Quick).unwrap();
    (clip, space)
}

/// Different images of 8 by 8 pixels, as BMP files.
pub fn bmp(number: usize) -> Vec<u8> {
    let (width, height) = (8_usize, 8_usize);
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + 3 * 64_u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend((width as u32).to_le_bytes());
    bytes.extend((height as u32).to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    for at in 0..width * height {
        let mixed = (number * 64 + at).wrapping_mul(0x9E37_79B9) >> 7;
        bytes.extend([mixed as u8, (mixed >> 8) as u8, (number % 251) as u8]);
    }
    bytes
}

/// A folder of images with an index beside it.
pub struct Place {
    place: tempfile::TempDir,
    clip: Clip,
}

impl Place {
    pub fn new() -> Place {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("images")).unwrap();
        let (clip, space) = model();
        Index::create(&place.path().join("index"), NewIndex { space, model: None }).unwrap();
        Place { place, clip }
    }

    /// The path of an image.
    pub fn at(&self, name: &str) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("images").join(name)
    }

    /// Writes a file that is old enough to be compared by its time.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        self.touch(name, 1000);
    }

    /// Sets the time of a file, in seconds after an old time.
    pub fn touch(&self, name: &str, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
        let file = std::fs::File::options().append(true).open(self.at(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    pub fn index(&self) -> Index {
        Index::open(&self.place.path().join("index")).unwrap()
    }

    pub fn item(&self, name: &str) -> Option<Item> {
        self.index().item(&self.at(name)).unwrap()
    }

    pub fn fill(&self) -> Summary {
        self.fill_with(&[self.at("")], &WalkOptions::default(), &())
    }

    pub fn fill_with(&self, roots: &[PathBuf], options: &WalkOptions, progress: &dyn Progress) -> Summary {
        let mut writer = Writer::open(&self.place.path().join("index")).unwrap();
        let walked = walk(roots, options);
        let never = AtomicBool::new(false);
        fill(&mut writer, &self.clip, &walked, &FillOptions::default(), progress, &never).unwrap()
    }

    /// Fills, and stops as soon as this many images are done.
    pub fn fill_until(&self, images: u64) -> Summary {
        struct Stop(u64, std::sync::atomic::AtomicU64, AtomicBool);
        impl Progress for Stop {
            fn advance(&self, images: u64) {
                if self.1.fetch_add(images, Ordering::Relaxed) + images >= self.0 {
                    self.2.store(true, Ordering::Relaxed);
                }
            }
        }
        let stop = Stop(images, Default::default(), AtomicBool::new(false));
        let mut writer = Writer::open(&self.place.path().join("index")).unwrap();
        let walked = walk(&[self.at("")], &WalkOptions::default());
        fill(&mut writer, &self.clip, &walked, &FillOptions::default(), &stop, &stop.2).unwrap()
    }

    /// The model's own feature of an image, of length 1.
    pub fn feature(&self, bytes: &[u8]) -> Vec<f32> {
        self.clip.embed_image(bytes).unwrap()
    }
}

/// A tar archive of plain files.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, body) in members {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend_from_slice(body);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
