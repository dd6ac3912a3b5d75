//! Scaled dot-product attention over ragged batches.

use crate::isa::{Ahead, Kernel, MAX_TILE, MAX_TILE_ROWS, Simd, Tile, Widening, load, store};
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::norm::softmax_row;
use crate::product::TileSums;
use crate::rotary::Rotary;
use crate::threads::Kernels;
use std::ops::Range;

/// The shape of an attention: `softmax(scale * q · kᵀ + bias) · v` in each head.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSpec<'a> {
    /// The number of heads.
    pub heads: usize,
    /// Columns of one head in q, k and v.
    pub head_width: usize,
    /// Factor on the products, usually `1 / √head_width`.
    pub scale: f32,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// Added to the scaled products, the same for every sequence.
    pub bias: Option<AttentionBias<'a>>,
    /// Rotates the heads of queries and keys by their positions first.
    pub rotary: Option<Rotary<'a>>,
}

/// An additive bias `[heads, queries, keys]`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionBias<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Query positions covered by the bias.
    pub queries: usize,
    /// Key positions covered by the bias.
    pub keys: usize,
}

/// One sequence of a ragged batch: its rows in the query (and output) and key (and value) matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Rows of q and of the output.
    pub queries: Range<usize>,
    /// Rows of k and v.
    pub keys: Range<usize>,
    /// The position of the first query among the keys; used by the causal mask, the bias and the rotation.
    pub position: usize,
}

impl Sequence {
    /// Returns a sequence whose queries and keys are the same rows.
    pub fn of(rows: Range<usize>) -> Self {
        Self { queries: rows.clone(), keys: rows, position: 0 }
    }

    /// Returns `batch` sequences of `length` rows each, one after another.
    pub fn batch(batch: usize, length: usize) -> Vec<Self> {
        (0..batch).map(|index| Self::of(index * length..(index + 1) * length)).collect()
    }
}

impl Kernels {
    /// Writes the attention of each sequence to its query rows in `out`.
    ///
    /// q, k, v and `out` have `heads * head_width` columns; views into a fused `[rows, 3 * width]` matrix work too. A
    /// query that sees no key yields zeros.
    ///
    /// # Panics
    /// If sizes differ, a sequence is out of range, or the queries of the sequences are out of order.
    pub fn attention(
        &self,
        spec: &AttentionSpec<'_>,
        sequences: &[Sequence],
        q: Matrix<'_>,
        k: Matrix<'_>,
        v: Matrix<'_>,
        out: MatrixMut<'_>,
    ) {
        let columns = spec.heads * spec.head_width;
        for found in [q.columns(), k.columns(), v.columns(), out.columns()] {
            assert_eq!(found, columns, "{} heads of {} columns", spec.heads, spec.head_width);
        }
        assert_eq!((k.rows(), out.rows()), (v.rows(), q.rows()), "keys match values, the output queries");
        let mut last = 0;
        let mut work = 0;
        for Sequence { queries, keys, position } in sequences {
            assert!(last <= queries.start && queries.start <= queries.end, "queries are in order");
            assert!(queries.end <= q.rows() && keys.start <= keys.end && keys.end <= k.rows(), "in range");
            if let Some(bias) = spec.bias {
                assert!(bias.queries >= position + queries.len() && bias.keys >= keys.len(), "bias size");
                assert_eq!(bias.values.len(), spec.heads * bias.queries * bias.keys, "bias size");
            }
            if let Some(rotary) = spec.rotary {
                rotary.check(spec.head_width, keys.len().max(position + queries.len()));
            }
            last = queries.end;
            work += columns * keys.len() * (4 * queries.len() + 16);
        }
        let out = out.share();
        self.parallel(sequences.len() * spec.heads, work, |task| {
            let sequence = &sequences[task / spec.heads];
            let head = task % spec.heads;
            let lanes = self.isa().lanes();
            let keys = sequence.keys.len().next_multiple_of(lanes);
            let width = spec.head_width.next_multiple_of(lanes);
            let turned = spec.rotary.map_or(0, |_| MAX_TILE_ROWS * spec.head_width);
            let sizes = [keys * spec.head_width, sequence.keys.len() * width, MAX_TILE_ROWS * keys, turned];
            self.with_scratch(sizes.iter().sum(), |scratch| {
                let (packed_k, scratch) = scratch.split_at_mut(sizes[0]);
                let (packed_v, scratch) = scratch.split_at_mut(sizes[1]);
                let (scores, turned) = scratch.split_at_mut(sizes[2]);
                let head = Head { spec, sequence, head, q, k, v, out, packed_k, packed_v, scores, turned };
                self.isa().run(head);
            });
        });
    }
}

