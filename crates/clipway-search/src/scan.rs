//! The scan over all rows.
//!
//! Rows are read and scored in blocks of a fixed number, by all threads. What comes out does not depend on the threads:
//! scores are exact, ties go to the lower row, and sums are added in the order of the blocks.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clipway_kernels::{Isa, Kernels, KernelsError, RowScores, quantize_weights};
use clipway_run::engine::Processor;
use memmap2::MmapMut;

use crate::best::{Best, Scored};
use crate::bitmap::Bitmap;
use crate::error::IndexError;
use crate::rows::{Part, Rows};

/// Bytes of a block's codes: they stay in the cache between reading and scoring.
const BLOCK_BYTES: usize = 256 << 10;

/// Rows of a block are a multiple of this: whole tiles of every processor, and whole lines of the scores' sums.
const ROW_MULTIPLE: usize = 48;

/// Bytes of a large page on most processors.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Queries that are scanned with at once.
pub(crate) const BATCH: usize = 64;

/// Codes and scales of consecutive rows, in memory.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// Whole pages.
    bytes: Option<MmapMut>,
    scales: Vec<f32>,
    stride: usize,
}

impl Codes {
    /// Reads rows from `first` on.
    pub(crate) fn read(rows: &Rows, first: u64, count: u64) -> Result<Codes, IndexError> {
        let mut codes = Codes::default();
        codes.fill(rows, first, count)?;
        Ok(codes)
    }

    /// Replaces the rows by others.
    fn fill(&mut self, rows: &Rows, first: u64, count: u64) -> Result<(), IndexError> {
        self.stride = Part::Codes.row_bytes(rows.width);
        let too_large = || IndexError::TooLarge {
            what: "bytes of rows in memory",
            found: count.saturating_mul(self.stride as u64),
            limit: isize::MAX as u64,
        };
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(self.stride));
        let length = length.ok_or_else(too_large)?;
        let bytes = match self.bytes.take().filter(|bytes| bytes.len() >= length) {
            Some(bytes) => bytes,
            None => pages(length).map_err(|_| too_large())?,
        };
        let bytes = self.bytes.insert(bytes);
        self.scales.resize(length / self.stride, 0.0);
        rows.read(Part::Codes, first, &mut bytes[..length])?;
        rows.read_scales(first, &mut self.scales)
    }

    fn rows(&self, range: Range<usize>) -> (&[u8], &[f32]) {
        let bytes = self.bytes.as_deref().unwrap_or_default();
        (&bytes[range.start * self.stride..range.end * self.stride], &self.scales[range])
    }

    /// Codes and scales of rows from `first` on: those in memory, if all are, or else read in place of what is here.
    pub(crate) fn block<'a>(
        &'a mut self,
        held: Option<&'a Codes>,
        rows: &Rows,
        first: u64,
        count: u64,
    ) -> Result<(&'a [u8], &'a [f32]), IndexError> {
        match held {
            Some(held) => Ok(held.rows(first as usize..(first + count) as usize)),
            None => {
                self.fill(rows, first, count)?;
                Ok(self.rows(0..count as usize))
            }
        }
    }
}

/// Zeroed memory. Where there is much of it, large pages are asked for: looking up the addresses of small ones takes a third of a
/// scan's time.
fn pages(length: usize) -> std::io::Result<MmapMut> {
    let memory = MmapMut::map_anon(length)?;
    #[cfg(target_os = "linux")]
    if length >= LARGE_PAGE {
        // Only slower without.
        let _ = memory.advise(memmap2::Advice::HugePage);
    }
    Ok(memory)
}

/// Queries quantized like rows.
pub(crate) struct Queries {
    /// `[count, width]`.
    pub(crate) codes: Vec<i8>,
    /// One per query.
    pub(crate) scales: Vec<f32>,
}

impl Queries {
    /// Quantizes queries of length 1, `[count, width]`.
    pub(crate) fn of(queries: &[f32], width: usize) -> Option<Queries> {
        let mut codes = vec![0; queries.len()];
        let pairs = queries.chunks_exact(width).zip(codes.chunks_exact_mut(width));
        let scales = pairs.map(|(query, codes)| quantize_weights(query, codes)).collect::<Option<_>>()?;
        Some(Queries { codes, scales })
    }
}

/// What a scan found for one query.
#[derive(Debug)]
pub(crate) struct Found {
    /// The best rows, with the scores as the scan knows them.
    pub(crate) best: Vec<Scored>,
    /// Mean of the scores of all rows.
    pub(crate) mean: f64,
    /// Standard deviation of the scores of all rows.
    pub(crate) deviation: f64,
}

/// Kernels for the caller's thread, with a processor's instructions.
///
/// # Errors
/// As [`Kernels::new`].
pub(crate) fn kernels(processor: &Processor) -> Result<Kernels, KernelsError> {
    let name = processor.instruction_set().name();
    let isa = Isa::ALL.into_iter().find(|isa| isa.name() == name);
    Kernels::new(isa.unwrap_or_else(Isa::detect), 1)
}

/// Which rows, and how many.
pub(crate) struct Scan<'a> {
    pub(crate) rows: &'a Rows,
    /// All codes, if they are in memory.
    pub(crate) held: Option<&'a Codes>,
    /// Rows that may be found; `None` if that is every row.
    pub(crate) allowed: Option<&'a Bitmap>,
    /// Rows that are never found.
    pub(crate) dead: Option<&'a Bitmap>,
    /// Rows to find for each query.
    pub(crate) most: usize,
}

