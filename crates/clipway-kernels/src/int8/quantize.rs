//! Quantization of f32 rows to int8, one scale per row.

/// The bits of infinity; those of NaN are greater.
const INFINITE: u32 = 0x7f80_0000;

/// Added to a number below 2^22, leaves the nearest integer, ties to even, in the low bits.
const MAGIC: f32 = (3_u32 << 22) as f32;

/// The greatest quantized value; -128 is unused, so that the range is symmetric.
const MOST: f32 = 127.0;

/// The element type of quantized inputs.
pub(super) trait Quantized: Copy {
    /// Zero.
    const ZERO: Self;

    /// Converts a value between -127 and 127.
    fn of(value: i8) -> Self;
}

impl Quantized for i8 {
    const ZERO: i8 = 0;

    #[inline(always)]
    fn of(value: i8) -> i8 {
        value
    }
}

/// The value plus 128.
impl Quantized for u8 {
    const ZERO: u8 = 128;

    #[inline(always)]
    fn of(value: i8) -> u8 {
        value as u8 ^ 0x80
    }
}

impl Quantized for i16 {
    const ZERO: i16 = 0;

    #[inline(always)]
    fn of(value: i8) -> i16 {
        i16::from(value)
    }
}

/// Quantizes a row and returns its scale; `out` is zero beyond the row.
///
/// If a row holds a NaN or an infinity, its scale is NaN, and so are its products. A row counts as zero if its values
/// are so small that 127 divided by the greatest overflows f32.
#[inline(always)]
pub(super) fn quantize<T: Quantized>(row: &[f32], out: &mut [T]) -> f32 {
    let magnitude = |value: &f32| value.to_bits() & 0x7fff_ffff;
    let most = row.iter().fold(0, |most: u32, value| most.max(magnitude(value)));
    let inverse = MOST / f32::from_bits(most);
    if most >= INFINITE || !inverse.is_finite() {
        out.fill(T::ZERO);
        return if most >= INFINITE { f32::NAN } else { 0.0 };
    }
    let (values, rest) = out.split_at_mut(row.len());
    for (place, value) in values.iter_mut().zip(row) {
        *place = T::of((value * inverse + MAGIC).to_bits() as u8 as i8);
    }
    rest.fill(T::ZERO);
    f32::from_bits(most) / MOST
}

/// Quantizes the weights of one output to -127..=127 and returns their scale: the greatest magnitude over 127.
///
/// Returns `None` if a weight is NaN or infinite.
///
/// # Panics
/// If `out` and `row` differ in length.
pub fn quantize_weights(row: &[f32], out: &mut [i8]) -> Option<f32> {
    assert_eq!(row.len(), out.len(), "a place for each weight");
    Some(quantize(row, out)).filter(|scale| !scale.is_nan())
}