/// One head of one sequence.
struct Head<'a> {
    spec: &'a AttentionSpec<'a>,
    sequence: &'a Sequence,
    head: usize,
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    /// No other task touches the rows and columns of this sequence and head.
    out: SharedMatrix<'a>,
    /// Panels of keys, `[head_width, keys]` each.
    packed_k: &'a mut [f32],
    /// Panels of columns, `[keys, columns]` each.
    packed_v: &'a mut [f32],
    /// Scores of one tile of queries, `[tile rows, keys rounded up to lanes]`.
    scores: &'a mut [f32],
    /// Rotated queries of one tile, or four rotated keys; empty without a rotation.
    turned: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.pack_keys::<S>();
        self.pack_values::<S>();
        let width = self.spec.head_width;
        let column = self.head * width;
        let queries = self.sequence.queries.clone();
        let mut row = queries.start;
        while row < queries.end {
            let rows = (queries.end - row).min(S::TILE_ROWS);
            let offset = row - queries.start;
            let keys = self.visible(offset + rows - 1);
            self.multiply_keys(simd, row, rows, keys);
            let mut factors = [0.0; MAX_TILE_ROWS];
            for (index, factor) in factors[..rows].iter_mut().enumerate() {
                *factor = self.softmax(simd, offset + index, index, keys);
            }
            let mut sums = TileSums([0.0; MAX_TILE]);
            for (start, vectors) in panels::<S>(width) {
                let b = &self.packed_v[start * self.sequence.keys.len()..];
                let tile = Tile {
                    ahead: Ahead::nothing(b),
                    a: self.scores,
                    a_stride: self.sequence.keys.len().next_multiple_of(S::LANES),
                    rows,
                    b,
                    vectors,
                    depth: keys,
                };
                tile.multiply(Widening::with(simd), &mut sums.0, vectors * S::LANES);
                let columns = (vectors * S::LANES).min(width - start);
                for (index, &factor) in factors[..rows].iter().enumerate() {
                    #[allow(unsafe_code)]
                    // SAFETY: the rows and columns belong to this task only.
                    let part = unsafe { self.out.part(row + index, column + start, columns) };
                    scale(simd, &sums.0[index * vectors * S::LANES..][..columns], factor, part);
                }
            }
            row += rows;
        }
    }
}

