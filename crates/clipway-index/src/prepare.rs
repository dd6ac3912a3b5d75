//! From found images to pixels: reading, hashing and decoding, a batch at a time on all threads.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, Image, ImageError, date_taken, decode, to_pixels, transform};
use clipway_search::{IndexError, Item, Writer};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::found::{Found, Refusal, nanoseconds};

/// Most images in a batch: as many as run through the model at once.
const MOST_IMAGES: usize = 32;

/// Most bytes of pixels, and of files, in a batch, unless a single image has more.
const MOST_BYTES: u64 = 256 << 20;

/// What an image says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    width: u32,
    height: u32,
    orientation: u8,
    taken: Option<i64>,
    /// When it was added; `None` if it is new.
    added: Option<i64>,
}

impl Facts {
    /// What the index knows.
    pub fn of(item: &Item) -> Facts {
        Facts {
            width: item.width,
            height: item.height,
            orientation: item.orientation,
            taken: item.taken,
            added: Some(item.added),
        }
    }
}

/// An image on its way into the index.
pub(crate) struct Work {
    pub found: Found,
    /// What the index knows of its path.
    pub before: Option<Item>,
    hash: [u8; 32],
    modified_ns: i64,
    /// The text beside it.
    caption: Option<String>,
    pub state: State,
}

/// How far an image has come.
pub(crate) enum State {
    /// Its bytes were read and hashed.
    Read(Vec<u8>),
    /// An earlier image of the batch has the same bytes; its number.
    Twin(usize),
    /// Its vector is in the index, or will be before it is put.
    Known(Facts),
    /// The same, and its facts are to be read from its bytes.
    KnownBytes(Vec<u8>),
    /// Ready for the model, `[3, height, width]`.
    Pixels(Facts, Vec<f32>),
    /// It cannot be read, and that is recorded.
    Unreadable(String),
    /// It could not be read now.
    NotRead(String),
}

/// Splits work into batches by the number and the bytes of images.
pub(crate) fn batches(
    images: &[Found],
    todo: Vec<(usize, Option<Item>)>,
    pixel_values: usize,
) -> Vec<Vec<(usize, Option<Item>)>> {
    let most = (MOST_BYTES / (4 * pixel_values as u64).max(1)).clamp(1, MOST_IMAGES as u64) as usize;
    let mut batches: Vec<Vec<(usize, Option<Item>)>> = Vec::new();
    let mut bytes = u64::MAX;
    for one in todo {
        let size = images[one.0].size;
        bytes = bytes.saturating_add(size);
        match batches.last_mut() {
            Some(last) if bytes <= MOST_BYTES && last.len() < most => last.push(one),
            _ => {
                bytes = size;
                batches.push(vec![one]);
            }
        }
    }
    batches
}

/// Reads and hashes a batch.
pub(crate) fn read(images: &[Found], batch: Vec<(usize, Option<Item>)>) -> Vec<Work> {
    let one = |(place, before): (usize, Option<Item>)| {
        let found = images[place].clone();
        let (mut hash, mut caption) = ([0; 32], None);
        let modified_ns = found.settled_ns();
        let state = match found.read() {
            Ok(contents) => {
                hash = Sha256::digest(&contents.bytes).into();
                caption = contents.caption;
                State::Read(contents.bytes)
            }
            Err(Refusal::Passing(reason)) => State::NotRead(reason),
            Err(Refusal::Lasting(reason)) => State::Unreadable(reason),
        };
        Work { found, before, hash, modified_ns, caption, state }
    };
    batch.into_par_iter().with_max_len(1).map(one).collect()
}

