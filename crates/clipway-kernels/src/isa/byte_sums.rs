//! Sums of bytes times fixed-point weights, for four rows of an image at once.
//!
//! A weight with 22 fractional bits is split into its 15 low bits and the rest, so that both halves fit the 16-bit
//! products that every vector instruction set adds in pairs. The two sums are combined at the end. All additions wrap,
//! so the result equals 32-bit arithmetic bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

/// Fractional bits of a weight.
pub(crate) const PRECISION: u32 = 22;

/// Rows summed at once.
pub(crate) const ROWS: usize = 4;

/// Bytes that a step reads of each row.
pub(crate) const STEP_BYTES: usize = 16;

/// Bits in the low part of a weight.
const LOW_BITS: u32 = 15;

/// Sums per row: one per channel, or several that are added up at the end.
const LANES: usize = 4;

/// In a shuffle pattern, marks a position that takes no byte.
const NO_BYTE: u8 = 0x80;

/// The weights of one step: for each half, the low and then the high parts, a pair per lane.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Step([[i16; 2 * LANES]; 4]);

impl Step {
    /// Packs up to [`taps`] weights; missing ones are zero.
    pub(crate) fn new<const CHANNELS: usize>(weights: &[i32]) -> Self {
        let mut step = Self::default();
        for half in 0..2 {
            for lane in 0..LANES {
                let Some((first, _)) = pair::<CHANNELS>(half, lane) else { continue };
                for tap in 0..2 {
                    let weight = weights.get(first + tap).copied().unwrap_or(0);
                    step.0[2 * half][2 * lane + tap] = (weight & ((1 << LOW_BITS) - 1)) as i16;
                    step.0[2 * half + 1][2 * lane + tap] = (weight >> LOW_BITS) as i16;
                }
            }
        }
        step
    }
}

/// Returns the pixels per step.
pub(crate) const fn taps<const CHANNELS: usize>() -> usize {
    match CHANNELS {
        1 => 16,
        2 => 8,
        _ => 4,
    }
}

/// Returns the first of the two pixels that a lane takes from half a step, and the lane's channel.
const fn pair<const CHANNELS: usize>(half: usize, lane: usize) -> Option<(usize, usize)> {
    let first = half * taps::<CHANNELS>() / 2;
    match CHANNELS {
        1 => Some((first + 2 * lane, 0)),
        2 => Some((first + lane / 2 * 2, lane % 2)),
        _ if lane < CHANNELS => Some((first, lane)),
        _ => None,
    }
}

/// Returns, for each half of a step, which byte goes to each byte of the lanes, as pairs of 16-bit numbers.
const fn patterns<const CHANNELS: usize>() -> [[u8; STEP_BYTES]; 2] {
    let mut patterns = [[NO_BYTE; STEP_BYTES]; 2];
    let mut place = 0;
    while place < 2 * LANES {
        let (half, lane) = (place / LANES, place % LANES);
        if let Some((first, channel)) = pair::<CHANNELS>(half, lane) {
            patterns[half][4 * lane] = (first * CHANNELS + channel) as u8;
            patterns[half][4 * lane + 2] = ((first + 1) * CHANNELS + channel) as u8;
        }
        place += 1;
    }
    patterns
}

/// An instruction set that sums bytes; the default method is the portable version.
pub(crate) trait ByteSums: Copy {
    /// Sums one output position of four rows, each starting at the first input of that output, and rounds to bytes.
    ///
    /// Only the first `CHANNELS` bytes of each row's result are meaningful.
    ///
    /// # Safety
    /// Every row has [`STEP_BYTES`] bytes from the start of each step; steps are `taps::<CHANNELS>() * CHANNELS` apart.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn byte_sums<const CHANNELS: usize>(
        self,
        rows: [&[u8]; ROWS],
        steps: &[Step],
    ) -> [[u8; LANES]; ROWS] {
        rows.map(|row| {
            let (mut low, mut high) = ([0_i32; LANES], [0_i32; LANES]);
            for (index, Step(weights)) in steps.iter().enumerate() {
                let bytes = &row[index * taps::<CHANNELS>() * CHANNELS..][..STEP_BYTES];
                for half in 0..2 {
                    for lane in 0..LANES {
                        let Some((first, channel)) = pair::<CHANNELS>(half, lane) else { continue };
                        for tap in 0..2 {
                            let byte = i32::from(bytes[(first + tap) * CHANNELS + channel]);
                            let place = 2 * lane + tap;
                            low[lane] = low[lane].wrapping_add(byte * i32::from(weights[2 * half][place]));
                            high[lane] =
                                high[lane].wrapping_add(byte * i32::from(weights[2 * half + 1][place]));
                        }
                    }
                }
            }
            let mut sums: [i32; LANES] =
                std::array::from_fn(|lane| low[lane].wrapping_add(high[lane] << LOW_BITS));
            if CHANNELS <= 2 {
                sums = std::array::from_fn(|lane| sums[lane].wrapping_add(sums[(lane + 2) % LANES]));
            }
            if CHANNELS == 1 {
                sums[0] = sums[0].wrapping_add(sums[1]);
            }
            sums.map(round_to_byte)
        })
    }
}

impl ByteSums for super::portable::Portable {}

/// Rounds a fixed-point number to a byte.
#[inline(always)]
pub(crate) fn round_to_byte(sum: i32) -> u8 {
    (sum.wrapping_add(1 << (PRECISION - 1)) >> PRECISION).clamp(0, 255) as u8
}