impl Head<'_> {
    /// Returns how many keys a query sees, given its index in the sequence.
    #[inline(always)]
    fn visible(&self, query: usize) -> usize {
        let keys = self.sequence.keys.len();
        if self.spec.causal { keys.min(self.sequence.position + query + 1) } else { keys }
    }

    /// Transposes the head's keys into panels.
    ///
    /// Indexed loops, as in `isa/tile.rs`: iterators cost more here than the values.
    #[inline(always)]
    fn pack_keys<S: Simd>(&mut self) {
        let width = self.spec.head_width;
        let keys = self.sequence.keys.clone();
        for (start, vectors) in panels::<S>(keys.len()) {
            let columns = vectors * S::LANES;
            let panel = &mut self.packed_k[start * width..][..columns * width];
            let key = |index: usize| (keys.start + start + index).min(keys.end - 1);
            // Four keys at a time: their values for a column are neighbors in the panel.
            for index in (0..columns).step_by(4) {
                let stored: [&[f32]; 4] = std::array::from_fn(|place| {
                    &self.k.row(key(index + place))[self.head * width..][..width]
                });
                let rows = match self.spec.rotary {
                    None => stored,
                    Some(rotary) => {
                        let turned = &mut self.turned[..4 * width];
                        for (place, row) in stored.iter().enumerate() {
                            let turned = &mut turned[place * width..][..width];
                            rotary.turn(key(index + place) - keys.start, row, turned);
                        }
                        std::array::from_fn(|place| &turned[place * width..][..width])
                    }
                };
                for column in 0..width {
                    let place = &mut panel[column * columns + index..][..4];
                    place[0] = rows[0][column];
                    place[1] = rows[1][column];
                    place[2] = rows[2][column];
                    place[3] = rows[3][column];
                }
            }
        }
    }

    /// Copies the head's values into panels, padded to whole vectors.
    #[inline(always)]
    fn pack_values<S: Simd>(&mut self) {
        let width = self.spec.head_width;
        let keys = self.sequence.keys.clone();
        for (start, vectors) in panels::<S>(width) {
            let columns = vectors * S::LANES;
            let taken = columns.min(width - start);
            let panel = &mut self.packed_v[start * keys.len()..][..keys.len() * columns];
            for (row, key) in panel.chunks_exact_mut(columns).zip(keys.clone()) {
                row[..taken].copy_from_slice(&self.v.row(key)[self.head * width + start..][..taken]);
                row[taken..].fill(0.0);
            }
        }
    }

    /// Writes the products of a tile of queries and the first `keys` keys to `scores`.
    #[inline(always)]
    fn multiply_keys<S: Simd>(&mut self, simd: S, row: usize, rows: usize, keys: usize) {
        let width = self.spec.head_width;
        let stride = self.sequence.keys.len().next_multiple_of(S::LANES);
        let (mut a, mut a_stride) = (&self.q.rows_from(row)[self.head * width..], self.q.stride());
        if let Some(rotary) = self.spec.rotary {
            let position = self.sequence.position + row - self.sequence.queries.start;
            for (index, turned) in self.turned.chunks_exact_mut(width).enumerate().take(rows) {
                rotary.turn(position + index, &a[index * a_stride..][..width], turned);
            }
            (a, a_stride) = (&*self.turned, width);
        }
        for (start, vectors) in panels::<S>(self.sequence.keys.len()) {
            if start >= keys {
                return;
            }
            let b = &self.packed_k[start * width..];
            let tile = Tile { ahead: Ahead::nothing(b), a, a_stride, rows, b, vectors, depth: width };
            tile.multiply(Widening::with(simd), &mut self.scores[start..], stride);
        }
    }

    /// Turns a row of scores into unnormalized weights and returns the factor that normalizes them.
    ///
    /// Keys hidden from this query, but visible to others in its tile, get weight zero.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, simd: S, query: usize, index: usize, keys: usize) -> f32 {
        let visible = self.visible(query);
        let stride = self.sequence.keys.len().next_multiple_of(S::LANES);
        let row = &mut self.scores[index * stride..][..keys];
        let (row, hidden) = row.split_at_mut(visible);
        hidden.fill(0.0);
        let bias = self.spec.bias.map(|bias| {
            let start = (self.head * bias.queries + self.sequence.position + query) * bias.keys;
            &bias.values[start..][..visible]
        });
        softmax_row(simd, row, self.spec.scale, bias)
    }
}

/// Multiplies values by a factor.
#[inline(always)]
fn scale<S: Simd>(simd: S, values: &[f32], factor: f32, out: &mut [f32]) {
    let factor = simd.splat(factor);
    let mut start = 0;
    while start < out.len() {
        let end = out.len().min(start + S::LANES);
        store(simd, &mut out[start..end], simd.mul(load(simd, &values[start..end]), factor));
        start = end;
    }
}

/// Splits columns into panels and yields the first column and the number of vectors of each.
#[inline(always)]
fn panels<S: Simd>(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let width = S::PANEL_VECTORS * S::LANES;
    (0..columns)
        .step_by(width)
        .map(move |start| (start, (columns - start).div_ceil(S::LANES).min(S::PANEL_VECTORS)))
}
