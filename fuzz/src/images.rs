//! Properties that hold for every image.

use clipway_run::image::{DecodeLimits, Preprocess, decode, to_pixels, transform};

use crate::memory::limited;
use crate::{check_message, let_libraries_panic};

/// Maximum pixels of an image here, kept low so that runs stay fast.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 20 };

/// Memory an image may take: 128 MiB, less what the process itself uses.
const ROOM: usize = 112 << 20;

/// Decodes an image twice and converts it to numbers, which must be identical and finite.
///
/// # Panics
/// If any property fails.
pub fn check_image(input: &[u8]) {
    let_libraries_panic();
    let (first, second) =
        limited(ROOM + 2 * input.len(), || (decode(input, &LIMITS), decode(input, &LIMITS)));
    let image = match (first, second) {
        (Ok(first), Ok(second)) => {
            // A NaN sample does not equal itself, but prints the same.
            let same = first == second || format!("{first:?}") == format!("{second:?}");
            assert!(same, "two readings of one image");
            first
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string(), "two refusals of one image");
            return check_message(&first);
        }
        _ => panic!("accepted and refused"),
    };
    let pixels = image.width as u64 * image.height as u64;
    assert!((1..=LIMITS.max_pixels).contains(&pixels), "{} x {}", image.width, image.height);
    let preprocess = Preprocess { size: (16, 24), ..Preprocess::default() };
    let rgb = transform(&image, &preprocess).expect("a decoded image");
    let mut values = vec![0.0; preprocess.pixel_values()];
    to_pixels(&rgb, &preprocess, &mut values).expect("a transformed image");
    assert!(values.iter().all(|value| value.is_finite()));
}
