//! The thread pool, and the loop that spreads work over it.

use crate::bf16::Bf16Path;
use crate::buffer::AlignedBuffer;
use crate::int8::Int8Path;
use crate::isa::Isa;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Work, in f32 operations, below which waking another thread costs more than it saves.
const WORTH_A_THREAD: usize = 1_000_000;

/// An instruction set and a thread pool, with the operations as methods.
///
/// Clones share the pool. Operations called inside [`Kernels::install`] start and finish with less overhead.
#[derive(Clone)]
pub struct Kernels {
    isa: Isa,
    int8: Int8Path,
    bf16: Bf16Path,
    threads: usize,
    shared: Arc<Shared>,
}

struct Shared {
    pool: Option<rayon::ThreadPool>,
    scratch: Mutex<Vec<AlignedBuffer<f32>>>,
}

/// Why kernels are unavailable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelsError {
    /// The processor lacks the instructions for int8 products.
    #[error("this processor has no instructions for {path:?}")]
    Int8Path {
        /// The requested path.
        path: Int8Path,
    },
    /// The instruction set, or the processor, lacks the instructions for bf16 products.
    #[error("`{isa}` has no instructions for {path:?} on this processor")]
    Bf16Path {
        /// The instruction set of the kernels.
        isa: Isa,
        /// The requested path.
        path: Bf16Path,
    },
    /// The processor lacks the instruction set.
    #[error("this processor has no `{isa}` instructions")]
    Isa {
        /// The requested instruction set.
        isa: Isa,
    },
    /// Zero threads were requested.
    #[error("expected at least one thread, found 0")]
    NoThreads,
    /// The threads could not be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// The requested number.
        threads: usize,
        /// The pool's error.
        source: rayon::ThreadPoolBuildError,
    },
}

impl Kernels {
    /// Creates kernels for an instruction set on `threads` threads; 1 uses only the caller's thread.
    ///
    /// # Errors
    /// If the processor lacks the instruction set, `threads` is 0, or threads cannot be started.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, KernelsError> {
        if !isa.is_available() {
            return Err(KernelsError::Isa { isa });
        }
        let pool = match threads {
            0 => return Err(KernelsError::NoThreads),
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("clipway-{index}"))
                    .build()
                    .map_err(|source| KernelsError::Threads { threads, source })?,
            ),
        };
        let (int8, bf16) = (Int8Path::fastest(isa), Bf16Path::fastest(isa));
        Ok(Self { isa, int8, bf16, threads, shared: Arc::new(Shared { pool, scratch: Mutex::default() }) })
    }

    /// Returns the instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Chooses how int8 products are computed. The default is the fastest path no wider than the instruction set.
    ///
    /// # Errors
    /// If the processor lacks the instructions.
    pub fn with_int8_path(self, path: Int8Path) -> Result<Self, KernelsError> {
        if !path.is_available() {
            return Err(KernelsError::Int8Path { path });
        }
        Ok(Self { int8: path, ..self })
    }

    /// Chooses a path that the processor may lack, to pack weights for another path that reads them.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(crate) fn packing_int8_for(self, path: Int8Path) -> Self {
        Self { int8: path, ..self }
    }

    /// Returns how int8 products are computed.
    pub fn int8_path(&self) -> Int8Path {
        self.int8
    }

    /// Chooses how products with weights in bf16 are computed. The default is the fastest path of the instruction set.
    ///
    /// # Errors
    /// If the processor, or the instruction set, lacks the instructions.
    pub fn with_bf16_path(self, path: Bf16Path) -> Result<Self, KernelsError> {
        let isa = self.isa;
        if !path.is_available(isa) {
            return Err(KernelsError::Bf16Path { isa, path });
        }
        Ok(Self { bf16: path, ..self })
    }

    /// Returns how products with weights in bf16 are computed.
    pub fn bf16_path(&self) -> Bf16Path {
        self.bf16
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns the same kernels for one thread: operations run on their caller's, and share the buffers.
    pub fn alone(&self) -> Self {
        Self { threads: 1, ..self.clone() }
    }

    /// Runs a function on a pool thread, so that operations inside need not each enter the pool.
    pub fn install<R: Send>(&self, function: impl FnOnce() -> R + Send) -> R {
        match &self.shared.pool {
            Some(pool) if self.threads > 1 => pool.install(function),
            _ => function(),
        }
    }

    /// Runs `task(0)` to `task(tasks - 1)`, spread over the threads if that is worth it.
    ///
    /// Each thread begins with a range of its own, the same share of the tasks each time, and then helps the others. So what
    /// a thread wrote in one operation is mostly what it reads in the next, from its own cache.
    ///
    /// `work` is the rough cost of all tasks together, in f32 operations.
    pub(crate) fn parallel(&self, tasks: usize, work: usize, task: impl Fn(usize) + Sync) {
        let threads = self.threads.min(tasks).min(1 + work / WORTH_A_THREAD);
        if threads <= 1 {
            (0..tasks).for_each(task);
            return;
        }
        let begin = |part: usize| tasks * part / threads;
        let next: Vec<AtomicUsize> = (0..threads).map(|part| AtomicUsize::new(begin(part))).collect();
        let worker = || {
            let own = rayon::current_thread_index().unwrap_or_default();
            for part in (own..own + threads).map(|part| part % threads) {
                let end = begin(part + 1);
                loop {
                    let index = next[part].fetch_add(1, Ordering::Relaxed);
                    if index >= end {
                        break;
                    }
                    task(index);
                }
            }
        };
        self.install(|| {
            rayon::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|_| worker());
                }
                worker();
            });
        });
    }

    /// Runs a task for each part, with its index, on all threads. `work` is as in [`Kernels::parallel`].
    pub(crate) fn parallel_parts<P: ExactSizeIterator + Send>(
        &self,
        parts: P,
        work: usize,
        task: impl Fn(usize, P::Item) + Sync,
    ) {
        let count = parts.len();
        let parts = Mutex::new(parts.enumerate());
        self.parallel(count, work, |_| {
            let next = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            if let Some((index, part)) = next {
                task(index, part);
            }
        });
    }

    /// Returns into how many parts the panels of a product are cut where there are few blocks of rows, so that all threads are
    /// busy: each task takes a part and prepares its rows again.
    pub(crate) fn parts(&self, blocks: usize, panels: usize) -> usize {
        let wanted = if blocks >= 2 * self.threads() { 1 } else { 2 * self.threads() };
        wanted.min(panels).max(1)
    }

    /// Lends a function a scratch buffer of `len` values with unspecified contents.
    pub(crate) fn with_scratch<R>(&self, len: usize, function: impl FnOnce(&mut [f32]) -> R) -> R {
        let lock = || self.shared.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let found = {
            let mut buffers = lock();
            let place = buffers.iter().position(|buffer| buffer.len() >= len);
            place.or(buffers.len().checked_sub(1)).map(|place| buffers.swap_remove(place))
        };
        let mut buffer = match found {
            Some(buffer) if buffer.len() >= len => buffer,
            _ => AlignedBuffer::zeroed(len),
        };
        let result = function(&mut buffer[..len]);
        lock().push(buffer);
        result
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kernels").field("isa", &self.isa).field("threads", &self.threads).finish()
    }
}
