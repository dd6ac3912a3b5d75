//! Tiles by codecs: TIFF images of any layout, whose tiles may share their bytes.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::case::{Drawn, Stage, Verdict, words};
use crate::made::shown;
use crate::random::Random;

/// TIFF's codec numbers.
const NONE: u16 = 1;
const JPEG: u16 = 7;
const DEFLATE: u16 = 8;
const PACK_BITS: u16 = 32773;

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let codec = random.pick(&[NONE, JPEG, DEFLATE, PACK_BITS]);
    let width: usize = random.pick(&[1, 16, 64, 300, 1 << 16]);
    let height: usize = random.pick(&[1, 16, 64, 300, 1 << 12, 1 << 20]);
    let tile = random.pick(&[16, 64, 256, 1024]);
    // No more tiles than a file of a few megabytes can list.
    let tile: usize = if width / tile * (height / tile) > 100_000 { 1024 } else { tile };
    let shares = random.below(2) == 0;
    let is_jpeg = codec == JPEG;
    let (bits, samples) = if is_jpeg { (8, 1) } else { (random.pick(&[8, 16, 32]), random.pick(&[1, 3, 4])) };
    let predictor = if codec == DEFLATE { random.pick(&[1, 2]) } else { 1 };
    let content = vec![0; tile * tile * samples * bits / 8];
    let stored = match codec {
        NONE => content,
        JPEG => progressive(tile, random.pick(&[1, 8, 490])),
        DEFLATE => zlib(&content).map_err(|error| error.to_string())?,
        _ => pack_bits(content.len()),
    };
    let count = width.div_ceil(tile) * height.div_ceil(tile);
    // Tiles have data of their own as long as that fits in 8 MB; beyond that they all share the same data.
    let shares = shares || count * stored.len() > 8 << 20;
    let file = tiff(&Layout { width, height, tile, bits, samples, codec, predictor, count, shares }, &stored);
    let path = stage.folder.join("x.tif");
    fs::write(&path, &file).map_err(|error| shown(&path, error))?;
    let is_plain = !shares && codec != JPEG && count <= 16 && tile <= width.max(height) && bits == 8;
    Ok(Drawn {
        arguments: [words("embed"), vec![stage.exported.display().to_string()], words("x.tif")].concat(),
        expected: if is_plain { Verdict::Done } else { Verdict::Either },
        seconds: 2,
        megabytes: 420,
        disk: 1 + file.len() as u64 / 1_000_000,
        detail: format!(
            "{width}x{height}, {count} tiles of {tile}x{tile}{}, codec {codec}, {samples}x{bits} bits, predictor \
             {predictor}, {} bytes",
            if shares { " on the same bytes" } else { "" },
            file.len()
        ),
        ..Drawn::default()
    })
}

struct Layout {
    width: usize,
    height: usize,
    tile: usize,
    bits: usize,
    samples: usize,
    codec: u16,
    predictor: usize,
    count: usize,
    shares: bool,
}

/// Returns a little-endian TIFF whose tiles all hold `stored`.
fn tiff(layout: &Layout, stored: &[u8]) -> Vec<u8> {
    let Layout { width, height, tile, bits, samples, codec, predictor, count, shares } = *layout;
    let mut out = b"II*\0\0\0\0\0".to_vec();
    for _ in 0..if shares { 1 } else { count } {
        out.extend(stored);
    }
    let offset = |index: usize| 8 + if shares { 0 } else { index * stored.len() };
    let color = if samples == 1 { 1 } else { 2 };
    let mut fields: Vec<(u16, u16, Vec<usize>)> = vec![
        (256, 4, vec![width]),
        (257, 4, vec![height]),
        (258, 3, vec![bits; samples]),
        (259, 3, vec![usize::from(codec)]),
        (262, 3, vec![color]),
        (277, 3, vec![samples]),
        (284, 3, vec![1]),
        (317, 3, vec![predictor]),
        (322, 4, vec![tile]),
        (323, 4, vec![tile]),
        (324, 4, (0..count).map(offset).collect()),
        (325, 4, vec![stored.len(); count]),
    ];
    if samples == 4 {
        fields.push((338, 3, vec![2]));
    }
    let mut records = (fields.len() as u16).to_le_bytes().to_vec();
    out.extend(vec![0; out.len() % 2]);
    for (tag, kind, values) in &fields {
        let size = if *kind == 3 { 2 } else { 4 };
        let mut bytes: Vec<u8> =
            values.iter().flat_map(|&value| (value as u32).to_le_bytes()[..size].to_vec()).collect();
        if bytes.len() > 4 {
            let place = (out.len() as u32).to_le_bytes();
            out.extend(&bytes);
            bytes = place.to_vec();
        }
        bytes.resize(4, 0);
        let count = (values.len() as u32).to_le_bytes();
        records.extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count, &bytes].concat());
    }
    out.extend(vec![0; out.len() % 2]);
    let directory = (out.len() as u32).to_le_bytes();
    out[4..8].copy_from_slice(&directory);
    out.extend(records);
    out.extend([0; 4]);
    out
}

fn zlib(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// Encodes this many zeros in runs of 128.
fn pack_bits(count: usize) -> Vec<u8> {
    let run = |length: usize| [(257 - length) as u8, 0];
    let mut out: Vec<u8> = std::iter::repeat_n(run(128), count / 128).flatten().collect();
    match count % 128 {
        0 => {}
        1 => out.extend([0, 0]),
        rest => out.extend(run(rest)),
    }
    out
}

/// Returns a gray progressive JPEG of this side with all-zero coefficients and this many scans that refine nothing.
fn progressive(side: usize, scans: usize) -> Vec<u8> {
    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        [&[0xff, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
    }
    /// Returns a table with a single one-bit code.
    fn one_code(class: u8, symbol: u8) -> Vec<u8> {
        let mut counts = [0; 16];
        counts[0] = 1;
        segment(0xc4, &[&[class][..], &counts, &[symbol]].concat())
    }
    let blocks = side.div_ceil(8).pow(2);
    let size = (side as u16).to_be_bytes();
    let frame = [&[8][..], &size, &size, &[1, 1, 0x11, 0]].concat();
    let quantization = [&[0][..], &[1; 64]].concat();
    let mut out = [&b"\xff\xd8"[..], &segment(0xdb, &quantization), &segment(0xc2, &frame)].concat();
    // Symbols: a zero-bit difference, and the end of a band for 2^14 blocks or more.
    out.extend([one_code(0, 0), one_code(0x10, 0xe0)].concat());
    let scan = |spectrum: [u8; 3], bits: usize| {
        [segment(0xda, &[&[1, 1, 0][..], &spectrum].concat()), vec![0; bits.div_ceil(8)]].concat()
    };
    out.extend(scan([0, 0, 0], blocks));
    let bands = blocks.div_ceil(16_383) * 15;
    out.extend(scan([1, 63, 0x01], bands));
    for _ in 0..scans {
        out.extend(scan([1, 63, 0x10], bands));
    }
    out.extend(b"\xff\xd9");
    out
}
