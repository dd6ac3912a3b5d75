//! Preprocesses many images at once.

use rayon::prelude::*;

use super::{DecodeLimits, ImageError, Preprocess, preprocess};

/// Preprocesses images on the threads of the current rayon pool, `[count, 3, height, width]` into `out`.
///
/// `read` returns the bytes of the image at an index. It is called on the thread that decodes them, so no more files
/// and decoded images are in memory than the pool has threads. An image that fails leaves zeros, and its error is
/// returned at its index; the rest are still processed.
///
/// # Errors
/// [`ImageError::BufferLength`] if `out` does not hold `count` images, [`ImageError::Setting`] for invalid settings.
pub fn preprocess_batch<B, E, R>(
    count: usize,
    read: R,
    settings: &Preprocess,
    limits: &DecodeLimits,
    out: &mut [f32],
) -> Result<Vec<Result<(), E>>, ImageError>
where
    B: AsRef<[u8]>,
    E: From<ImageError> + Send,
    R: Fn(usize) -> Result<B, E> + Sync,
{
    settings.validate()?;
    let values = settings.pixel_values();
    let expected = count.saturating_mul(values);
    if out.len() != expected {
        return Err(ImageError::BufferLength { expected, found: out.len() });
    }
    let results = out
        .par_chunks_exact_mut(values)
        .enumerate()
        .with_max_len(1)
        .map(|(position, out)| {
            let bytes = read(position)?;
            preprocess(bytes.as_ref(), settings, limits, out).inspect_err(|_| out.fill(0.0))?;
            Ok(())
        })
        .collect();
    Ok(results)
}
