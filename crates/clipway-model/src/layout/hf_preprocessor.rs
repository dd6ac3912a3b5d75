//! Image processors of transformers, from `processor_config.json` or `preprocessor_config.json`.
//!
//! Files, keys and defaults are read as `AutoImageProcessor` of transformers 5.24 reads them: first the object
//! `image_processor` of `processor_config.json`, then `preprocessor_config.json`. A missing key has the class's
//! default. A step whose key is `null` is skipped.

use clipway_formats::{Code, FormatError, JsonCursor, shown};

use super::hf_config::parse;
use super::hf_processor_class::Class;
use super::{Contradictions, LayoutError};
use crate::checkpoint::Checkpoint;
use crate::config::section::Section;
use crate::config::{
    Backend, ImageProcessor, Normalize, PatchGrids, PreprocessOptions, Resample, Resize, ResizeTo, limits,
};
use crate::contract::{Field, Origin, Origins};
use crate::plan::Towers;
use crate::problems::Problems;

/// The file that transformers 5 writes; it takes precedence.
const PROCESSOR: &str = "processor_config.json";

/// Its key for the image processor; older files have none.
const IMAGE_PROCESSOR: &str = "image_processor";

/// The file of an image processor alone.
const PREPROCESSOR: &str = "preprocessor_config.json";

const KEYS: [&str; 28] = [
    "crop_size",
    "default_to_square",
    "do_center_crop",
    "do_convert_rgb",
    "do_normalize",
    "do_pad",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "pad_size",
    "max_num_patches",
    "patch_size",
    "resample",
    "rescale_factor",
    "size",
    // These do not affect the pixels of an image opened by Pillow.
    "_valid_processor_keys",
    "auto_map",
    "data_format",
    "device",
    "disable_grouping",
    "image_seq_length",
    "input_data_format",
    "processor_class",
    "return_tensors",
    "use_fast",
];

/// Fields of a contract, each with the key that states it.
const FIELDS: [(Field, &str); 5] = [
    (Field::PixelRule, "image_processor_type"),
    (Field::Mean, "image_mean"),
    (Field::Std, "image_std"),
    (Field::Interpolation, "resample"),
    (Field::ResizeMode, "size"),
];

/// Placeholder for missing or wrong sides: the problem is reported instead of a result.
const UNKNOWN: [usize; 2] = [1; 2];

