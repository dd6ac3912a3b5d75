//! Resizing passes, bit for bit against one sum per byte.

use clipway_kernels::{ByteTaps, Isa, resize_columns, resize_rows};

/// A generator of pseudorandom integers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    /// Windows of up to `most` inputs of `side`, with weights of both signs, from -1 to 2.
    fn taps(&mut self, side: usize, outputs: usize, most: usize) -> Vec<(usize, Vec<i32>)> {
        let window = |draw: &mut Self| {
            let count = 1 + draw.below(most.min(side) as u64) as usize;
            let first = draw.below((side - count + 1) as u64) as usize;
            let weights = (0..count).map(|_| draw.below(3 << 22) as i32 - (1 << 22));
            (first, weights.collect())
        };
        (0..outputs).map(|_| window(self)).collect()
    }
}

fn packed(taps: &[(usize, Vec<i32>)]) -> ByteTaps {
    let mut out = ByteTaps::new();
    taps.iter().for_each(|(first, weights)| out.push(*first, weights.iter().copied()));
    out
}

/// The sum of one output, in the given order of taps.
fn sum(weights: &[i32], byte: impl Fn(usize) -> u8) -> u8 {
    let terms = weights.iter().enumerate().map(|(tap, &weight)| i64::from(byte(tap)) * i64::from(weight));
    // Pillow's sum is 32 bits wide and starts at one half.
    let wrapped = (terms.sum::<i64>() + (1 << 21)) as i32;
    (wrapped >> 22).clamp(0, 255) as u8
}

fn check_rows<const CHANNELS: usize>(draw: &mut Draw, width: usize, height: usize, most: usize) {
    let rows = draw.bytes(width * height * CHANNELS);
    let taps = draw.taps(width, 7, most);
    let mut expected = Vec::new();
    for row in rows.chunks(width * CHANNELS) {
        for (first, weights) in &taps {
            let channels =
                (0..CHANNELS).map(|channel| sum(weights, |tap| row[(first + tap) * CHANNELS + channel]));
            expected.extend(channels);
        }
    }
    for isa in Isa::available() {
        let found = resize_rows::<CHANNELS>(isa, &rows, width, &packed(&taps));
        assert_eq!(found, expected, "{isa}: {width} x {height}, {CHANNELS} channels, up to {most} taps");
    }
}

#[test]
fn rows_are_exact() {
    let mut draw = Draw(1);
    for (width, most) in [(1, 1), (2, 2), (5, 5), (16, 7), (40, 17), (100, 60), (700, 690)] {
        for height in [1, 2, 3, 4, 5, 9] {
            check_rows::<1>(&mut draw, width, height, most);
            check_rows::<2>(&mut draw, width, height, most);
            check_rows::<3>(&mut draw, width, height, most);
            check_rows::<4>(&mut draw, width, height, most);
        }
    }
}

#[test]
fn columns_are_exact() {
    let mut draw = Draw(2);
    for (stride, columns) in [(1, 0..1), (63, 0..63), (64, 0..64), (200, 3..200), (200, 70..199)] {
        for (height, most) in [(1, 1), (9, 9), (50, 33)] {
            let skipped = draw.below(height as u64) as usize;
            let samples = draw.bytes(stride * height);
            let taps = draw.taps(height - skipped, 6, most);
            let taps: Vec<_> = taps.into_iter().map(|(first, weights)| (first + skipped, weights)).collect();
            let samples = &samples[skipped * stride..];
            let expected: Vec<u8> = taps
                .iter()
                .flat_map(|(first, weights)| {
                    let columns = columns.clone();
                    columns.map(move |column| {
                        sum(weights, |tap| samples[(first + tap - skipped) * stride + column])
                    })
                })
                .collect();
            for isa in Isa::available() {
                let found = resize_columns(isa, samples, stride, columns.clone(), skipped, &packed(&taps));
                assert_eq!(found, expected, "{isa}: {columns:?} of {stride}, {height} rows");
            }
        }
    }
}

#[test]
#[should_panic(expected = "taps up to 6 of 5 pixels")]
fn taps_outside_a_row_are_refused() {
    resize_rows::<3>(Isa::Portable, &[0; 15], 5, &packed(&[(4, vec![1, 1])]));
}
