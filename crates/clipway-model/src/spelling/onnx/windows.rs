//! Attention within windows.

use super::emit::Value;
use super::lowering::Lowering;
use super::recipe::Recipe;
use crate::graph::{WindowTable, Windows};

/// Added to the score of a query and a key that were not neighbors before the shift, as in timm.
const APART: f64 = -100.0;

impl Lowering<'_> {
    /// Attends within windows; `width` is that of the result.
    pub fn window_attention(
        &mut self,
        packed: &Value,
        width: usize,
        heads: usize,
        scales: bool,
        windows: &Windows,
        table: WindowTable,
    ) -> Value {
        let (area, count, head) = (windows.area(), windows.count(), width / heads);
        let factor = scales.then(|| 1.0 / (head as f64).sqrt());
        let [h, a, n] = [heads, area, count].map(|number| number as i64);
        let apart = self.emit.reshape(packed, &[-1, a, 3 * width as i64]);
        let [q, k, v] = self.split(&apart);
        let scores = self.scores([q, k], [heads, head], factor);
        let recipe = Recipe::Window { table, window: windows.window };
        let bias = self.weight(&self.name(table.table, ".scores"), &[1, heads, area, area], recipe);
        let mut scores = self.emit.node("Add", &[&scores, &bias], vec![]);
        if windows.shift != [0, 0] {
            let mask = self.shared(format!("apart {windows:?}"), |this| this.regions(windows));
            let by_window = self.emit.reshape(&scores, &[-1, n, h, a, a]);
            let masked = self.emit.node("Add", &[&by_window, &mask], vec![]);
            scores = self.emit.reshape(&masked, &[-1, h, a, a]);
        }
        self.mix(&scores, &v, [heads, head], &[-1, n * a, width as i64])
    }

    /// `[1, windows, 1, queries, keys]`: lowers the scores of pairs that were not neighbors.
    fn regions(&mut self, windows: &Windows) -> Value {
        let area = windows.area();
        let regions = windows.regions();
        let pairs = regions.chunks_exact(area).flat_map(|regions| {
            let pair = |query| regions.iter().map(move |key| if query == key { 0.0 } else { APART });
            regions.iter().flat_map(pair)
        });
        let shape = [1, windows.count(), 1, area, area];
        let recipe = Recipe::Numbers(pairs.collect());
        self.emit.tensor("windows.apart", self.float, &shape, recipe)
    }
}
