//! Weights and images by formula: each number is a pure function of its key and index.
//!
//! The goldens store no weights. With `seed = fnv1a64(key)`, element `i` is the splitmix64 finalizer of
//! `seed + (i + 1) · 0x9E3779B97F4A7C15`; its offset and amplitude depend on the last part of the key and the rank.

/// Offset and amplitude of a tensor's numbers, and whether draws lose their sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// Center of the range.
    pub offset: f64,
    /// Greatest distance from the center.
    pub amplitude: f64,
    /// Whether only the upper half of the range is used.
    pub absolute: bool,
}

impl Distribution {
    /// Returns the distribution for a state-dict key and shape.
    pub fn of(key: &str, shape: &[usize]) -> Distribution {
        let leaf = key.rsplit('.').next().unwrap_or(key);
        let (offset, amplitude) = match (leaf, shape.len()) {
            ("logit_scale", _) => (2.6592, 0.1),
            ("logit_bias", _) => (-10.0, 0.1),
            ("running_var", _) => (1.0, 0.5),
            ("running_mean", _) => (0.0, 0.1),
            (leaf, _) if leaf.ends_with("bias") => (0.0, 0.1),
            ("weight" | "gamma", 0 | 1) => (1.0, 0.2),
            (_, 0 | 1) => (0.0, 0.5),
            _ => (0.0, (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt()),
        };
        Distribution { offset, amplitude, absolute: leaf == "running_var" }
    }
}

/// Fills `out` (cleared first) with the numbers of a tensor.
pub fn fill(key: &str, shape: &[usize], out: &mut Vec<f32>) {
    draw(key, shape.iter().product(), Distribution::of(key, shape), out);
}

/// Fills `out` with the image for a sample of a batch: `2 · u`, `[3, height, width]`.
pub fn image(sample: usize, size: [usize; 2], out: &mut Vec<f32>) {
    let distribution = Distribution { offset: 0.0, amplitude: 2.0, absolute: false };
    draw(&format!("input.image.{sample}"), 3 * size[0] * size[1], distribution, out);
}

fn draw(key: &str, count: usize, distribution: Distribution, out: &mut Vec<f32>) {
    let Distribution { offset, amplitude, absolute } = distribution;
    let seed = fnv1a64(key);
    out.clear();
    out.reserve_exact(count);
    let uniform = |index: usize| (uniform_bits(seed, index) >> 40) as u32 as f64 / 8_388_608.0 - 1.0;
    if absolute {
        out.extend((0..count).map(|index| (offset + amplitude * uniform(index).abs()) as f32));
    } else {
        out.extend((0..count).map(|index| (offset + amplitude * uniform(index)) as f32));
    }
}

fn fnv1a64(key: &str) -> u64 {
    key.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

fn uniform_bits(seed: u64, index: usize) -> u64 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected numbers come from a separate Python program.
    #[test]
    fn numbers_are_those_of_an_independent_program() {
        let check = |key: &str, shape: &[usize], expected: &[f32]| {
            let mut found = Vec::new();
            fill(key, shape, &mut found);
            assert_eq!(found.len(), shape.iter().product::<usize>(), "{key}");
            assert_eq!(&found[..expected.len()], expected, "{key}");
        };
        check("visual.proj", &[5, 4], &[0.007_167_523_7, -0.040_969_9, -0.701_649_25]);
        check("a.running_var", &[2], &[1.069_018, 1.000_867_1]);
        check("logit_scale", &[], &[2.684_618]);
        check("ln.weight", &[1], &[1.034_475_1]);
        check("ln.bias", &[1], &[-0.025_564_324]);
        check("visual.class_embedding", &[3], &[-0.419_963_54]);
        let mut pixels = Vec::new();
        image(1, [2, 2], &mut pixels);
        assert_eq!(pixels[0], 0.754_073_86);
    }
}
