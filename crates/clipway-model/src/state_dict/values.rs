//! Conversion of numbers between dtypes.

use clipway_formats::Dtype;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Number of elements converted at a time, in buffers that fit the first-level cache.
const BLOCK: usize = 1024;

/// Converts little-endian elements to f32. Halves and 8-bit floats are exact; f64 and integers are rounded to nearest.
///
/// # Panics
/// If `bytes` does not hold as many elements as `out`.
pub fn cast_to_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() * dtype.size(), "as many elements as places for them");
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => {
            let mut block = [f16::ZERO; BLOCK];
            for (bytes, out) in bytes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
                each(bytes, &mut block[..out.len()], f16::from_le_bytes);
                block[..out.len()].convert_to_f32_slice(out);
            }
        }
        Dtype::BF16 => {
            each(bytes, out, |b: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16));
        }
        Dtype::F8E4M3 => each(bytes, out, |[b]| float8(b, 4, 7, false)),
        Dtype::F8E5M2 => each(bytes, out, |[b]| float8(b, 5, 15, true)),
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        Dtype::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        Dtype::U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        Dtype::U16 => each(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::U8 => each(bytes, out, |[b]| f32::from(b)),
        Dtype::Bool => each(bytes, out, |[b]| f32::from(u8::from(b != 0))),
    }
}

/// Appends `values` to `out` as little-endian f32, f16 or bf16, rounded to nearest with ties to even; NaN stays NaN.
/// Returns how many finite values became infinite.
///
/// # Panics
/// If `dtype` is another one.
pub fn cast_from_f32(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) -> usize {
    out.reserve(values.len() * dtype.size());
    match dtype {
        Dtype::F32 => {
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            0
        }
        Dtype::F16 => {
            let mut block = [f16::ZERO; BLOCK];
            for values in values.chunks(BLOCK) {
                let block = &mut block[..values.len()];
                block.convert_from_f32_slice(values);
                out.extend(block.iter().flat_map(|value| value.to_le_bytes()));
            }
            count_beyond(values, F16_OVERFLOW)
        }
        Dtype::BF16 => {
            out.extend(values.iter().flat_map(|&value| to_bf16(value).to_le_bytes()));
            count_beyond(values, BF16_OVERFLOW)
        }
        other => panic!("weights are never cast to {other}"),
    }
}

/// Bits of the smallest magnitude that rounds to infinity in f16: 65520.
pub(crate) const F16_OVERFLOW: u32 = 0x477f_f000;

/// Bits of the smallest magnitude that rounds to infinity in bf16.
const BF16_OVERFLOW: u32 = 0x7f7f_8000;

/// Counts finite values with at least this magnitude, given as bits.
pub(crate) fn count_beyond(values: &[f32], least: u32) -> usize {
    let infinite = f32::INFINITY.to_bits();
    let beyond = |value: &f32| {
        let magnitude = value.to_bits() & 0x7fff_ffff;
        u32::from(magnitude >= least) & u32::from(magnitude < infinite)
    };
    // Blocks are short enough that a 32-bit count cannot overflow, so the loop vectorizes.
    values.chunks(1 << 16).map(|block| block.iter().map(beyond).sum::<u32>() as usize).sum()
}

/// Rounds to bf16, ties to even; a NaN becomes quiet. Branch-free, so that it vectorizes.
fn to_bf16(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if value.is_nan() { quiet } else { rounded } as u16)
}

