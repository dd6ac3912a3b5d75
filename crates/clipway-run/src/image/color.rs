//! Conversions between color modes, with Pillow's arithmetic.

/// Multiplies two bytes as fractions of 255, rounded.
fn multiply(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// Multiplies the color channels of pixels by their alpha, the last channel.
pub(super) fn premultiply<const CHANNELS: usize>(samples: &[u8]) -> Vec<u8> {
    let mut out = samples.to_vec();
    for pixel in out.as_chunks_mut::<CHANNELS>().0 {
        let alpha = pixel[CHANNELS - 1];
        for value in &mut pixel[..CHANNELS - 1] {
            *value = multiply(*value, alpha);
        }
    }
    out
}

/// Divides the color channels of pixels by their alpha, the last channel.
pub(super) fn unpremultiply<const CHANNELS: usize>(samples: &mut [u8]) {
    for pixel in samples.as_chunks_mut::<CHANNELS>().0 {
        let alpha = pixel[CHANNELS - 1];
        if alpha != 0 && alpha != 255 {
            for value in &mut pixel[..CHANNELS - 1] {
                *value = (255 * u32::from(*value) / u32::from(alpha)).min(255) as u8;
            }
        }
    }
}

/// Converts amounts of ink to light.
pub(super) fn cmyk_to_rgb(pixel: [u8; 4]) -> [u8; 3] {
    let light = 255 - pixel[3];
    [pixel[0], pixel[1], pixel[2]].map(|ink| light - multiply(ink, light))
}

/// Converts a 16-bit sample to a byte: values above 255 become white.
pub(super) fn gray16_to_byte(value: u16) -> u8 {
    value.min(255) as u8
}

/// Converts an integer sample to a byte, clamping it.
pub(super) fn integer_to_byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// Converts a float sample to a byte, clamping and truncating it; NaN becomes 0.
pub(super) fn real_to_byte(value: f32) -> u8 {
    value as u8
}