/// The preprocessing of a folder; nothing where the weights have no image tower.
#[derive(Default)]
pub(super) struct Preprocessing {
    /// The rule, with open_clip's nearest settings.
    pub(super) options: PreprocessOptions,
    /// Contradictions of files that are not used, by file name.
    pub(super) disagreements: Vec<(&'static str, Vec<String>)>,
    /// What a user should know.
    pub(super) notes: Vec<String>,
    /// Origin of each setting.
    pub(super) origins: Origins,
}

/// Sizes of an image tower, in pixels.
#[derive(Clone, Copy)]
pub(super) struct TowerSizes {
    /// Height and width of its images.
    pub(super) image_size: [usize; 2],
    /// Side of its patches, if it takes images of any proportions.
    pub(super) patch: Option<usize>,
}

impl TowerSizes {
    /// Those of a tower whose images have one size.
    pub(super) fn of(image_size: [usize; 2]) -> TowerSizes {
        TowerSizes { image_size, patch: None }
    }
}

/// Reads a folder's preprocessing for a tower of these sizes. If no file states it, the defaults of the model's
/// class apply, with a note. Problems are added to those already found.
pub(super) fn read(
    checkpoint: &Checkpoint,
    has: Towers,
    tower: TowerSizes,
    own: &'static Class,
    found: &mut Contradictions,
) -> Result<Preprocessing, LayoutError> {
    if has == Towers::Text {
        return Ok(Preprocessing::default());
    }
    let newer = checkpoint.read_beside(PROCESSOR)?;
    let newer = newer.map(|bytes| parse(PROCESSOR, &bytes)).transpose()?;
    let nested = newer.as_ref().map(|document| document.root().get(IMAGE_PROCESSOR)).transpose();
    let nested = nested.map_err(|cause| LayoutError::Malformed { file: PROCESSOR, cause })?;
    let nested = nested.flatten().filter(|at| !at.is_null());
    let older = checkpoint.read_beside(PREPROCESSOR)?;

    let mut problems = Problems::default();
    let (mut notes, mut disagreements) = (Vec::new(), Vec::new());
    let nested_key = nested.as_ref().map(|_| IMAGE_PROCESSOR);
    let (file, read) = match (nested, older) {
        (Some(at), older) => {
            let read = Reading::new(at, own, tower, &mut problems);
            if let Some((note, differing)) = older.and_then(|bytes| ignored(&bytes, own, tower, &read)) {
                notes.push(note);
                disagreements.push((PREPROCESSOR, differing));
            }
            (PROCESSOR, read)
        }
        (None, Some(bytes)) => {
            let document = parse(PREPROCESSOR, &bytes)?;
            (PREPROCESSOR, Reading::new(document.root(), own, tower, &mut problems))
        }
        (None, None) => {
            notes.push(format!(
                "neither `{PROCESSOR}` nor `{PREPROCESSOR}` states the preprocessing: the defaults of transformers' \
                 `{}` are assumed, at the tower's size",
                own.name
            ));
            let why = format!("the default of transformers' `{}`; no file states it", own.name);
            let mut origins = Origins::default();
            origins.set_all(FIELDS.map(|(field, _)| field), &Origin::Assumption { why });
            let mut processor = own.processor();
            if let Some(resize) = processor.resize.as_mut().filter(|_| own.keeps_proportions) {
                resize.to = ResizeTo::Exactly(tower.image_size);
            }
            let options = processor.nearest_in_open_clip();
            return Ok(Preprocessing { options, disagreements, notes, origins });
        }
    };
    let origins = read.origins(file, nested_key);
    let processor = read.processor;
    if let Some(size) = processor.output_size().filter(|size| *size != tower.image_size) {
        let key = match (processor.pad, processor.crop) {
            (Some(_), _) => "pad_size",
            (None, Some(_)) => "crop_size",
            (None, None) => "size",
        };
        problems
            .push(format!("`{key}`: images become {size:?}, but the tower expects {:?}", tower.image_size));
    }
    found.add(file, problems);
    notes.extend(read.notes.into_iter().map(|note| format!("`{file}`: {note}")));
    Ok(Preprocessing { options: processor.nearest_in_open_clip(), disagreements, notes, origins })
}

/// Reads the `preprocessor_config.json` of a folder without weights in PyTorch's names, such as one of ONNX graphs.
///
/// # Errors
/// Malformed JSON, a class or value that is not read, each with its key.
pub fn read_image_processor(bytes: &[u8]) -> Result<PreprocessOptions, LayoutError> {
    let document = parse(PREPROCESSOR, bytes)?;
    let mut problems = Problems::default();
    let read = Reading::new(
        document.root(),
        &super::hf_processor_class::CLIP,
        TowerSizes::of(UNKNOWN),
        &mut problems,
    );
    problems.none(PREPROCESSOR)?;
    Ok(read.processor.nearest_in_open_clip())
}

/// The note on a `preprocessor_config.json` that disagrees with the file in use, and each contradiction.
fn ignored(
    bytes: &[u8],
    own: &'static Class,
    tower: TowerSizes,
    taken: &Reading,
) -> Option<(String, Vec<String>)> {
    let Ok(document) = parse(PREPROCESSOR, bytes) else {
        let note = format!("`{PREPROCESSOR}` is malformed; `{PROCESSOR}` is used, as in transformers 5");
        return Some((note, vec!["it is malformed".to_owned()]));
    };
    let other = Reading::new(document.root(), own, tower, &mut Problems::default());
    let pairs = taken.settings().into_iter().zip(other.settings());
    let differing: Vec<_> = pairs.filter(|((_, taken), (_, other))| taken != other).collect();
    (!differing.is_empty()).then(|| {
        let taken = |((key, taken), (_, other)): &_| format!("`{key}`: {taken}, not {other}");
        let note = format!(
            "`{PROCESSOR}` is used, as in transformers 5, instead of `{PREPROCESSOR}`, which older versions read: {}",
            differing.iter().map(taken).collect::<Vec<_>>().join("; ")
        );
        let contradiction =
            |((key, taken), (_, other))| format!("`{key}`: {other}, but `{PROCESSOR}` says {taken}");
        (note, differing.into_iter().map(contradiction).collect())
    })
}

/// The contents of an object.
struct Reading {
    class: &'static str,
    processor: ImageProcessor,
    notes: Vec<&'static str>,
    /// Which keys of [`FIELDS`] it has.
    stated: Vec<&'static str>,
}

impl Reading {
    fn new(at: JsonCursor<'_>, own: &'static Class, tower: TowerSizes, problems: &mut Problems) -> Reading {
        let section = Section::new(Some(at), &KEYS, problems);
        let class = class(&section, own, problems);
        let defaults = class.defaults();
        let grids = tower.patch.filter(|_| class.keeps_proportions);
        let grids = grids.map(|side| patches(&section, side, problems));
        let mut keys = Keys { section: &section, problems };
        let resize = keys.step("do_resize", true).then(|| {
            let square = keys.step("default_to_square", class.square);
            Resize {
                to: match grids {
                    Some(grids) => ResizeTo::Patches(grids),
                    None if class.keeps_proportions => ResizeTo::Exactly(tower.image_size),
                    None => keys.needed("size", defaults.resize.to, |at| resize_to(at, square)),
                },
                resample: keys.needed("resample", defaults.resize.resample, resample),
            }
        });
        let crop = keys.step("do_center_crop", defaults.crop.is_some()).then(|| match defaults.crop {
            Some(crop) => keys.needed("crop_size", crop, sides),
            None => keys.stated("crop_size", UNKNOWN, sides),
        });
        let rescale =
            keys.step("do_rescale", true).then(|| keys.needed("rescale_factor", 1.0 / 255.0, factor));
        let normalize = keys.step("do_normalize", true).then(|| Normalize {
            mean: keys.needed("image_mean", defaults.normalize.mean, mean),
            std: keys.needed("image_std", defaults.normalize.std, std),
        });
        // Without `pad_size`, images are padded to the largest of the batch: each has the tower's size already.
        let pads = keys.step("do_pad", false) && section.value("pad_size").is_some();
        let pad = pads.then(|| keys.needed("pad_size", UNKNOWN, sides));
        let over_white = keys.step("do_convert_rgb", class.convert_rgb);
        let mut notes = Vec::new();
        let mut backend = Backend::Torchvision;
        if let Some(Resample::Box | Resample::Hamming) = resize.map(|resize| resize.resample) {
            backend = Backend::Pillow;
            notes.push("torchvision cannot resize with this `resample`; Pillow's rule is used");
        }
        if !over_white {
            notes.push(
                "`do_convert_rgb` is off: transformers accepts only RGB images; others are converted with Pillow's \
                 `convert(\"RGB\")` does",
            );
        }
        let processor = ImageProcessor { backend, over_white, resize, crop, rescale, normalize, pad };
        let stated =
            FIELDS.into_iter().map(|(_, key)| key).filter(|key| section.value(key).is_some()).collect();
        Reading { class: class.name, processor, notes, stated }
    }

