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

/// Which passes to run. All by default; tests compare with each turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Computes each text only up to the pooled token, where nothing after it can matter.
    pub ragged: bool,
    /// Gives the last attention queries only for the pooled token, and computes only that token afterwards.
    pub hoist: bool,
    /// Joins linear layers with the same input.
    pub join: bool,
    /// Folds batch norms and layer scales into the weights before them.
    pub affine: bool,
    /// Rotates heads as the attention reads them.
    pub rotary: bool,
    /// Merges parallel convolutions of one input, and the input itself, into one convolution.
    pub branches: bool,
    /// Turns convolutions that are matrix products into such.
    pub patches: bool,
    /// Merges positions, class token and patch bias into one table; a text's positions go into the embedding.
    pub tables: bool,
    /// Fuses activations, residual sums and gates into the product before them.
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

    /// No pass: one step per operation.
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
