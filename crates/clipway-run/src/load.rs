//! From a source to a model that runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::shown_path;
use clipway_model::artifact::{Artifact, ArtifactError};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::{self, PreprocessConfig, TextConfig};
use clipway_model::contract::{Known, Origin};
use clipway_model::export::TokenizerParts;
use clipway_model::input::{self, InputError};
use clipway_model::layout::LayoutError;
use clipway_model::plan::Towers;
use clipway_model::source::{Source, SourceError, SourceOptions};

use crate::budget::{Budget, BudgetError};
use crate::clip::Clip;
use crate::encoder::{Encoder, EncoderError, EncoderSettings};
use crate::engine::{Compute, Engine, EngineError, EngineOptions, Passes, Processor, StepTimes};
use crate::grids::{GridTower, model_at};
use crate::image::{Interpolation, Preprocess, ResizeMode};
use crate::planned_weights::PlannedWeights;
use crate::text::{
    FolderTokenizer, TextReading, TextTarget, Tokenizer, TokenizerError, TokenizerFiles, TokenizerRules,
};
use crate::tower;

/// transformers' config, which names the kind of model.
const TRANSFORMERS_CONFIG: &str = "config.json";

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
    /// Tensors, by open_clip's names, that are quantized to int8 as an export quantizes them.
    pub quantized: Option<Arc<BTreeSet<String>>>,
}

impl LoadOptions {
    /// All towers, as open_clip runs them.
    pub fn new(processor: Processor) -> LoadOptions {
        LoadOptions { processor: Some(processor), ..LoadOptions::default() }
    }
}

/// A model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The source cannot be resolved.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source lacks a requested tower.
    #[error("`{}` has only the {} tower, not the {} tower", shown_path(path), found.name(), wanted.name())]
    NoTower {
        /// The source.
        path: PathBuf,
        /// The requested towers.
        wanted: Towers,
        /// The existing towers.
        found: Towers,
    },
    /// No threads to run on.
    #[error(transparent)]
    Processor(EngineError),
    /// The model needs more than its budget.
    #[error("`{}`: {cause}", shown_path(path))]
    Budget {
        /// The source.
        path: PathBuf,
        /// The exceeded limit.
        cause: BudgetError,
    },
    /// The engine refuses the weights.
    #[error("`{}`: {cause}", shown_path(path))]
    Engine {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: EngineError,
    },
    /// The towers do not match the model.
    #[error("`{}`: {cause}", shown_path(path))]
    Encoder {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: EncoderError,
    },
    /// The tokenizer is malformed.
    #[error("`{}`: {cause}", shown_path(folder))]
    Tokenizer {
        /// The folder of its files.
        folder: PathBuf,
        /// What is wrong.
        cause: TokenizerError,
    },
    /// The folder's `clipway.json` cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A file cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl LoadError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::Source(error) => error.code(),
            LoadError::NoTower { .. } => "missing",
            LoadError::Processor(error) => error.code(),
            LoadError::Engine { cause, .. } => cause.code(),
            LoadError::Encoder { cause, .. } => cause.code(),
            LoadError::Tokenizer { cause, .. } => cause.code(),
            LoadError::Artifact(error) => error.code(),
            LoadError::Input(error) => error.code(),
            LoadError::Budget { cause, .. } => cause.code(),
        }
    }
}

/// A model's tokenizer, with what an artifact records about it.
#[derive(Debug)]
pub struct LoadedTokenizer {
    /// The tokenizer and its files.
    pub tokenizer: FolderTokenizer,
    /// Its origin.
    pub from: Origin,
    /// The origin of its cleaning.
    pub cleaning_from: Origin,
    /// The folder of its files.
    folder: PathBuf,
}

