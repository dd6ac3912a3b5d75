//! Which part of a value is used.

/// Which tokens of a value the operations after it use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand<Pool> {
    /// None.
    Nothing,
    /// The one of each sample that a pool selects.
    Pooled(Pool),
    /// Every one, or several.
    All,
}

impl<Pool: Copy + PartialEq> Demand<Pool> {
    /// Adds what another operation uses.
    pub fn join(&mut self, other: Demand<Pool>) {
        *self = match (*self, other) {
            (Demand::Nothing, demand) | (demand, Demand::Nothing) => demand,
            (a, b) if a == b => a,
            _ => Demand::All,
        };
    }
}