    /// The origin of each contract field.
    fn origins(&self, file: &str, nested: Option<&str>) -> Origins {
        let mut origins = Origins::default();
        for (field, key) in FIELDS {
            let path = nested.map_or_else(|| key.to_owned(), |outer| format!("{outer}.{key}"));
            let origin = match self.stated.contains(&key) {
                true => Origin::key(file, path),
                false => Origin::Layout { why: format!("the default of transformers' `{}`", self.class) },
            };
            origins.set(field, origin);
        }
        origins
    }

    /// The result, key by key.
    fn settings(&self) -> [(&'static str, String); 9] {
        let ImageProcessor { over_white, resize, crop, rescale, normalize, pad, .. } = &self.processor;
        let or_none = |shown: Option<String>| shown.unwrap_or_else(|| "none".to_owned());
        let sides = |sides: &Option<[usize; 2]>| or_none(sides.map(|[h, w]| format!("{h}x{w}")));
        [
            ("image_processor_type", self.class.to_owned()),
            ("size", or_none(resize.map(|resize| resize.to.shown()))),
            ("resample", or_none(resize.map(|resize| resize.resample.name().to_owned()))),
            ("crop_size", sides(crop)),
            ("rescale_factor", or_none(rescale.map(|factor| factor.to_string()))),
            ("image_mean", or_none(normalize.map(|normalize| format!("{:?}", normalize.mean)))),
            ("image_std", or_none(normalize.map(|normalize| format!("{:?}", normalize.std)))),
            ("pad_size", sides(pad)),
            ("do_convert_rgb", over_white.to_string()),
        ]
    }
}

/// The patches of images that keep their proportions, which must be as large as the tower's.
fn patches(section: &Section<'_>, tower: usize, problems: &mut Problems) -> PatchGrids {
    let side = section.integer("patch_size", 16, 1..=limits::IMAGE_SIDE, problems);
    if side != tower {
        problems.add(section, "patch_size", format!("{side} pixels, but the tower's patches have {tower}"));
    }
    PatchGrids { side, most: section.integer("max_num_patches", 256, 1..=limits::TOKENS, problems) }
}

/// The class that an object names; without a name, the model's default.
fn class(section: &Section<'_>, own: &'static Class, problems: &mut Problems) -> &'static Class {
    const FEATURE_EXTRACTOR: &str = "feature_extractor_type";
    let keys = ["image_processor_type", FEATURE_EXTRACTOR];
    let Some(key) = keys.into_iter().find(|key| section.value(key).is_some()) else { return own };
    let said = section.text(key, own.name, problems);
    let name = match key {
        FEATURE_EXTRACTOR => said.replace("FeatureExtractor", "ImageProcessor"),
        _ => said.clone(),
    };
    Class::named(&name).unwrap_or_else(|| {
        problems.add(
            section,
            key,
            format!("unknown processor `{}`; known: {}", shown(&said), Class::names()),
        );
        own
    })
}

/// Values of keys, as the steps need them.
struct Keys<'a, 'b> {
    section: &'a Section<'b>,
    problems: &'a mut Problems,
}

impl<'b> Keys<'_, 'b> {
    /// Whether a step is applied; `null` skips it.
    fn step(&mut self, key: &str, default: bool) -> bool {
        !self.section.is_null(key) && self.section.boolean(key, default, self.problems)
    }

