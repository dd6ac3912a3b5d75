//! From a source to a model that runs.

mod error;
mod tokenizer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::{self, PreprocessConfig, TextConfig};
use clipway_model::input;
use clipway_model::layout::{LayoutError, OWN_TOKENIZER};
use clipway_model::plan::{Integers, Towers};
use clipway_model::source::{Source, SourceError, SourceOptions};

use crate::budget::Budget;
use crate::clip::Clip;
use crate::encoder::{Encoder, EncoderError, EncoderSettings};
use crate::engine::{Compute, Engine, EngineOptions, Passes, Processor, StepTimes};
use crate::grids::{GridTower, model_at};
use crate::image::{Interpolation, Preprocess, ResizeMode};
use crate::planned_weights::PlannedWeights;
use crate::text::{FolderTokenizer, TextReading, TokenizerError};
use crate::tower;

pub use error::LoadError;
pub use tokenizer::LoadedTokenizer;
use tokenizer::files;

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// What to run on; by default the fastest instruction set and all threads.
    pub processor: Option<Processor>,
    /// Which towers to load; by default all existing ones.
    pub towers: Option<Towers>,
    /// Whether block outputs are available.
    pub blocks: bool,
    /// Whether the inputs of products are available, for calibration.
    pub product_inputs: bool,
    /// Whether images are rotated by their EXIF orientation; open_clip does not.
    pub apply_orientation: bool,
    /// Limits for one image or text.
    pub budget: Budget,
    /// The folder of the tokenizer files; by default the source's own.
    pub tokenizer: Option<PathBuf>,
    /// What products are computed in.
    pub compute: Compute,
    /// Which passes make the towers fast.
    pub passes: Passes,
    /// Gathers the times of the towers' steps.
    pub times: Option<Arc<StepTimes>>,
    /// Tensors, by open_clip's names, that are quantized to integers as an export quantizes them.
    pub quantized: Option<Arc<BTreeMap<String, Integers>>>,
}

impl LoadOptions {
    /// All towers, as open_clip runs them.
    pub fn new(processor: Processor) -> LoadOptions {
        LoadOptions { processor: Some(processor), ..LoadOptions::default() }
    }
}

/// Resolves a checkpoint as [`Source::of`] does. If its files contradict each other or the weights, the error also lists
/// what contradicts in its tokenizer, whose files are in `tokenizer` or beside the weights.
///
/// # Errors
/// As [`Source::of`], and tokenizer files that cannot be read.
pub fn resolve(
    checkpoint: &Arc<Checkpoint>,
    options: &SourceOptions,
    tokenizer: Option<&Path>,
) -> Result<Source, LoadError> {
    let error = match Source::of(Arc::clone(checkpoint), options) {
        Ok(source) => return Ok(source),
        Err(error) => error,
    };
    let SourceError::Layout { path, mut cause } = error else { return Err(error.into()) };
    if let (LayoutError::Contradictions(found), false) = (&mut *cause, options.tower == Some(Towers::Image)) {
        let own = checkpoint.weights_path().parent().unwrap_or(Path::new(""));
        let files = files(&input::Folder::open_if_any(tokenizer.unwrap_or(own))?, |_| Ok(()))?;
        let read = |text| FolderTokenizer::read(text, TextReading::Transformers, &files).map(|_| ());
        match found.text_config().map_or(Ok(()), read) {
            Ok(()) => {}
            Err(TokenizerError::Unfit { problems }) => found.files.push(("tokenizer.json", problems)),
            Err(other) => found.files.push(("tokenizer.json", vec![other.to_string()])),
        }
    }
    Err(SourceError::Layout { path, cause }.into())
}

impl Clip {
    /// Opens a folder or a weight file and loads all towers that it has.
    ///
    /// # Errors
    /// A source that cannot be resolved, weights that cannot be read or compiled, and malformed tokenizer files.
    pub fn open(path: impl AsRef<Path>) -> Result<Clip, LoadError> {
        Clip::open_with(path, &SourceOptions::default(), &LoadOptions::default())
    }

    /// Opens like [`Clip::open`], with options.
    ///
    /// # Errors
    /// The errors of [`Clip::open`], and a tower that the source lacks.
    pub fn open_with(
        path: impl AsRef<Path>,
        source: &SourceOptions,
        load: &LoadOptions,
    ) -> Result<Clip, LoadError> {
        Clip::load(&Source::resolve(path, source)?, load)
    }

