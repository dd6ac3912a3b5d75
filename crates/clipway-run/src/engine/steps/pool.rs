//! Pools each sample's rows to one.

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::reduce;
use crate::engine::shape::{Select, Shape};
use crate::engine::values::Values;

impl Operation for Select {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for Select {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let source = values.shape(0).rows;
        let x = values.matrix(0);
        for (sample, out) in out.chunks_exact_mut(values.width()).enumerate() {
            out.copy_from_slice(x.row(values.batch.selected(*self, source, sample)));
        }
    }
}

/// One row of a sample's rows after the first `skip`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Reduce {
    pub skip: usize,
    pub reduction: Reduction,
}

/// How several rows are reduced to one, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Reduction {
    Mean,
    Max,
    /// Half the sum of the two.
    MeanMax,
    /// The two, concatenated.
    MeanAndMax,
}

impl Operation for Reduce {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for Reduce {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let Reduce { skip, reduction } = *self;
        let width = values.shape(0).width;
        let mut most = vec![0.0; width];
        for (sample, out) in out.chunks_exact_mut(values.width()).enumerate() {
            let x = values.rows_after(skip, sample);
            if reduction != Reduction::Max {
                values.kernels.mean_rows(x, x.len() / width, width, &mut out[..width]);
            }
            if reduction != Reduction::Mean {
                reduce::largest(x.chunks_exact(width), &mut most);
            }
            match reduction {
                Reduction::Mean => {}
                Reduction::Max => out.copy_from_slice(&most),
                Reduction::MeanMax => out.iter_mut().zip(&most).for_each(|(o, most)| *o = 0.5 * (*o + most)),
                Reduction::MeanAndMax => out[width..].copy_from_slice(&most),
            }
        }
    }
}

/// One row of a text's rows whose id is not padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct PoolUnpadded {
    pub padding: i64,
    pub by: Unpadded,
}

/// How rows that are not padding are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Unpadded {
    Mean,
    Max,
}

impl Operation for PoolUnpadded {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for PoolUnpadded {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let Shape { rows, width, .. } = values.shape(0);
        let x = values.matrix(0);
        for (sample, out) in out.chunks_exact_mut(width).enumerate() {
            let range = values.batch.range(rows, sample);
            let seen = range.zip(values.batch.ids(sample)).filter(|(_, id)| **id != self.padding);
            let seen = seen.map(|(row, _)| x.row(row));
            match self.by {
                Unpadded::Mean => reduce::mean(seen, out),
                Unpadded::Max => reduce::largest(seen, out),
            }
        }
    }
}
