//! Windows of a map, and merging of patches.

use super::super::operation::Operation;
use super::super::windows::{WindowTable, Windows};
use super::super::{Dim, ValueId};
use super::{Built, GraphBuilder, GraphError};

impl GraphBuilder<'_> {
    /// Reorders the tokens of a map window by window.
    pub fn windows(&mut self, x: ValueId, windows: Windows) -> Built {
        self.arranged(Operation::Windows(windows), x, windows)
    }

    /// Reorders tokens in window order back to map order.
    pub fn unwindows(&mut self, x: ValueId, windows: Windows) -> Built {
        self.arranged(Operation::Unwindows(windows), x, windows)
    }

    /// Merges each 2x2 patch of a map into one token, `[batch, height · width, channels]` to `[batch, height / 2 ·
    /// width / 2, 4 · channels]`.
    pub fn merge_patches(&mut self, x: ValueId, [height, width]: [usize; 2]) -> Built {
        let operation = Operation::MergePatches { size: [height, width] };
        match *self.shape(x) {
            [batch, Dim::Fixed(tokens), Dim::Fixed(channels)]
                if tokens == height * width && height % 2 == 0 && width % 2 == 0 =>
            {
                let shape = vec![batch, Dim::Fixed(tokens / 4), Dim::Fixed(4 * channels)];
                Ok(self.push(operation, vec![x], shape))
            }
            ref other => Err(self.wrong(&operation, "tokens of a map with even sides", other)),
        }
    }

    /// Attends within windows: queries, keys and values side by side, tokens in window order.
    pub fn window_attention(
        &mut self,
        packed: ValueId,
        heads: usize,
        windows: Windows,
        table: WindowTable,
    ) -> Built {
        let operation = Operation::WindowAttention { heads, windows, table };
        self.check_windows(&operation, packed, &windows)?;
        let width = self.width(packed).filter(|w| heads > 0 && *w > 0 && w % (3 * heads) == 0);
        let Some(width) = width.map(|w| w / 3) else {
            return Err(self.wrong(
                &operation,
                format!("a width divisible by {heads} heads"),
                self.width(packed),
            ));
        };
        let [height, breadth] = table.window;
        let expected = [(2 * height - 1) * (2 * breadth - 1), heads];
        let found = &self.parameters.get(table.table).shape;
        if *found != expected {
            return Err(self.wrong(&operation, expected, found));
        }
        let mut shape = self.shape(packed).to_vec();
        *shape.last_mut().expect("a value has dimensions") = Dim::Fixed(width);
        Ok(self.push(operation, vec![packed], shape))
    }

    /// Checks that windows divide their map and that shifts stay within a window.
    fn check_windows(&self, operation: &Operation, x: ValueId, windows: &Windows) -> Result<(), GraphError> {
        let Windows { map, window, shift } = *windows;
        let cut = (0..2)
            .all(|axis| window[axis] > 0 && map[axis] % window[axis] == 0 && shift[axis] < window[axis]);
        match *self.shape(x) {
            [_, Dim::Fixed(tokens), _] if cut && tokens == map[0] * map[1] => Ok(()),
            ref other => Err(self.wrong(operation, "tokens of a map divisible into windows", other)),
        }
    }

    fn arranged(&mut self, operation: Operation, x: ValueId, windows: Windows) -> Built {
        self.check_windows(&operation, x, &windows)?;
        Ok(self.push_like(operation, vec![x], x))
    }
}
