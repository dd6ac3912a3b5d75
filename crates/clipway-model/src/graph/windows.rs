//! Windows of a map, as in Swin's attention (<https://arxiv.org/abs/2103.14030>).

use super::parameters::ParameterId;

/// How a map is divided into windows after a cyclic shift.
///
/// The map's places, the windows, and the places of a window are each numbered in row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Height and width of the map, divisible by the window's.
    pub map: [usize; 2],
    /// Height and width of a window.
    pub window: [usize; 2],
    /// How far the map is cyclically shifted up and to the left before it is divided.
    pub shift: [usize; 2],
}

/// Swin's position bias of a window: one row per offset between query and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTable {
    /// `[(2 · height - 1) · (2 · width - 1), heads]`, for the height and width below.
    pub table: ParameterId,
    /// Height and width of the windows that the table was made for; it is resampled for others.
    pub window: [usize; 2],
}

impl Windows {
    /// Number of places in a window.
    pub fn area(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.map[0] * self.map[1] / self.area()
    }

    /// For each place of each window, in window order, its place in the map.
    pub fn order(&self) -> Vec<usize> {
        let source = |place: usize, axis: usize| (place + self.shift[axis]) % self.map[axis];
        self.turned().map(|[row, column]| source(row, 0) * self.map[1] + source(column, 1)).collect()
    }

    /// For each place of the map, its position in window order: the inverse of [`Windows::order`].
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.map[0] * self.map[1]];
        self.order().into_iter().enumerate().for_each(|(at, place)| inverse[place] = at);
        inverse
    }

    /// For each place of each window, the part of the map it came from before the shift: places that were not neighbors
    /// have different numbers.
    pub fn regions(&self) -> Vec<usize> {
        let region = |place: usize, axis: usize| match self.map[axis] - place {
            _ if self.shift[axis] == 0 => 0,
            left if left > self.window[axis] => 0,
            left if left > self.shift[axis] => 1,
            _ => 2,
        };
        self.turned().map(|[row, column]| 3 * region(row, 0) + region(column, 1)).collect()
    }

    /// Row and column in the shifted map of each place of each window.
    fn turned(&self) -> impl Iterator<Item = [usize; 2]> {
        let Windows { map, window, .. } = *self;
        let across = map[1] / window[1];
        (0..self.count()).flat_map(move |index| {
            let first = [index / across * window[0], index % across * window[1]];
            (0..window[0] * window[1])
                .map(move |place| [first[0] + place / window[1], first[1] + place % window[1]])
        })
    }
}

/// For each query and key of a grid, the offset from key to query as one number: an index into a table `[(2 · height -
/// 1) · (2 · width - 1), …]`, in row-major order.
pub fn grid_steps([height, width]: [usize; 2]) -> Vec<usize> {
    let places = height * width;
    let mut steps = Vec::with_capacity(places * places);
    for query in 0..places {
        for key in 0..places {
            let down = query / width + height - 1 - key / width;
            let right = query % width + width - 1 - key % width;
            steps.push(down * (2 * width - 1) + right);
        }
    }
    steps
}

/// For each merged token, its four places in a map of this size: top left, bottom left, top right, bottom right.
pub fn merged_patches([height, width]: [usize; 2]) -> Vec<usize> {
    let patch = |index: usize| {
        let (row, column) = (index / (width / 2) * 2, index % (width / 2) * 2);
        [[0, 0], [1, 0], [0, 1], [1, 1]].map(|[down, right]| (row + down) * width + column + right)
    };
    (0..height / 2 * (width / 2)).flat_map(patch).collect()
}

#[cfg(test)]
mod tests {
    use super::{Windows, grid_steps, merged_patches};

    #[test]
    fn a_map_is_turned_and_cut() {
        let windows = Windows { map: [4, 4], window: [2, 2], shift: [0, 0] };
        assert_eq!(windows.order(), [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
        assert_eq!(windows.regions(), [0; 16]);
        let windows = Windows { shift: [1, 1], ..windows };
        assert_eq!(windows.order(), [5, 6, 9, 10, 7, 4, 11, 8, 13, 14, 1, 2, 15, 12, 3, 0]);
        // timm 1.0.31's numbers for such a map, window by window.
        assert_eq!(windows.regions(), [0, 0, 0, 0, 1, 2, 1, 2, 3, 3, 6, 6, 4, 5, 7, 8]);
        let (order, inverse) = (windows.order(), windows.inverse());
        assert!((0..16).all(|place| order[inverse[place]] == place));
    }

    #[test]
    fn steps_are_those_of_timm() {
        let expected = [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4];
        assert_eq!(grid_steps([2, 2]), expected);
        assert_eq!(merged_patches([2, 4]), [0, 4, 1, 5, 2, 6, 3, 7]);
    }
}
