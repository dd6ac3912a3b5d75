//! Images and texts to verify with where the user gives none: drawn by rule, the same on every machine.

use crate::image::{Image, Samples};

/// Texts of several lengths and scripts, with capitals and punctuation: a folder that cleans texts otherwise is found by
/// them.
pub const TEXTS: [&str; 8] = [
    "a photo of a cat",
    "a diagram",
    "two people riding bicycles along a river at sunset, seen from behind",
    "A Black and White portrait of an OLD sailor",
    "red",
    "the quick brown fox jumps over the lazy dog; 1234567890 & more, with punctuation: (yes) [no]?",
    "un château sur la colline, 山の上の城",
    "a close-up of a circuit board with green and gold traces, highly detailed, macro photography, studio lighting",
];

/// Sizes, width and height: wide, tall, square, small, and one that needs no resizing at 224.
const SIZES: [(usize, usize); 6] = [(320, 240), (200, 301), (224, 224), (96, 64), (256, 256), (431, 173)];

/// Images that differ in color, structure, size and shape, with a name for each.
pub fn images() -> Vec<(String, Image)> {
    SIZES
        .iter()
        .enumerate()
        .map(|(index, &(width, height))| {
            let mut data = Vec::with_capacity(width * height * 3);
            for y in 0..height {
                for x in 0..width {
                    data.extend(pixel(index, [x * 256 / width, y * 256 / height]));
                }
            }
            let image =
                Image { width, height, orientation: None, transparency: None, samples: Samples::Rgb(data) };
            (format!("probe {index} ({width}x{height})"), image)
        })
        .collect()
}

/// Token ids `[texts, context]` for a model whose tokenizer is not there: any ids below the last one, which ends each
/// text at another place and is repeated to the end.
pub fn token_ids(texts: usize, [context, vocabulary]: [usize; 2]) -> Vec<i64> {
    let last = vocabulary.saturating_sub(1);
    let mut ids = Vec::with_capacity(texts * context);
    for text in 0..texts {
        let end = 2 + text * context.saturating_sub(3) / texts.max(1);
        ids.extend((0..context).map(|position| {
            let [a, b, _] = noise(text * context + position);
            let id = if position < end { usize::from(a) * 256 + usize::from(b) } else { last };
            (id % vocabulary.max(1)) as i64
        }));
    }
    ids
}

/// Color of an image at a point, both coordinates from 0 to 255.
fn pixel(image: usize, [x, y]: [usize; 2]) -> [u8; 3] {
    let disc = |cx: i64, cy: i64, r: i64| (x as i64 - cx).pow(2) + (y as i64 - cy).pow(2) < r * r;
    match image {
        0 => [x as u8, y as u8, 128],
        1 if disc(128, 100, 70) => [220, 40, 30],
        1 => [240, 240, 230],
        2 if (x / 32 + y / 32) % 2 == 0 => [20, 20, 20],
        2 => [250, 250, 250],
        3 => noise(x * 256 + y),
        4 if y > 150 => [40, 120, 40],
        4 if disc(190, 60, 28) => [255, 240, 90],
        4 => [110, 170, 240],
        _ => {
            let [r, g, b] = noise(x / 16 * 16);
            if y % 64 < 40 { [r, g, b] } else { [b / 2, r / 2, g / 2] }
        }
    }
}

/// Even noise: three bytes of a number's hash (splitmix64's finaliser).
fn noise(seed: usize) -> [u8; 3] {
    let mut z = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let [a, b, c, ..] = (z ^ (z >> 31)).to_le_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_texts_end_at_different_places() {
        let ids = token_ids(4, [16, 100]);
        assert_eq!(ids.len(), 64);
        assert!(ids.iter().all(|id| (0..100).contains(id)));
        let ends: Vec<usize> =
            ids.chunks(16).map(|text| text.iter().rposition(|id| *id != 99).unwrap() + 1).collect();
        assert_eq!(ends, [2, 5, 8, 11]);
    }

    #[test]
    fn images_have_their_sizes_and_differ() {
        let images = images();
        assert_eq!(images.len(), SIZES.len());
        for (index, (_, image)) in images.iter().enumerate() {
            let Samples::Rgb(data) = &image.samples else { panic!("not RGB") };
            assert_eq!(data.len(), image.width * image.height * 3);
            assert!(data.iter().any(|&b| b != data[0]), "image {index} is of one color");
        }
    }
}
