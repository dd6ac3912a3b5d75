//! Indexing that is killed, and that runs out of disk: the index opens as of a commit, and the next run goes on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clipway_search::Index;
use serde_json::Value;

use super::bench::remove;
use super::disk::Disk;
use super::kills::kill_after;
use crate::demo::root;
use crate::made::shown;
use crate::random::Random;

/// Images to index: different ones, each once.
const IMAGES: usize = 2000;

/// Seconds between commits, so that a kill often follows one.
const COMMIT_EVERY: &str = "0.1";

/// Width and height of an image.
const SIDE: usize = 8;

/// Images, a model, and an index of them.
pub struct Indexing {
    binary: PathBuf,
    folder: PathBuf,
    /// How long an index of all images took.
    length: Duration,
}

impl Indexing {
    /// Creates the images and the model, and indexes everything once.
    pub fn new(binary: &Path, folder: &Path) -> Result<Indexing, String> {
        remove(folder)?;
        let images = folder.join("images");
        fs::create_dir_all(&images).map_err(|error| shown(&images, error))?;
        for number in 0..IMAGES {
            let path = images.join(format!("{number:05}.bmp"));
            fs::write(&path, image(number)).map_err(|error| shown(&path, error))?;
        }
        let example = root().join("examples/emoji-clip");
        let mut export = Command::new(binary);
        export.arg("export").arg(example.join("emoji-clip.pt"));
        export.arg("--model").arg(example.join("emoji-clip.json"));
        export.arg("--out").arg(folder.join("model")).args(["--quiet", "--no-verify"]);
        let output = export.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut indexing =
            Indexing { binary: binary.to_owned(), folder: folder.to_owned(), length: Duration::ZERO };
        let clock = Instant::now();
        let path = indexing.path();
        indexing.finish(&path, 0)?;
        indexing.length = clock.elapsed();
        Ok(indexing)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("index")
    }

    fn spawn(&self, index: &Path) -> Result<Child, String> {
        let mut command = Command::new(&self.binary);
        command.arg("index").arg(self.folder.join("images"));
        command.arg("--model").arg(self.folder.join("model")).arg("--index").arg(index);
        command.args(["--json", "--quiet", "--commit-every", COMMIT_EVERY]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| error.to_string())
    }

    /// Indexes to the end, and checks that nothing was embedded that the index had.
    fn finish(&self, index: &Path, before: u64) -> Result<(), String> {
        let output = self.spawn(index)?.wait_with_output().map_err(|error| error.to_string())?;
        let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
            format!("{error} after {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
        })?;
        let embedded = report["embedded"].as_u64();
        if embedded != Some(IMAGES as u64 - before) || !output.status.success() {
            return Err(format!("{before} images were there, and {embedded:?} of {IMAGES} were embedded"));
        }
        match count(index)? {
            Some(items) if items == IMAGES as u64 => Ok(()),
            items => Err(format!("{items:?} of {IMAGES} images are in the index at its end")),
        }
    }

    /// Kills this many runs, each at a different moment.
    pub fn kills(&self, moments: usize, seed: u64) -> Result<String, String> {
        let mut random = Random::new(seed);
        let index = self.path();
        let (mut killed, mut ended, mut finished, mut largest_step) = (0, 0, 0, 0);
        let mut before = 0;
        remove(&index)?;
        while killed < moments {
            let delay = self.length.mul_f64(0.8 * random.unit());
            let is_done = kill_after(self.spawn(&index)?, delay)?.is_some();
            killed += usize::from(!is_done);
            ended += usize::from(is_done);
            let context = |why: String| format!("kill {killed} after {:.3} s: {why}", delay.as_secs_f64());
            let items = count(&index).map_err(context)?.unwrap_or(0);
            if items < before {
                return Err(context(format!("{items} images are in the index, and {before} were before")));
            }
            largest_step = largest_step.max(items - before);
            before = items;
            // Every so often to the end, and from the beginning.
            if items == IMAGES as u64 || random.below(8) == 0 {
                self.finish(&index, items).map_err(context)?;
                finished += 1;
                remove(&index)?;
                before = 0;
            }
        }
        self.finish(&index, before)?;
        Ok(format!(
            "{killed} kills, and {ended} runs that had ended: the index opened as of a commit each time, up to \
             {largest_step} of {IMAGES} images after one run; {} runs to the end embedded only the rest",
            finished + 1
        ))
    }

    /// Runs short of disk, by amounts from nothing to enough, each followed by a run with space.
    pub fn full_disks(&self, runs: usize, seed: u64) -> Result<String, String> {
        let mut random = Random::new(seed);
        let disk = Disk::new(&self.folder.join("disk"))?;
        let (mut done, mut refused, mut most) = (0, 0, 0);
        for _ in 0..runs {
            let size = (1 << 16) + random.below(12 << 20);
            if !disk.mount(&format!("size={size},mode=755")) {
                return Ok("not run: no file system may be mounted here".to_owned());
            }
            let judged = self.full_disk(&disk);
            disk.empty();
            match judged.map_err(|why| format!("with {size} bytes: {why}"))? {
                None => done += 1,
                Some(items) => {
                    refused += 1;
                    most = most.max(items);
                }
            }
        }
        Ok(format!(
            "{runs} runs: {done} done, {refused} ended with a code and an index of up to {most} images; with more \
             space, the next run embedded the rest"
        ))
    }

    /// One run on a disk that may be too small; returns how many images it kept if it was.
    fn full_disk(&self, disk: &Disk) -> Result<Option<u64>, String> {
        let index = disk.path.join("index");
        let output = self.spawn(&index)?.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let items = count(&index)?.unwrap_or(0);
        match output.status.code() {
            Some(0) if items == IMAGES as u64 => return Ok(None),
            Some(2) if said.lines().any(|line| line.starts_with("error: ") && line.ends_with(']')) => {}
            _ => return Err(format!("ended with {} and {items} images: {said}", output.status)),
        }
        if !disk.mount("remount,size=256m") {
            return Err("the file system cannot be made larger".to_owned());
        }
        self.finish(&index, items)?;
        Ok(Some(items))
    }
}

/// The number of images in an index, each with a row of its own; `None` if there is no index.
fn count(index: &Path) -> Result<Option<u64>, String> {
    if !index.exists() {
        return Ok(None);
    }
    let opened = Index::open(index).map_err(|error| error.to_string())?;
    let info = opened.info();
    if (info.rows, info.dead) != (info.items, 0) {
        return Err(format!("{} images have {} rows, {} of them dead", info.items, info.rows, info.dead));
    }
    Ok(Some(info.items))
}

/// A BMP file of random colors, different for each number.
fn image(number: usize) -> Vec<u8> {
    let pixels = Random::new(number as u64).bytes(3 * SIDE * SIDE);
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + pixels.len() as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend([SIDE as u32; 2].map(u32::to_le_bytes).concat());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend(pixels);
    bytes
}
