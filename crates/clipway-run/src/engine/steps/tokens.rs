//! Adds rows to each sample or removes them.

use clipway_model::graph::ParameterId;

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::shape::Shape;
use crate::engine::values::Values;

/// A parameter's rows before the rows of each sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Prepend(pub ParameterId);

/// A parameter's row after the rows of each sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Append(pub ParameterId);

/// Rows added before or after those of each sample.
struct Insert {
    rows: Vec<f32>,
    before: bool,
}

impl Operation for Prepend {
    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(Insert { rows: loader.owned(self.0)?, before: true }))
    }
}

impl Operation for Append {
    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(Insert { rows: loader.owned(self.0)?, before: false }))
    }
}

impl Step for Insert {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let Insert { rows, before } = self;
        for sample in 0..values.batch.samples {
            let (own, x) = (values.own(out, sample), values.rows_after(0, sample));
            let (first, last) = own.split_at_mut(if *before { rows.len() } else { x.len() });
            let (new, others) = if *before { (first, last) } else { (last, first) };
            new.copy_from_slice(rows);
            others.copy_from_slice(x);
        }
    }
}

/// Prepends the mean of a sample's rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct PrependMean;

impl Operation for PrependMean {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for PrependMean {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let width = values.width();
        for sample in 0..values.batch.samples {
            let (mean, others) = values.own(out, sample).split_at_mut(width);
            others.copy_from_slice(values.rows_after(0, sample));
            values.kernels.mean_rows(others, others.len() / width, width, mean);
        }
    }
}

/// The rows of each sample without the first `n`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct DropRows(pub usize);

impl Operation for DropRows {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for DropRows {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        for sample in 0..values.batch.samples {
            values.own(out, sample).copy_from_slice(values.rows_after(self.0, sample));
        }
    }
}

/// A parameter as the rows of each sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Queries(pub ParameterId);

struct QueriesStep(Vec<f32>);

impl Operation for Queries {
    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(QueriesStep(loader.owned(self.0)?)))
    }
}

impl Step for QueriesStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.repeat(&self.0, out);
    }
}