/// Finds the images whose bytes are known: to the index, as those of images that are gone, from the batch before, or from
/// earlier in the batch.
///
/// # Errors
/// An index that cannot be read.
pub(crate) fn look_up(
    works: &mut [Work],
    writer: &mut Writer,
    gone: &HashMap<[u8; 32], Facts>,
    before: &HashSet<[u8; 32]>,
) -> Result<(), IndexError> {
    let mut first: HashMap<[u8; 32], usize> = HashMap::new();
    for (number, work) in works.iter_mut().enumerate() {
        if !matches!(work.state, State::Read(_)) {
            continue;
        }
        let own = work.before.as_ref().filter(|item| item.hash == work.hash && item.row.is_some());
        if let Some(&twin) = first.get(&work.hash) {
            work.state = State::Twin(twin);
        } else if let Some(own) = own {
            work.state = State::Known(Facts::of(own));
        } else if before.contains(&work.hash) || writer.row_of_hash(&work.hash)?.is_some() {
            let State::Read(bytes) = std::mem::replace(&mut work.state, State::Twin(number)) else {
                unreachable!("it was checked above")
            };
            work.state = gone.get(&work.hash).map_or(State::KnownBytes(bytes), |facts| State::Known(*facts));
        } else {
            first.insert(work.hash, number);
        }
    }
    Ok(())
}

/// Decodes what the model has to see, and what must say its size.
pub(crate) fn prepare(works: &mut [Work], clip: &Clip, limits: &DecodeLimits) {
    works.par_iter_mut().with_max_len(1).for_each(|work| {
        let (bytes, is_known) = match &work.state {
            State::Read(bytes) => (bytes, false),
            State::KnownBytes(bytes) => (bytes, true),
            _ => return,
        };
        work.state = decoded(bytes, is_known, clip, limits);
    });
    for number in 0..works.len() {
        let State::Twin(twin) = works[number].state else { continue };
        works[number].state = match &works[twin].state {
            State::Pixels(facts, _) | State::Known(facts) => State::Known(*facts),
            State::Unreadable(reason) => State::Unreadable(reason.clone()),
            _ => State::NotRead("an image with the same bytes could not be read".to_owned()),
        };
    }
}

fn decoded(bytes: &[u8], is_known: bool, clip: &Clip, limits: &DecodeLimits) -> State {
    let facts = |image: &Image| Facts {
        // Images are limited to far fewer pixels.
        width: image.width as u32,
        height: image.height as u32,
        orientation: image.orientation.unwrap_or(0),
        taken: date_taken(bytes),
        added: None,
    };
    let pixels = |image: &Image| {
        let mut pixels = vec![0.0; clip.pixel_values()];
        to_pixels(&transform(image, clip.preprocess())?, clip.preprocess(), &mut pixels)?;
        Ok(pixels)
    };
    let image = match decode(bytes, limits) {
        Ok(image) => image,
        Err(error) => return unreadable(&error),
    };
    let facts = facts(&image);
    if is_known {
        return State::Known(facts);
    }
    match pixels(&image) {
        Ok(pixels) => State::Pixels(facts, pixels),
        Err(error) => unreadable(&error),
    }
}

/// Too little memory passes.
fn unreadable(error: &ImageError) -> State {
    match error {
        ImageError::NoMemory { .. } => State::NotRead(error.to_string()),
        _ => State::Unreadable(error.to_string()),
    }
}

impl Work {
    /// The hash, if the image is on its way to the model.
    pub fn embedded_hash(&self) -> Option<[u8; 32]> {
        matches!(self.state, State::Pixels(..)).then_some(self.hash)
    }

    /// What the index is to know.
    pub fn item(&self, facts: Facts, unreadable: Option<String>, now: i64) -> Item {
        Item {
            row: None,
            caption: self.caption.clone().filter(|_| unreadable.is_none()),
            unreadable,
            size: self.found.size,
            modified_ns: self.modified_ns,
            hash: self.hash,
            width: facts.width,
            height: facts.height,
            taken: facts.taken,
            orientation: facts.orientation,
            added: facts.added.unwrap_or(now),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    nanoseconds(SystemTime::now()).div_euclid(1_000_000_000)
}