/// An 8-bit float. With `infinities`, the highest exponent means infinity or NaN; without, only all ones is NaN.
fn float8(byte: u8, exponent_bits: u32, bias: i32, infinities: bool) -> f32 {
    let fraction_bits = 7 - exponent_bits;
    let exponent = i32::from(byte & 0x7f) >> fraction_bits;
    let fraction = f32::from(byte & ((1 << fraction_bits) - 1));
    let steps = (1 << fraction_bits) as f32;
    let magnitude = match (infinities && exponent == (1 << exponent_bits) - 1, byte & 0x7f) {
        (true, _) if fraction == 0.0 => f32::INFINITY,
        (true, _) => f32::NAN,
        (false, 0x7f) => f32::NAN,
        _ if exponent == 0 => fraction / steps * f32::powi(2.0, 1 - bias),
        _ => (1.0 + fraction / steps) * f32::powi(2.0, exponent - bias),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

fn each<const N: usize, T>(bytes: &[u8], out: &mut [T], convert: impl Fn([u8; N]) -> T) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (out, element) in out.iter_mut().zip(elements) {
        *out = convert(*element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even_and_counts_overflow() {
        let check = |dtype, value: f32, bits: u16, overflow| {
            let mut out = Vec::new();
            assert_eq!(cast_from_f32(dtype, &[value], &mut out), overflow, "{value} as {dtype}");
            assert_eq!(u16::from_le_bytes([out[0], out[1]]), bits, "{value} as {dtype}");
        };
        check(Dtype::F16, 1.0, 0x3c00, 0);
        check(Dtype::F16, 1.0 + 1.0 / 2048.0, 0x3c00, 0);
        check(Dtype::F16, 1.0 + 3.0 / 2048.0, 0x3c02, 0);
        check(Dtype::F16, 65504.0, 0x7bff, 0);
        check(Dtype::F16, 65519.996, 0x7bff, 0);
        check(Dtype::F16, 65520.0, 0x7c00, 1);
        check(Dtype::F16, -1e9, 0xfc00, 1);
        check(Dtype::F16, f32::INFINITY, 0x7c00, 0);
        check(Dtype::F16, 5.96e-8, 0x0001, 0);
        check(Dtype::BF16, 1.0 + 1.0 / 256.0, 0x3f80, 0);
        check(Dtype::BF16, 1.0 + 3.0 / 256.0, 0x3f82, 0);
        check(Dtype::BF16, f32::MAX, 0x7f80, 1);
        check(Dtype::BF16, f32::from_bits(0x7f7f_7fff), 0x7f7f, 0);
        check(Dtype::BF16, f32::NEG_INFINITY, 0xff80, 0);
        check(Dtype::BF16, f32::from_bits(0x7f80_0001), 0x7fc0, 0);
        let mut out = Vec::new();
        cast_from_f32(Dtype::F16, &[f32::NAN], &mut out);
        assert!(f16::from_le_bytes([out[0], out[1]]).is_nan());
    }

    #[test]
    fn halves_come_back_exactly() {
        for dtype in [Dtype::F16, Dtype::BF16] {
            for bits in 0..=u16::MAX {
                let mut value = [0.0];
                cast_to_f32(dtype, &bits.to_le_bytes(), &mut value);
                let mut back = Vec::new();
                assert_eq!(cast_from_f32(dtype, &value, &mut back), 0);
                if !value[0].is_nan() {
                    assert_eq!(back, bits.to_le_bytes(), "{bits:04x} as {dtype}");
                }
            }
        }
    }

    #[test]
    fn reads_8_bit_floats_and_integers() {
        let check = |dtype, bytes: &[u8], expected: f32| {
            let mut value = [7.0];
            cast_to_f32(dtype, bytes, &mut value);
            assert_eq!(value[0], expected, "{bytes:x?} as {dtype}");
        };
        check(Dtype::F8E4M3, &[0x38], 1.0);
        check(Dtype::F8E4M3, &[0x7e], 448.0);
        check(Dtype::F8E4M3, &[0x81], -0.001953125);
        check(Dtype::F8E5M2, &[0x3c], 1.0);
        check(Dtype::F8E5M2, &[0xfc], f32::NEG_INFINITY);
        check(Dtype::F8E5M2, &[0x01], 1.525_878_9e-5);
        check(Dtype::I16, &[0xff, 0xff], -1.0);
        check(Dtype::Bool, &[1], 1.0);
        check(Dtype::F64, &0.1f64.to_le_bytes(), 0.1);
        let mut value = [0.0];
        cast_to_f32(Dtype::F8E4M3, &[0x7f], &mut value);
        assert!(value[0].is_nan());
    }
}