/// What one thread found.
struct OfThread {
    /// By query.
    best: Vec<Best>,
    /// Sums and sums of squares of each query, by block.
    sums: Vec<(usize, Vec<[f64; 2]>)>,
}

impl Scan<'_> {
    /// Scans all rows with at most [`BATCH`] queries.
    pub(crate) fn run(&self, processor: &Processor, queries: &Queries) -> Result<Vec<Found>, IndexError> {
        let kernels =
            kernels(processor).map_err(|error| IndexError::BadQuery { reason: error.to_string() })?;
        let packed = kernels.scan_queries(&queries.codes, self.rows.width);
        let count = packed.count();
        let block_rows = block_rows(self.rows.width);
        // At most 2^32 rows.
        let blocks = self.rows.count.div_ceil(block_rows as u64) as usize;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<Result<OfThread, IndexError>>> = Mutex::default();
        let worker = || {
            let mut part = OfThread { best: vec![Best::new(self.most); count], sums: Vec::new() };
            let (mut codes, mut scores) = (Codes::default(), RowScores::default());
            let result = loop {
                let block = next.fetch_add(1, Ordering::Relaxed);
                if block >= blocks || stop.load(Ordering::Relaxed) {
                    break Ok(part);
                }
                let first = block as u64 * block_rows as u64;
                let rows = (self.rows.count - first).min(block_rows as u64);
                let (bytes, scales) = match codes.block(self.held, self.rows, first, rows) {
                    Ok(read) => read,
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        break Err(error);
                    }
                };
                let thresholds: Vec<f32> = part.best.iter().map(Best::threshold).collect();
                kernels.scan(bytes, scales, &packed, &thresholds, &mut scores);
                for place in &scores.above {
                    let place = *place as usize;
                    let row = first + (place / count) as u64;
                    if self.is_allowed(row) {
                        part.best[place % count].push(Scored { score: scores.scores[place], row });
                    }
                }
                let sums = scores.sums.iter().zip(&scores.squares).map(|(sum, square)| [*sum, *square]);
                part.sums.push((block, sums.collect()));
            };
            done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        };
        run_on_all(processor, blocks, &worker);
        let parts = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(merge(parts, &queries.scales, self.rows.count))
    }

    fn is_allowed(&self, row: u64) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(row))
            && self.dead.is_none_or(|dead| !dead.contains(row))
    }
}

/// Runs a worker on each thread of a processor, but no more than there are tasks.
fn run_on_all(processor: &Processor, tasks: usize, worker: &(impl Fn() + Sync)) {
    let threads = processor.threads().min(tasks);
    if threads <= 1 {
        return worker();
    }
    processor.install(|| {
        rayon::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| worker());
            }
            worker();
        });
    });
}

/// Runs tasks by their numbers on all threads of a processor, each thread with a state of its own. Returns what they give, in
/// the order of the numbers.
///
/// # Errors
/// The first error of a task; later tasks are then not begun.
pub(crate) fn on_all<S, T: Send>(
    processor: &Processor,
    tasks: usize,
    state: impl Fn() -> S + Sync,
    task: impl Fn(&mut S, usize) -> Result<T, IndexError> + Sync,
) -> Result<Vec<T>, IndexError> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Ok(Vec::new())));
    run_on_all(processor, tasks, &|| {
        let mut state = state();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= tasks {
                return;
            }
            let result = task(&mut state, number);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *done, result) {
                (Ok(all), Ok(one)) => all.push((number, one)),
                (Err(_), _) => return,
                (done, Err(error)) => *done = Err(error),
            }
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, one)| one).collect())
}

/// Rows of a block.
pub(crate) fn block_rows(width: usize) -> usize {
    (BLOCK_BYTES / Part::Codes.row_bytes(width)).next_multiple_of(ROW_MULTIPLE)
}

/// Puts together what the threads found.
fn merge(parts: Vec<OfThread>, scales: &[f32], rows: u64) -> Vec<Found> {
    let mut best: Vec<Option<Best>> = scales.iter().map(|_| None).collect();
    let mut sums = Vec::new();
    for part in parts {
        for (all, found) in best.iter_mut().zip(part.best) {
            match all {
                Some(all) => all.merge(found),
                None => *all = Some(found),
            }
        }
        sums.extend(part.sums);
    }
    sums.sort_by_key(|(block, _)| *block);
    let found = best.into_iter().zip(scales).enumerate();
    found
        .map(|(query, (best, scale))| {
            let total = sums
                .iter()
                .fold([0.0; 2], |total, (_, sums)| [total[0] + sums[query][0], total[1] + sums[query][1]]);
            let rows = rows.max(1) as f64;
            let mean = total[0] / rows;
            let variance = (total[1] / rows - mean * mean).max(0.0);
            let best = best.map(Best::sorted).unwrap_or_default().into_iter();
            Found {
                best: best.map(|scored| Scored { score: scored.score * scale, ..scored }).collect(),
                mean: mean * f64::from(*scale),
                deviation: variance.sqrt() * f64::from(*scale),
            }
        })
        .collect()
}