    /// Loads a source: its weights according to the plan, its preprocessing and its tokenizer.
    ///
    /// # Errors
    /// The errors of [`Clip::open_with`].
    pub fn load(source: &Source, options: &LoadOptions) -> Result<Clip, LoadError> {
        let path = source.path();
        let engine = |cause| LoadError::Engine { path: path.to_owned(), cause };
        let towers = towers(source, options.towers)?;
        let over = |cause| LoadError::Budget { path: path.to_owned(), cause };
        options.budget.check(source.model(), towers).map_err(over)?;
        let of_tower =
            |cause| LoadError::Encoder { path: path.to_owned(), cause: EncoderError::Tower(cause) };
        let grids = source.config().preprocess().rule.grids();
        if let (Some(grids), true) = (grids, towers != Towers::Text) {
            let largest = model_at(&source.config().model, [grids.side, grids.longest_side()]);
            options.budget.check(&largest.map_err(of_tower)?, Towers::Image).map_err(over)?;
        }
        let processor = match &options.processor {
            Some(processor) => processor.clone(),
            None => Processor::detect().map_err(LoadError::Processor)?,
        };
        let weights = PlannedWeights::new(source, options.quantized.clone());
        let model = source.model();
        let compile = |graph, passes| {
            let LoadOptions { blocks, product_inputs, compute, .. } = *options;
            let engine_options = EngineOptions { passes, compute, blocks, product_inputs };
            let mut engine = Engine::compile(graph, &model.parameters, &weights, &processor, engine_options)?;
            if let Some(times) = &options.times {
                engine = engine.with_times(Arc::clone(times));
            }
            Ok(engine)
        };
        let image = match (towers, grids) {
            (Towers::Text, _) => None,
            (_, None) => Some(boxed(compile(&model.image, options.passes).map_err(engine)?)),
            (_, Some(grids)) => {
                // Merged into a product, the positions of each size would come with a copy of its weights.
                let base = compile(&model.image, Passes { tables: false, ..options.passes });
                let tower = GridTower::new(base.map_err(engine)?, &source.config().model, grids, &weights);
                Some(boxed(tower.map_err(of_tower)?))
            }
        };
        let text = match towers {
            Towers::Image => None,
            _ => Some(boxed(compile(&model.text, options.passes).map_err(engine)?)),
        };
        let scalar = |id| weights.scalar(&model.parameters.get(id).name);
        let settings = EncoderSettings {
            logit_scale: scalar(model.logit_scale).map_err(engine)?.map_or(1.0, f32::exp),
            logit_bias: model.logit_bias.map(scalar).transpose().map_err(engine)?.flatten(),
            embed_dim: model.embed_dim,
        };
        let encoder = Encoder::new(image, text, settings)
            .map_err(|cause| LoadError::Encoder { path: path.to_owned(), cause })?;
        let tokenizer = match towers {
            Towers::Image => None,
            _ => {
                let folder = options.tokenizer.as_deref().unwrap_or(source.folder());
                LoadedTokenizer::find(source, folder)?.map(|loaded| loaded.tokenizer.tokenizer)
            }
        };
        let mut preprocess = Preprocess::from(&source.config().preprocess());
        preprocess.apply_orientation = options.apply_orientation;
        let name = tokenizer_name(&source.config().model.text);
        Ok(Clip::new(encoder, preprocess, tokenizer).with_tokenizer_name(name))
    }
}

/// The name of the tokenizer, or of the file with its tokens, that a config asks for.
fn tokenizer_name(text: &TextConfig) -> Option<String> {
    match text.tokenizer.tiktoken {
        Some(tiktoken) => Some(format!("{}.tiktoken", tiktoken.encoding.name())),
        None => text.tokenizer.name.clone().filter(|name| name != OWN_TOKENIZER),
    }
}

fn boxed(tower: impl tower::Tower + 'static) -> Box<dyn tower::Tower> {
    Box::new(tower)
}

/// The towers to load: the requested ones if the source has them, otherwise all existing ones.
fn towers(source: &Source, wanted: Option<Towers>) -> Result<Towers, LoadError> {
    match (wanted, source.tower()) {
        (None | Some(Towers::Both), found) => Ok(found),
        (Some(wanted), Towers::Both) => Ok(wanted),
        (Some(wanted), found) if wanted == found => Ok(found),
        (Some(wanted), found) => Err(LoadError::NoTower { path: source.path().to_owned(), wanted, found }),
    }
}

impl From<&PreprocessConfig> for Preprocess {
    fn from(config: &PreprocessConfig) -> Preprocess {
        Preprocess {
            size: (config.size[0], config.size[1]),
            mean: config.mean.map(|value| value as f32),
            std: config.std.map(|value| value as f32),
            interpolation: match config.interpolation {
                config::Interpolation::Bilinear => Interpolation::Bilinear,
                config::Interpolation::Bicubic | config::Interpolation::Random => Interpolation::Bicubic,
            },
            resize_mode: match config.resize_mode {
                config::ResizeMode::Shortest => ResizeMode::Shortest,
                config::ResizeMode::Longest => ResizeMode::Longest,
                config::ResizeMode::Squash => ResizeMode::Squash,
            },
            fill_color: config.fill_color,
            rule: config.rule.clone(),
            ..Preprocess::default()
        }
    }
}
