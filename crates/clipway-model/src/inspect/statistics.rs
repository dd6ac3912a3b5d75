//! Statistics of weights, read in parallel.

use std::sync::atomic::AtomicBool;

use clipway_formats::{FormatError, TensorInfo};
use serde::Serialize;

use crate::export::{ExportError, Progress, Run, Stage, largest_first, run_jobs};
use crate::state_dict::{F16_OVERFLOW, StateDict, cast_to_f32, count_beyond};

/// Number of elements processed at a time.
const BLOCK: usize = 1 << 12;

/// Statistics of a tensor's values, taken as f32.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorStatistics {
    /// Name among the weights.
    pub name: String,
    /// Smallest value that is not NaN; `None` if there is none.
    pub min: Option<f32>,
    /// Largest value that is not NaN.
    pub max: Option<f32>,
    /// Mean of the finite values.
    pub mean: Option<f64>,
    /// Number of NaN values.
    pub nan: u64,
    /// Number of infinite values.
    pub infinite: u64,
    /// Number of finite values that f16 cannot represent.
    pub overflow_f16: u64,
}

/// Sums over blocks of a tensor.
struct Sums {
    min: f32,
    max: f32,
    sum: f64,
    values: u64,
    nan: u64,
    infinite: u64,
    overflow_f16: u64,
}

impl Sums {
    fn add(&mut self, values: &[f32]) {
        let (mut sum, mut nan, mut infinite) = (0.0, 0u32, 0u32);
        for &value in values {
            // Comparisons with NaN keep the other value.
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            nan += u32::from(value.is_nan());
            infinite += u32::from(value.is_infinite());
            sum += if value.is_finite() { f64::from(value) } else { 0.0 };
        }
        self.sum += sum;
        self.values += values.len() as u64;
        self.nan += u64::from(nan);
        self.infinite += u64::from(infinite);
        self.overflow_f16 += count_beyond(values, F16_OVERFLOW) as u64;
    }

    fn finish(self, name: String) -> TensorStatistics {
        let finite = self.values - self.nan - self.infinite;
        let any = self.values > self.nan;
        TensorStatistics {
            name,
            min: any.then_some(self.min),
            max: any.then_some(self.max),
            mean: (finite > 0).then(|| self.sum / finite as f64),
            nan: self.nan,
            infinite: self.infinite,
            overflow_f16: self.overflow_f16,
        }
    }
}

/// Statistics of every tensor; `Ok(None)` if `cancel` becomes true.
pub(super) fn of(
    state_dict: &StateDict,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Option<Vec<TensorStatistics>>, FormatError> {
    progress.begin(Stage::Statistics, state_dict.bytes());
    let run = Run { progress, cancel };
    let sizes: Vec<usize> = state_dict.tensors().iter().map(TensorInfo::bytes).collect();
    run_jobs(&largest_first(&sizes), &|index| {
        let info = &state_dict.tensors()[index];
        let (min, max) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut sums = Sums { min, max, sum: 0.0, values: 0, nan: 0, infinite: 0, overflow_f16: 0 };
        let mut block = [0f32; BLOCK];
        let mut stopped: Result<(), ExportError> = Ok(());
        state_dict.read_chunks(index, &mut |bytes| {
            if stopped.is_err() {
                return;
            }
            for piece in bytes.chunks(BLOCK * info.dtype.size()) {
                let block = &mut block[..piece.len() / info.dtype.size()];
                cast_to_f32(info.dtype, piece, block);
                sums.add(block);
            }
            stopped = run.advance(bytes.len());
        })?;
        Ok(stopped.is_ok().then(|| sums.finish(info.name.clone())))
    })
    .map(|all| all.into_iter().collect())
}
