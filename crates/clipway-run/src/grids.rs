//! An image tower whose images keep their proportions (NaFlex): one engine for each size, all with the same weights.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use clipway_formats::Dtype;
use clipway_model::architecture::{Model, build};
use clipway_model::config::{ModelConfig, PatchGrids};

use crate::engine::{Elements, Engine, EngineError, WeightError, Weights};
use crate::tower::{Intermediate, Tower, TowerBatch, TowerDescription, TowerError, TowerInput};

/// Number of sizes that are kept. Each holds the positions of its patches, a few hundred kilobytes.
const KEPT_SIZES: usize = 64;

/// A tower for images with sizes of their own. Each is computed alone: its patches are as many as a pass computes anyway.
pub(crate) struct GridTower {
    base: Engine,
    config: ModelConfig,
    grids: PatchGrids,
    weights: Kept,
    /// The engines of some sizes, the last used last.
    engines: Mutex<VecDeque<([usize; 2], Arc<Engine>)>>,
}

impl GridTower {
    /// Makes a tower from the engine of the config's own size, and reads what other sizes need besides.
    pub(crate) fn new(
        base: Engine,
        config: &ModelConfig,
        grids: PatchGrids,
        weights: &dyn Weights,
    ) -> Result<GridTower, TowerError> {
        let [row, own] = [[grids.side, 2 * grids.side], config.vision.image_size];
        // Any size but the engine's own shows what depends on it.
        let other = if row == own { [grids.side; 2] } else { row };
        let model = model_at(config, other)?;
        let recording = Recording { from: weights, kept: Mutex::default() };
        base.resized(&model.image, &model.parameters, &recording)?;
        let weights = Kept(recording.kept.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(GridTower { base, config: config.clone(), grids, weights, engines: Mutex::default() })
    }

    /// The engine for a size.
    fn at(&self, size: [usize; 2]) -> Result<Arc<Engine>, TowerError> {
        let lock = || self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let found = {
            let mut engines = lock();
            let place = engines.iter().position(|(known, _)| *known == size);
            place.and_then(|place| engines.remove(place)).inspect(|entry| engines.push_back(entry.clone()))
        };
        if let Some((_, engine)) = found {
            return Ok(engine);
        }
        let model = model_at(&self.config, size)?;
        let engine = Arc::new(self.base.resized(&model.image, &model.parameters, &self.weights)?);
        let mut engines = lock();
        if engines.len() >= KEPT_SIZES {
            engines.pop_front();
        }
        engines.push_back((size, Arc::clone(&engine)));
        Ok(engine)
    }

    /// Hands each image to a visitor, with the engine for its size.
    fn each(
        &self,
        batch: &TowerBatch<'_>,
        mut visitor: impl FnMut(&Engine, &[f32]) -> Result<(), EngineError>,
    ) -> Result<(), TowerError> {
        let TowerBatch::Pixels(pixels) = *batch else {
            return Err(EngineError::WrongInput { expected: "pixels", found: "token ids" }.into());
        };
        let PatchGrids { side, most } = self.grids;
        let (values, row) = (self.grids.most_values(), self.grids.most_values() + 2);
        if !pixels.len().is_multiple_of(row) {
            return Err(EngineError::GridValues { expected: row, found: pixels.len() }.into());
        }
        for (index, row) in pixels.chunks_exact(row).enumerate() {
            let (pixels, size) = row.split_at(values);
            let [height, width] = [size[0], size[1]];
            let [rows, columns] = [height, width].map(|length| length as usize / side);
            let is_whole = [rows, columns].map(|count| (count * side) as f32) == [height, width];
            if !is_whole || !(1..=most).contains(&rows.saturating_mul(columns)) {
                return Err(EngineError::ImageSize { index, height, width, side, most }.into());
            }
            let size = [rows * side, columns * side];
            visitor(&*self.at(size)?, &pixels[..3 * size[0] * size[1]])?;
        }
        Ok(())
    }
}

/// The model for images of a size.
pub(crate) fn model_at(config: &ModelConfig, size: [usize; 2]) -> Result<Model, TowerError> {
    let mut config = config.clone();
    config.set_image_size(size).map_err(|cause| TowerError::new(cause.code.name(), cause))?;
    build(&config).map_err(|cause| TowerError::new(cause.code(), cause))
}

impl Tower for GridTower {
    fn describe(&self) -> TowerDescription {
        let PatchGrids { side, most } = self.grids;
        TowerDescription { input: TowerInput::Grids { side, most }, ..self.base.describe() }
    }

    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError> {
        let mut features = Vec::new();
        self.each(&batch, |engine, pixels| {
            features.extend(engine.run_pixels(pixels)?);
            Ok(())
        })?;
        Ok(features)
    }

    fn intermediates(&self, batch: TowerBatch<'_>) -> Result<Vec<Intermediate>, TowerError> {
        let mut all: Vec<Intermediate> = Vec::new();
        self.each(&batch, |engine, pixels| {
            let (_, found) = engine.run_pixels_with_blocks(pixels)?;
            if all.is_empty() {
                all = found;
            } else {
                all.iter_mut().zip(found).for_each(|(all, found)| all.values.extend(found.values));
            }
            Ok(())
        })?;
        Ok(all)
    }
}

impl std::fmt::Debug for GridTower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GridTower({:?} by {:?})", self.grids, self.base)
    }
}

/// A piece of a tensor, as it is stored.
enum Piece {
    F32(Vec<f32>),
    Stored(Dtype, Vec<u8>),
    Int8(Vec<i8>, Vec<f32>),
}

impl Piece {
    fn of(elements: Elements<'_>) -> Piece {
        match elements {
            Elements::F32(values) => Piece::F32(values.to_vec()),
            Elements::Stored { dtype, bytes } => Piece::Stored(dtype, bytes.to_vec()),
            Elements::Int8 { values, scales } => Piece::Int8(values.to_vec(), scales.to_vec()),
        }
    }

    fn elements(&self) -> Elements<'_> {
        match self {
            Piece::F32(values) => Elements::F32(values),
            Piece::Stored(dtype, bytes) => Elements::Stored { dtype: *dtype, bytes },
            Piece::Int8(values, scales) => Elements::Int8 { values, scales },
        }
    }
}

/// Tensors in memory, by name.
struct Kept(HashMap<String, Vec<Piece>>);

impl Weights for Kept {
    fn read(
        &self,
        name: &str,
        _shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        // Its shape does not depend on the size of images, and was compared when it was recorded.
        let pieces = self.0.get(name).ok_or(WeightError::Missing)?;
        pieces.iter().for_each(|piece| sink(piece.elements()));
        Ok(())
    }

    fn is_int8(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|pieces| matches!(pieces.first(), Some(Piece::Int8(..))))
    }
}

/// Keeps what is read.
struct Recording<'a> {
    from: &'a dyn Weights,
    kept: Mutex<HashMap<String, Vec<Piece>>>,
}

impl Weights for Recording<'_> {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let mut pieces = Vec::new();
        self.from.read(name, shape, &mut |elements| {
            pieces.push(Piece::of(elements));
            sink(elements);
        })?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), pieces);
        Ok(())
    }

    fn is_int8(&self, name: &str) -> bool {
        self.from.is_int8(name)
    }
}
