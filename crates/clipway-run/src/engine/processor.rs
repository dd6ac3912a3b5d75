//! An instruction set and threads, shared by the engines of a process.

use clipway_kernels::{Bf16Path, Isa, Kernels, KernelsError};

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

/// How products with weights in bf16 are computed. The default is to multiply on AMD's processors with AVX-512 BF16, and to widen
/// on all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bf16Products {
    /// With AVX-512 BF16: inputs are rounded to bf16 too.
    Multiply,
    /// In f32: weights are widened, and inputs are not rounded.
    Widen,
}

impl Bf16Products {
    /// Either.
    pub const ALL: [Bf16Products; 2] = [Bf16Products::Multiply, Bf16Products::Widen];

    /// What has this name.
    pub fn named(name: &str) -> Option<Bf16Products> {
        Self::ALL.into_iter().find(|products| products.name() == name)
    }

    /// Name of an option's value.
    pub fn name(self) -> &'static str {
        match self {
            Bf16Products::Multiply => "multiply",
            Bf16Products::Widen => "widen",
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

    /// Chooses how products with weights in bf16 are computed; see [`Bf16Products`] for the default.
    ///
    /// # Errors
    /// [`Bf16Products::Multiply`] on a processor, or with an instruction set, that does not multiply bf16.
    pub fn with_bf16(self, products: Bf16Products) -> Result<Processor, EngineError> {
        let path = match products {
            Bf16Products::Multiply => Bf16Path::Avx512Bf16,
            Bf16Products::Widen => Bf16Path::Widening,
        };
        let refused = |_| EngineError::InstructionSet { name: "avx512_bf16" };
        Ok(Processor { kernels: self.kernels.with_bf16_path(path).map_err(refused)?, set: self.set })
    }

    /// How products with weights in bf16 are computed.
    pub fn bf16(&self) -> Bf16Products {
        match self.kernels.bf16_path() {
            Bf16Path::Avx512Bf16 => Bf16Products::Multiply,
            Bf16Path::Widening => Bf16Products::Widen,
        }
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