impl LoadedTokenizer {
    /// Finds a source's tokenizer in `folder`, as the source's own library reads it: CLIP's is built in, any other is
    /// in the folder. `None` if its files are missing. If the folder has a `clipway.json` and no other library reads
    /// it, the rules are those stated there.
    ///
    /// # Errors
    /// Files that cannot be read or are malformed, and a tokenizer that does not match the model.
    pub fn find(source: &Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let Some(found) = LoadedTokenizer::find_whole(source, folder)? else { return Ok(None) };
        let Some((vocabulary, whole)) = source.vocabulary() else { return Ok(Some(found)) };
        let trimmed = found.tokenizer.trimmed(&vocabulary.kept, whole);
        let trimmed = trimmed.and_then(|trimmed| trimmed.checked(&source.config().model.text));
        let refuse = |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause };
        Ok(Some(LoadedTokenizer { tokenizer: trimmed.map_err(refuse)?, ..found }))
    }

    /// The same with the whole vocabulary, whatever is kept of it.
    ///
    /// # Errors
    /// The errors of [`LoadedTokenizer::find`].
    pub fn find_whole(source: &Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let text = source.vocabulary().map_or(&source.config().model.text, |(_, whole)| whole);
        let reading = TextReading::of(source.layout(), source.origin());
        let refuse =
            |cause| LoadError::Tokenizer { folder: folder.to_owned(), cause: with_files(cause, source) };
        let is_own = folder == source.folder();
        let other = if is_own { None } else { Artifact::find(folder)? };
        let artifact = if is_own { source.artifact() } else { other.as_ref() };
        let inputs = if is_own { input::Folder::open_if_any(folder) } else { input::Folder::open(folder) }?;
        let files = files(&inputs, |name| match artifact {
            Some(artifact) => artifact.check_listed(folder, name),
            None => Ok(()),
        })?;
        let stored = stored_rules(artifact).filter(|_| reading == TextReading::OpenClip);
        let (found, known) = match stored {
            Some((rules, from, cleaning_from)) => {
                let found = FolderTokenizer::by_rules(rules, text, &files).map(Some);
                (found, Some((from, cleaning_from)))
            }
            None => (FolderTokenizer::read(text, reading, &files), None),
        };
        let Some(tokenizer) = found.map_err(refuse)? else { return Ok(None) };
        let (from, cleaning_from) =
            known.unwrap_or_else(|| known_from(source, text, folder, reading, tokenizer.is_built_in, &files));
        Ok(Some(LoadedTokenizer { tokenizer, from, cleaning_from, folder: folder.to_owned() }))
    }

    /// The tokenizer of a folder as the folder's library reads it, which does not know `clipway.json`; `None` if that
    /// library cannot read it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn of_library(folder: &Source) -> Result<Option<Tokenizer>, LoadError> {
        if folder.tower() == Towers::Image {
            return Ok(None);
        }
        let files = files(&input::Folder::open_if_any(folder.folder())?, |_| Ok(()))?;
        let reading = TextReading::of(folder.layout(), folder.origin());
        let found = FolderTokenizer::read(&folder.config().model.text, reading, &files);
        // The export's own notes say what the library cannot follow.
        Ok(found.ok().flatten().map(|found| found.tokenizer))
    }

    /// The tokenizer files and rules for the library of a layout, given by the name that artifacts use.
    ///
    /// # Errors
    /// Rules that the library cannot follow.
    pub fn parts_for(self, layout: &str, source: &Source) -> Result<TokenizerParts, LoadError> {
        let text = &source.config().model.text;
        let refuse = |cause| LoadError::Tokenizer { folder: self.folder.clone(), cause };
        let written = self.tokenizer.written_for(TextTarget::of(layout), text).map_err(refuse)?;
        Ok(TokenizerParts { files: written.files, rules: Some(written.rules), notes: written.notes })
    }

    /// Finds the tokenizer like [`LoadedTokenizer::find`], and records it in the source's contract.
    ///
    /// # Errors
    /// The errors of [`LoadedTokenizer::find`].
    pub fn read_into(source: &mut Source, folder: &Path) -> Result<Option<LoadedTokenizer>, LoadError> {
        let found = LoadedTokenizer::find(source, folder)?;
        if let Some(LoadedTokenizer { tokenizer, from, cleaning_from, .. }) = &found {
            let rules = Known::new(tokenizer.tokenizer.rules().clone(), from.clone());
            source.set_tokenizer(rules, cleaning_from.clone());
            source.add_notes(tokenizer.notes.iter().cloned());
        }
        Ok(found)
    }
}

/// The tokenizer files of a folder, each checked by `check`.
fn files(
    folder: &input::Folder,
    check: impl Fn(&str) -> Result<(), ArtifactError>,
) -> Result<Vec<(String, Vec<u8>)>, LoadError> {
    let mut files = Vec::new();
    let names = TokenizerFiles::NAMES.into_iter().chain([TRANSFORMERS_CONFIG]);
    for name in names.filter(|name| folder.has(name)) {
        check(name)?;
        files.extend(folder.read(name, input::Kind::Tokenizer)?.map(|bytes| (name.to_owned(), bytes)));
    }
    Ok(files)
}

/// Adds the contradictions of the source's other files to those of a tokenizer.
fn with_files(error: TokenizerError, source: &Source) -> TokenizerError {
    let TokenizerError::Unfit { mut problems } = error else { return error };
    for (file, found) in source.disagreements() {
        problems.extend(found.iter().map(|problem| format!("`{file}`: {problem}")));
    }
    TokenizerError::Unfit { problems }
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

/// The origins of rules and cleaning that no artifact states.
fn known_from(
    source: &Source,
    text: &TextConfig,
    folder: &Path,
    reading: TextReading,
    is_built_in: bool,
    files: &[(String, Vec<u8>)],
) -> (Origin, Origin) {
    let tokenizer = &text.tokenizer;
    let key = |key: &str, is_stated| source.origin().of_key(key, is_stated);
    let from = match (is_built_in, reading) {
        (true, TextReading::OpenClip) => key("text_cfg.hf_tokenizer_name", tokenizer.name.is_some()),
        (true, TextReading::Transformers) => {
            let why = "the folder has no tokenizer; CLIP's own matches the rows and the end token".to_owned();
            Origin::Assumption { why }
        }
        (false, _) if folder != source.folder() => Origin::option("tokenizer"),
        (false, _) => Origin::file(vocabulary_file(files)),
    };
    let cleaning_from = match reading {
        TextReading::OpenClip => key("text_cfg.tokenizer_kwargs.clean", tokenizer.cleaning.is_some()),
        TextReading::Transformers => {
            Origin::Layout { why: "transformers leaves cleaning to the tokenizer".to_owned() }
        }
    };
    (from, cleaning_from)
}

/// The file of a folder that its vocabulary is read from.
fn vocabulary_file(files: &[(String, Vec<u8>)]) -> &'static str {
    let has = |name: &str| files.iter().any(|(file, _)| file == name);
    let known = ["spiece.model", "tokenizer.json", "vocab.json", "vocab.txt"];
    known.into_iter().find(|name| has(name)).unwrap_or("tokenizer.json")
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
        Ok(Clip::new(encoder, preprocess, tokenizer))
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

/// The rules in an artifact's `clipway.json` with their origins and the cleaning's, if it states any.
fn stored_rules(artifact: Option<&Artifact>) -> Option<(TokenizerRules, Origin, Origin)> {
    let text = artifact?.contract.text.as_ref()?;
    let rules = text.tokenizer.as_ref()?;
    let cleaning_from = text.cleaning.as_ref().map_or(&rules.from, |known| &known.from);
    Some((rules.value.clone(), rules.from.in_artifact(), cleaning_from.in_artifact()))
}
