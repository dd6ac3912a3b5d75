//! Passes: each rewrites the program into one that gives the same features with less work.

mod affine;
mod branches;
mod epilogue;
mod hoist;
mod join;
mod patches;
mod rotary;
mod ragged;
mod tables;

#[cfg(test)]
mod tests;

use super::program::Program;

/// Which passes run. All by default; tests compare with each turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Each text is computed only up to the token that is pooled, where nothing after it can matter.
    pub ragged: bool,
    /// The last attention has queries only for the pooled token, and what follows runs on that alone.
    pub hoist: bool,
    /// Linear layers of one input become one.
    pub join: bool,
    /// Batch norms and layer scales go into the weights before them.
    pub affine: bool,
    /// Heads are turned as the attention reads them.
    pub rotary: bool,
    /// Parallel convolutions of one input, and the input beside them, become one convolution.
    pub branches: bool,
    /// Convolutions that are matrix products become such.
    pub patches: bool,
    /// Positions, class token and patch bias become one table; those of texts go into the embedding.
    pub tables: bool,
    /// Activations, residual sums and gates go into the product before them.
    pub epilogue: bool,
}

impl Passes {
    /// Every pass.
    pub const ALL: Passes = Passes {
        ragged: true,
        hoist: true,
        join: true,
        affine: true,
        rotary: true,
        branches: true,
        patches: true,
        tables: true,
        epilogue: true,
    };

    /// No pass: one step an operation.
    pub const NONE: Passes = Passes {
        ragged: false,
        hoist: false,
        join: false,
        affine: false,
        rotary: false,
        branches: false,
        patches: false,
        tables: false,
        epilogue: false,
    };
}

impl Default for Passes {
    fn default() -> Passes {
        Passes::ALL
    }
}

/// Rewrites a program.
type Pass = fn(&mut Program);

/// Runs the passes in their order.
pub(super) fn run(program: &mut Program, passes: Passes) {
    let table: [(bool, Pass); 9] = [
        (passes.ragged, ragged::run),
        (passes.rotary, rotary::run),
        (passes.hoist, hoist::run),
        (passes.affine, affine::run),
        (passes.branches, branches::run),
        (passes.patches, patches::run),
        (passes.join, join::run),
        (passes.tables, tables::run),
        (passes.epilogue, epilogue::run),
    ];
    for (enabled, pass) in table {
        if enabled {
            pass(program);
            program.tidy();
        }
    }
}
