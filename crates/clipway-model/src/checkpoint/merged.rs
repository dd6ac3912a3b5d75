//! Tensors computed from several stored ones: low-rank updates merged into weights, and weights put together from a
//! length and a direction. They are computed in f64 when they are read, and rounded to the dtype of the stored weight.

use std::sync::Arc;

use clipway_formats::{
    Dtype, FileFormat, FormatError, Place, TensorFile, TensorInfo, check_room, read_at_once,
};

use crate::state_dict::{cast_from_f32, cast_to_f32};

/// How a tensor comes about; numbers are indices of stored tensors.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recipe {
    /// It is stored.
    Stored(usize),
    /// Rows of `direction`, each scaled to its length.
    Scaled { direction: usize, length: usize },
    /// A weight with a low-rank update.
    Updated { weight: usize, update: Update },
}

/// A low-rank update of a weight (LoRA, <https://arxiv.org/abs/2106.09685>).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    /// `[rank, inputs, …]`.
    pub(super) down: usize,
    /// `[outputs, rank, …]`.
    pub(super) up: usize,
    /// Factor of the product.
    pub(super) scale: f64,
    /// Whether the weight is stored as `[inputs, outputs]`.
    pub(super) transposed: bool,
    /// Length of each output's weights after the update (DoRA, <https://arxiv.org/abs/2402.09353>).
    pub(super) length: Option<usize>,
}

/// A least length that directions are divided by, as in `torch.nn.functional.normalize`.
const LEAST: f64 = 1e-12;

/// Files whose tensors are listed one file after the other, some computed.
pub(super) struct MergedFile {
    files: Vec<Arc<dyn TensorFile>>,
    tensors: Vec<TensorInfo>,
    recipes: Vec<Recipe>,
}

impl MergedFile {
    /// The tensors of several files with these names and recipes.
    pub(super) fn new(
        files: Vec<Arc<dyn TensorFile>>,
        tensors: Vec<TensorInfo>,
        recipes: Vec<Recipe>,
    ) -> MergedFile {
        MergedFile { files, tensors, recipes }
    }

    /// The file of a stored tensor, and its index there.
    fn place(&self, mut index: usize) -> (&Arc<dyn TensorFile>, usize) {
        for file in &self.files {
            match index.checked_sub(file.tensors().len()) {
                Some(rest) => index = rest,
                None => return (file, index),
            }
        }
        unreachable!("recipes name stored tensors")
    }

    fn values(&self, stored: usize) -> Result<Vec<f32>, FormatError> {
        let (file, index) = self.place(stored);
        let info = &file.tensors()[index];
        let room = info.elements().saturating_mul(size_of::<f32>() + size_of::<f64>() + info.dtype.size());
        check_room(room, || Place::Tensor(info.name.clone()))?;
        let mut bytes = Vec::new();
        file.read(index, &mut bytes)?;
        let mut values = vec![0.0; info.elements()];
        cast_to_f32(info.dtype, &bytes, &mut values);
        Ok(values)
    }

    fn scaled(&self, rows: usize, direction: usize, length: usize) -> Result<Vec<f32>, FormatError> {
        let (mut direction, length) = (self.values(direction)?, self.values(length)?);
        let width = direction.len() / rows.max(1);
        for (row, length) in direction.chunks_exact_mut(width.max(1)).zip(length) {
            let factor = f64::from(length) / norm(row.iter().map(|value| f64::from(*value))).max(LEAST);
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
        Ok(direction)
    }

    fn updated(&self, weight: usize, update: &Update) -> Result<Vec<f32>, FormatError> {
        let rank = {
            let (file, index) = self.place(update.down);
            file.tensors()[index].shape[0]
        };
        let (down, up) = (self.values(update.down)?, self.values(update.up)?);
        let mut weight: Vec<f64> = self.values(weight)?.into_iter().map(f64::from).collect();
        let (inputs, outputs) = (down.len() / rank.max(1), up.len() / rank.max(1));
        let at = |output: usize, input: usize| match update.transposed {
            true => input * outputs + output,
            false => output * inputs + input,
        };
        for output in 0..outputs {
            for step in 0..rank {
                let factor = update.scale * f64::from(up[output * rank + step]);
                for input in 0..inputs {
                    weight[at(output, input)] += factor * f64::from(down[step * inputs + input]);
                }
            }
        }
        if let Some(length) = update.length {
            for (output, length) in self.values(length)?.into_iter().enumerate() {
                let found = norm((0..inputs).map(|input| weight[at(output, input)]));
                (0..inputs).for_each(|input| weight[at(output, input)] *= f64::from(length) / found);
            }
        }
        Ok(weight.into_iter().map(|value| value as f32).collect())
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// The dtype in which a computed tensor is kept: that of the stored weight, or f32 for f64.
pub(super) fn kept(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F64 { Dtype::F32 } else { dtype }
}

impl TensorFile for MergedFile {
    fn format(&self) -> FileFormat {
        self.files[0].format()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let info = &self.tensors[index];
        let values = match &self.recipes[index] {
            Recipe::Stored(stored) => {
                let (file, index) = self.place(*stored);
                return file.read(index, out);
            }
            Recipe::Scaled { direction, length } => self.scaled(info.shape[0], *direction, *length)?,
            Recipe::Updated { weight, update } => self.updated(*weight, update)?,
        };
        out.clear();
        cast_from_f32(info.dtype, &values, out);
        Ok(())
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        if let Recipe::Stored(stored) = self.recipes[index] {
            let (file, index) = self.place(stored);
            return file.read_chunks(index, sink);
        }
        read_at_once(self, index, sink)
    }

    fn metadata(&self) -> &[(String, String)] {
        self.files[0].metadata()
    }
}
