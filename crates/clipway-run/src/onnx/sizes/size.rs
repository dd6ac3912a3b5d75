//! What is known of a value of a graph.

/// Values with more elements are not computed here. No shape has more dimensions, and no list of places is longer.
pub(super) const MOST_INTEGERS: usize = 1024;

/// Lengths that a graph leaves to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxLengths {
    /// Height and width of images.
    pub image: [usize; 2],
    /// Tokens of a text.
    pub context: usize,
}

impl Default for OnnxLengths {
    /// The sizes of the first CLIP: 224 pixels, 77 tokens.
    fn default() -> OnnxLengths {
        OnnxLengths { image: [224, 224], context: 77 }
    }
}

/// A value of a graph, as far as it is known without running anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Lengths of its dimensions.
    pub(super) dims: Option<Vec<u64>>,
    /// Elements; where the dimensions are unknown, those of the largest input.
    pub(super) elements: u64,
    /// The elements of a small tensor of integers.
    pub(super) integers: Option<Vec<i64>>,
    /// Whether it depends on nothing but what is stored in the file.
    pub(super) is_constant: bool,
}

/// The product of some lengths, or the largest number if it is larger.
pub(super) fn product<'a>(lengths: impl IntoIterator<Item = &'a u64>) -> u64 {
    lengths.into_iter().fold(1, |product, length| product.saturating_mul(*length))
}

impl Size {
    pub(super) fn of(dims: Vec<u64>) -> Size {
        let elements = product(&dims);
        Size { dims: Some(dims), elements, ..Size::default() }
    }

    pub(super) fn unknown(elements: u64) -> Size {
        Size { elements, ..Size::default() }
    }

    pub(super) fn with(mut self, integers: Option<Vec<i64>>) -> Size {
        self.integers = integers.filter(|integers| integers.len() as u64 == self.elements);
        self
    }
}