    /// The value that a step needs; the default if the key is missing.
    fn needed<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(JsonCursor<'b>) -> Result<T, FormatError>,
    ) -> T {
        if self.section.is_null(key) {
            self.stated(key, default, read)
        } else {
            self.value(key, default, read)
        }
    }

    /// The value that a step needs and that has no default.
    fn stated<T>(
        &mut self,
        key: &str,
        other: T,
        read: impl FnOnce(JsonCursor<'b>) -> Result<T, FormatError>,
    ) -> T {
        if self.section.value(key).is_none() {
            let found = if self.section.is_null(key) { "`null`" } else { "missing" };
            self.problems.add(self.section, key, format!("{found}, but a step needs it"));
        }
        self.value(key, other, read)
    }

    fn value<T>(
        &mut self,
        key: &str,
        other: T,
        read: impl FnOnce(JsonCursor<'b>) -> Result<T, FormatError>,
    ) -> T {
        match self.section.value(key).map(read) {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                self.problems.push(error.to_string());
                other
            }
            None => other,
        }
    }
}

/// The keys of an object as numbers of pixels; any other value is an error.
fn edges(at: &JsonCursor<'_>) -> Result<Vec<(String, usize)>, FormatError> {
    let mut edges = Vec::new();
    for (key, value) in at.members()? {
        edges.push((key.to_owned(), value.integer(1, limits::IMAGE_SIDE)?));
    }
    edges.sort();
    Ok(edges)
}

/// A side, `[height, width]`, or an object; `square` is what a single side means.
fn resize_to(at: JsonCursor<'_>, square: bool) -> Result<ResizeTo, FormatError> {
    if at.members().is_err() {
        return Ok(match sides(at.clone())? {
            [side, _] if !square && at.items().is_err() => ResizeTo::Shortest(side),
            sides => ResizeTo::Exactly(sides),
        });
    }
    let edges = edges(&at)?;
    let named: Vec<(&str, usize)> = edges.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    match named[..] {
        [("shortest_edge", side)] => Ok(ResizeTo::Shortest(side)),
        [("longest_edge", longest), ("shortest_edge", shortest)] => {
            Ok(ResizeTo::ShortestWithin { shortest, longest })
        }
        [("max_height", height), ("max_width", width)] => Ok(ResizeTo::Within([height, width])),
        [("height", height), ("width", width)] => Ok(ResizeTo::Exactly([height, width])),
        _ => {
            let expected = "expected `height` and `width`, `shortest_edge` (and `longest_edge`), or `max_height` and \
                            `max_width`";
            Err(at.error(Code::BadValue, expected))
        }
    }
}

/// A side, `[height, width]`, or an object with both.
fn sides(at: JsonCursor<'_>) -> Result<[usize; 2], FormatError> {
    let bad = |expected| at.error(Code::BadValue, expected);
    if let Ok(items) = at.items() {
        let items: Vec<JsonCursor<'_>> = items.collect();
        let [height, width] = &items[..] else { return Err(bad("expected [height, width]")) };
        return Ok([height.integer(1, limits::IMAGE_SIDE)?, width.integer(1, limits::IMAGE_SIDE)?]);
    }
    if at.members().is_err() {
        return at.integer(1, limits::IMAGE_SIDE).map(|side| [side; 2]);
    }
    let edges = edges(&at)?;
    match &edges[..] {
        [(first, height), (second, width)] if first == "height" && second == "width" => Ok([*height, *width]),
        _ => Err(bad("expected `height` and `width`")),
    }
}

fn resample(at: JsonCursor<'_>) -> Result<Resample, FormatError> {
    let number = at.integer(0, 5)?;
    Resample::from_number(number)
        .ok_or_else(|| at.error(Code::BadValue, "expected one of Pillow's filters, 0 to 5"))
}

fn factor(at: JsonCursor<'_>) -> Result<f64, FormatError> {
    above_zero(&at)
}

fn mean(at: JsonCursor<'_>) -> Result<[f64; 3], FormatError> {
    channels(&at, |at| {
        let number = at.number()?;
        let fits = (number as f32).is_finite();
        if fits {
            Ok(number)
        } else {
            Err(at.error(Code::BadValue, format!("expected a 32-bit number, found {number:e}")))
        }
    })
}

fn std(at: JsonCursor<'_>) -> Result<[f64; 3], FormatError> {
    channels(&at, above_zero)
}

fn above_zero(at: &JsonCursor<'_>) -> Result<f64, FormatError> {
    let number = at.number()?;
    let fits = number > 0.0 && (number as f32).is_finite() && (1.0 / number as f32).is_finite();
    if fits {
        Ok(number)
    } else {
        Err(at.error(Code::BadValue, format!("expected a positive number, found {number:e}")))
    }
}

/// One number per channel, or one for all three.
fn channels<'a>(
    at: &JsonCursor<'a>,
    number: impl Fn(&JsonCursor<'a>) -> Result<f64, FormatError>,
) -> Result<[f64; 3], FormatError> {
    let Ok(items) = at.items() else { return Ok([number(at)?; 3]) };
    let numbers: Vec<f64> = items.map(|item| number(&item)).collect::<Result<_, _>>()?;
    match numbers[..] {
        [one] => Ok([one; 3]),
        [red, green, blue] => Ok([red, green, blue]),
        _ => Err(at.error(Code::BadValue, "expected one number for each of 3 channels")),
    }
}
