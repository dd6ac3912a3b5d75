//! An instruction set and threads, shared by the engines of a process.

use clipway_kernels::{Isa, Kernels, KernelsError};

use super::error::EngineError;

/// Instruction sets that engines are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// AVX-512, 16 numbers at a time.
    Avx512,
    /// AVX2 with FMA, 8 numbers at a time.
    Avx2,
    /// NEON of 64-bit ARM processors, 4 numbers at a time.
    Neon,
    /// Plain code for any processor.
    Portable,
}

impl InstructionSet {
    /// Every instruction set, fastest first.
    pub const ALL: [InstructionSet; 4] =
        [InstructionSet::Avx512, InstructionSet::Avx2, InstructionSet::Neon, InstructionSet::Portable];

    /// The instruction sets of this processor, fastest first.
    pub fn available() -> Vec<InstructionSet> {
        Self::ALL.into_iter().filter(|set| set.isa().is_available()).collect()
    }

    /// The instruction set of a name.
    pub fn named(name: &str) -> Option<InstructionSet> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Display name.
    pub fn name(self) -> &'static str {
        self.isa().name()
    }

    fn isa(self) -> Isa {
        match self {
            InstructionSet::Avx512 => Isa::Avx512,
            InstructionSet::Avx2 => Isa::Avx2,
            InstructionSet::Neon => Isa::Neon,
            InstructionSet::Portable => Isa::Portable,
        }
    }
}

/// An instruction set and a pool of threads. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Processor {
    kernels: Kernels,
    set: InstructionSet,
}

impl Processor {
    /// The fastest instruction set and one thread per core that this process may use.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub fn detect() -> Result<Processor, EngineError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Processor::with_threads(threads)
    }

    /// The fastest instruction set and this many threads.
    ///
    /// # Errors
    /// `threads` of 0, or threads that cannot be started.
    pub fn with_threads(threads: usize) -> Result<Processor, EngineError> {
        let best = InstructionSet::available().first().copied().unwrap_or(InstructionSet::Portable);
        Processor::new(best, threads)
    }

    /// An instruction set and this many threads.
    ///
    /// # Errors
    /// An instruction set that the processor lacks, `threads` of 0, or threads that cannot be started.
    pub fn new(set: InstructionSet, threads: usize) -> Result<Processor, EngineError> {
        let kernels = Kernels::new(set.isa(), threads).map_err(|error| match error {
            KernelsError::Isa { .. } => EngineError::InstructionSet { name: set.name() },
            other => EngineError::Threads { threads, cause: other.to_string() },
        })?;
        Ok(Processor { kernels, set })
    }

    /// The instruction set.
    pub fn instruction_set(&self) -> InstructionSet {
        self.set
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.kernels.threads()
    }

    /// Runs work on the threads of this processor: whatever it spreads over rayon's current pool stays on them. With
    /// one thread, that is the caller's own, whose pool stays the current one.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.kernels.install(work)
    }

    pub(super) fn kernels(&self) -> &Kernels {
        &self.kernels
    }
}
