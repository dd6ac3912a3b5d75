//! The sequence parameter set of HEVC: what must be known before a picture is decoded (ITU-T H.265, 7.3.2.2 and E.2.1).

use super::super::ImageError;
use super::boxes::{corrupt, unsupported};
use super::color::Coding;
use super::picture::Chroma;
use super::rbsp::Bits;

/// A sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sps {
    /// Size as coded.
    pub coded: (usize, usize),
    /// Size of the part that is shown.
    pub shown: (usize, usize),
    pub chroma: Chroma,
    /// Bits per sample.
    pub depth: u8,
    pub coding: Coding,
}

/// Side of a picture that no level of HEVC exceeds.
const MOST_SIDE: u32 = 65_535;

impl Sps {
    /// Reads a unit with a set.
    ///
    /// # Errors
    /// It is invalid, or describes pictures that are not supported.
    pub fn read(unit: &[u8]) -> Result<Sps, ImageError> {
        let bits = &mut Bits::of(unit, "sequence parameter set");
        bits.skip(4)?;
        let layers = bits.number(3)?;
        bits.skip(1)?;
        skip_profile(bits, layers)?;
        bits.golomb(15)?;
        let chroma = match bits.golomb(3)? {
            0 => Chroma::None,
            1 => Chroma::Quarter,
            2 => Chroma::Half,
            _ if bits.flag()? => return Err(unsupported("color planes that are coded apart")),
            _ => Chroma::Full,
        };
        let coded = (bits.golomb(MOST_SIDE)?, bits.golomb(MOST_SIDE)?);
        let mut cut = [0; 4];
        if bits.flag()? {
            for side in &mut cut {
                *side = bits.golomb(MOST_SIDE)?;
            }
        }
        let shown = shown(coded, cut, chroma)?;
        let depths = (8 + bits.golomb(8)?, 8 + bits.golomb(8)?);
        if depths.0 > 12 || (chroma != Chroma::None && depths.0 != depths.1) {
            return Err(unsupported(format!("samples of {} and {} bits", depths.0, depths.1)));
        }
        let order_bits = 4 + bits.golomb(12)?;
        let first = if bits.flag()? { 0 } else { layers };
        for _ in first..=layers {
            for _ in 0..3 {
                bits.golomb(u32::MAX)?;
            }
        }
        // A coding tree block has 16 to 64 pixels a side.
        let least = 3 + bits.golomb(3)?;
        let tree = least + bits.golomb(3)?;
        if !(4..=6).contains(&tree) {
            return Err(corrupt(format!("its coding tree blocks have 2^{tree} pixels a side")));
        }
        for _ in 0..4 {
            bits.golomb(6)?;
        }
        if bits.flag()? && bits.flag()? {
            skip_scaling(bits)?;
        }
        bits.skip(2)?;
        if bits.flag()? {
            bits.skip(8)?;
            bits.golomb(3)?;
            bits.golomb(3)?;
            bits.skip(1)?;
        }
        skip_reference_sets(bits)?;
        if bits.flag()? {
            for _ in 0..bits.golomb(32)? {
                bits.skip(order_bits + 1)?;
            }
        }
        bits.skip(2)?;
        let coding = if bits.flag()? { video_signal(bits)? } else { Coding::UNSTATED };
        let size = |(width, height): (u32, u32)| (width as usize, height as usize);
        Ok(Sps { coded: size(coded), shown: size(shown), chroma, depth: depths.0 as u8, coding })
    }
}

/// The size that is left of a picture when its sides are cut: left, right, top and bottom.
fn shown(coded: (u32, u32), cut: [u32; 4], chroma: Chroma) -> Result<(u32, u32), ImageError> {
    let (across, down) = chroma.steps();
    let [left, right, top, bottom] = cut;
    let width = i64::from(coded.0) - (i64::from(left) + i64::from(right)) * across as i64;
    let height = i64::from(coded.1) - (i64::from(top) + i64::from(bottom)) * down as i64;
    if width < 1 || height < 1 {
        return Err(corrupt(format!("its stream shows nothing of {} x {} pixels", coded.0, coded.1)));
    }
    Ok((width as u32, height as u32))
}

/// Skips `profile_tier_level` (7.3.3).
fn skip_profile(bits: &mut Bits, layers: u32) -> Result<(), ImageError> {
    bits.skip(96)?;
    let mut stated = Vec::new();
    for _ in 0..layers {
        stated.push((bits.flag()?, bits.flag()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers))?;
    }
    for (profile, level) in stated {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}

/// Skips `scaling_list_data` (7.3.4).
fn skip_scaling(bits: &mut Bits) -> Result<(), ImageError> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.golomb(5)?;
                continue;
            }
            // Signed numbers have as many bits as unsigned ones.
            let count = if size == 0 { 16 } else { 64 } + usize::from(size > 1);
            for _ in 0..count {
                bits.golomb(1024)?;
            }
        }
    }
    Ok(())
}

/// Skips the sets of reference pictures, which still images state and do not use (7.3.7).
fn skip_reference_sets(bits: &mut Bits) -> Result<(), ImageError> {
    let mut pictures = 0;
    for set in 0..bits.golomb(64)? {
        if set > 0 && bits.flag()? {
            bits.skip(1)?;
            bits.golomb(1 << 15)?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let is_used = bits.flag()?;
                kept += u32::from(is_used || bits.flag()?);
            }
            pictures = kept;
        } else {
            let counts = (bits.golomb(16)?, bits.golomb(16)?);
            pictures = counts.0 + counts.1;
            for _ in 0..pictures {
                bits.golomb(1 << 15)?;
                bits.skip(1)?;
            }
        }
    }
    Ok(())
}

/// Reads the coding of colors from `vui_parameters`, whose rest is not needed.
fn video_signal(bits: &mut Bits) -> Result<Coding, ImageError> {
    if bits.flag()? && bits.number(8)? == 255 {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if !bits.flag()? {
        return Ok(Coding::UNSTATED);
    }
    bits.skip(3)?;
    let is_full = bits.flag()?;
    let matrix = if bits.flag()? {
        bits.skip(16)?;
        bits.number(8)? as u16
    } else {
        Coding::UNSTATED.matrix
    };
    Ok(Coding { matrix, is_full })
}
