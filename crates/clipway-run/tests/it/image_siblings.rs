//! Variants of known attacks on image decoders, drawn from a seed: tiles by codecs, scans by sizes, groups, chunks.
//! Each is refused by its layout, before it costs time and memory.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clipway_run::image::{DecodeLimits, ImageError, decode};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::draw::Draw;

/// Time limit per file: refusing it by its layout takes far less than a millisecond.
const LONGEST: Duration = Duration::from_secs(1);

fn refused(name: &str, bytes: &[u8], part: &str) {
    let start = Instant::now();
    let error = decode(bytes, &DecodeLimits::default()).err().unwrap_or_else(|| panic!("{name} is accepted"));
    assert!(start.elapsed() < LONGEST, "{name} takes {:?}", start.elapsed());
    assert!(matches!(error, ImageError::TooMuchWork { .. }), "{name}: {error}");
    assert_eq!(error.code(), "too-large");
    assert!(error.to_string().contains(part), "{name}: `{error}` does not say `{part}`");
}

fn accepted(name: &str, bytes: &[u8], size: (usize, usize)) {
    let image = decode(bytes, &DecodeLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((image.width, image.height), size, "{name}");
}

fn zlib(length: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; length]).unwrap();
    encoder.finish().unwrap()
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(body.len() as u16 + 2).to_be_bytes()[..], body].concat()
}

/// Returns a black JPEG whose progressive scans visit every block again and again. An arithmetic-coded one is refused
/// before its scans are read, so it can share them.
fn jpeg(width: usize, height: usize, components: u8, scans: usize, arithmetic: bool) -> Vec<u8> {
    let mut frame = vec![8];
    frame.extend((height as u16).to_be_bytes());
    frame.extend((width as u16).to_be_bytes());
    frame.push(components);
    (0..components).for_each(|index| frame.extend([index + 1, 0x11, 0]));
    let tables = [&[0; 1][..], &[1; 64]].concat();
    let code = |class: u8, symbol: u8| [&[class, 1][..], &[0; 15], &[symbol]].concat();
    let mut out = vec![0xff, 0xd8];
    out.extend(segment(0xdb, &tables));
    out.extend(segment(if arithmetic { 0xca } else { 0xc2 }, &frame));
    // One code of each class: no difference, and the end of a band for 2^14 blocks or more.
    out.extend(segment(0xc4, &code(0, 0)));
    out.extend(segment(0xc4, &code(0x10, 0xe0)));
    let blocks = width.div_ceil(8) * height.div_ceil(8);
    for component in 1..=components {
        out.extend(segment(0xda, &[1, component, 0, 0, 0, 0]));
        out.extend(vec![0; blocks.div_ceil(8)]);
    }
    let bands = vec![0; (blocks.div_ceil(1 << 14) * 15).div_ceil(8)];
    let mut band = |component: u8, precision: u8| {
        out.extend(segment(0xda, &[1, component, 0, 1, 63, precision]));
        out.extend(&bands);
    };
    (1..=components).for_each(|component| band(component, 1));
    (0..scans).for_each(|scan| band(scan as u8 % components + 1, 0x10));
    out.extend([0xff, 0xd9]);
    out
}

/// Returns a little-endian TIFF: tags of 32-bit numbers, all after the data, which starts at byte 8.
fn tiff(tags: &[(u16, Vec<u32>)], data: &[u8]) -> Vec<u8> {
    let mut tags = tags.to_vec();
    tags.sort();
    let start = 8 + data.len().next_multiple_of(2);
    let mut far = start + 2 + 12 * tags.len() + 4;
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for (tag, numbers) in &tags {
        entries.extend(tag.to_le_bytes());
        entries.extend(4_u16.to_le_bytes());
        entries.extend((numbers.len() as u32).to_le_bytes());
        match numbers[..] {
            [number] => entries.extend(number.to_le_bytes()),
            _ => {
                entries.extend((far as u32).to_le_bytes());
                far += 4 * numbers.len();
                numbers.iter().for_each(|number| values.extend(number.to_le_bytes()));
            }
        }
    }
    let mut out = [b"II*\0", &(start as u32).to_le_bytes()[..], data].concat();
    out.resize(start, 0);
    out.extend((tags.len() as u16).to_le_bytes());
    [out, entries, vec![0; 4], values].concat()
}

/// Returns a gray TIFF whose tiles (strips if the tile width is 0) all share the same data.
fn shared(size: (usize, usize), tile: (usize, usize), compression: u32, bits: u32, data: &[u8]) -> Vec<u8> {
    let across = if tile.0 == 0 { 1 } else { size.0.div_ceil(tile.0) };
    let count = across * size.1.div_ceil(tile.1);
    let one = |value: usize| vec![value as u32];
    let mut tags = vec![
        (256, one(size.0)),
        (257, one(size.1)),
        (258, vec![bits]),
        (259, vec![compression]),
        (262, vec![1]),
        (277, vec![1]),
    ];
    let (offsets, lengths) = if tile.0 == 0 { (273, 279) } else { (324, 325) };
    if tile.0 == 0 {
        tags.push((278, one(tile.1)));
    } else {
        tags.extend([(322, one(tile.0)), (323, one(tile.1))]);
    }
    tags.extend([(offsets, vec![8; count]), (lengths, vec![data.len() as u32; count])]);
    tiff(&tags, data)
}

#[test]
fn tiles_are_bounded_by_the_image_whatever_their_codec() {
    let mut draw = Draw(6);
    for case in 0..24 {
        let tile = (16 * draw.from(40, 64), 16 * draw.from(40, 64));
        // Thin images, such as 1 by 2^18 to 2^19 pixels; a tile holds hundreds of times more.
        let (thin, long) = (draw.from(1, 3), draw.from(1 << 18, 1 << 19));
        let (size, tile) = if case % 2 == 0 { ((thin, long), tile) } else { ((long, thin), tile) };
        let (name, compression, bits, data) = match case % 4 {
            0 => ("deflate", 8, 32, zlib(tile.0 * tile.1 * 4)),
            1 => ("JPEG", 7, 8, jpeg(tile.0, tile.1, 1, 400, false)),
            2 => ("PackBits", 32773, 16, [0x81, 0].repeat(tile.0 * tile.1 / 64)),
            _ => ("none", 1, 8, vec![0; tile.0 * tile.1]),
        };
        let file = shared(size, tile, compression, bits, &data);
        refused(&format!("{name} {size:?} in tiles of {tile:?}"), &file, "strips or tiles");
    }
    // A small image in one large tile, and a long one in strips, are still accepted.
    accepted("a small image", &shared((3, 2), (256, 256), 8, 8, &zlib(1 << 16)), (3, 2));
    accepted("a large tile", &shared((3, 2), (1024, 1024), 8, 32, &zlib(4 << 20)), (3, 2));
    accepted("strips", &shared((1000, 400), (0, 100), 8, 8, &zlib(100_000)), (1000, 400));
}

#[test]
fn strips_are_bounded_in_number_and_in_the_bytes_that_they_use() {
    let none = vec![0; 16];
    refused(
        "many strips",
        &shared((1, 1 << 19), (0, 1), 1, 8, &none),
        "524288 strips or tiles; the limit is 262144",
    );
    let small = jpeg(16, 16, 1, 1, false);
    refused("many JPEG tiles", &shared((16, 1 << 20), (16, 16), 7, 8, &small), "the limit is 32768");
    // Each strip decodes the same no-ops.
    let idle = [vec![0x80; 1 << 14], vec![0, 0]].concat();
    refused("idle strips", &shared((1, 4000), (0, 1), 32773, 8, &idle), "of a file of");
    let twice = tiff(
        &[(256, vec![1]), (257, vec![1]), (258, vec![8; 100_000]), (259, vec![1]), (262, vec![1])],
        &none,
    );
    let error = decode(&twice, &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.code(), "malformed");
    assert!(error.to_string().len() < 200, "a message of {} bytes", error.to_string().len());
}

#[test]
fn the_tables_of_jpeg_strips_are_bounded() {
    let data = jpeg(16, 16, 1, 1, false);
    let read = |tables: usize| {
        let mut tags: Vec<(u16, Vec<u32>)> =
            [(256, 16), (257, 16), (258, 8), (259, 7), (262, 1), (277, 1), (278, 16), (273, 8)]
                .map(|(tag, value)| (tag, vec![value]))
                .to_vec();
        tags.push((279, vec![data.len() as u32]));
        tags.push((347, vec![0; tables / 4]));
        decode(&tiff(&tags, &data), &DecodeLimits::default()).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = read(4100).unwrap_err();
    assert!(error.contains("JPEG tables of 4100 bytes"), "{error}");
    read(4096).expect("padding is skipped");
}

#[test]
fn unsupported_samples_are_refused_before_they_are_expanded() {
    let start = Instant::now();
    // Six 32-bit samples: no mode holds them, and the image would take 1.5 GB.
    let tags =
        [(256, 8192), (257, 8192), (258, 32), (259, 8), (262, 2), (277, 6), (278, 8192), (273, 8), (279, 9)];
    let tags = tags.map(|(tag, value)| (tag, vec![value]));
    let error = decode(&tiff(&tags, &zlib(1 << 16)), &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.code(), "unsupported", "{error}");
    assert!(start.elapsed() < LONGEST);
}

#[test]
fn scans_are_bounded_by_the_blocks_of_the_image() {
    let mut draw = Draw(490);
    for _ in 0..12 {
        let (width, height) = (draw.from(3000, 8192), draw.from(3000, 8192));
        let components = [1, 3, 4][draw.from(0, 3)];
        let scans = draw.from(120 * u64::from(components), 500);
        let file = jpeg(width, height, components, scans, false);
        refused(&format!("{width} x {height} x {components}, {scans} scans"), &file, "visit its blocks");
    }
    refused("8192 x 8192, 490 scans", &jpeg(8192, 8192, 1, 490, false), "visit its blocks");
    // Blocks of arithmetic data may take no bits at all, so the bytes bound it as well.
    refused("arithmetic", &jpeg(8192, 8192, 3, 0, true), "visit its blocks");
    // A small image may have many scans, and a large one as many as encoders write.
    accepted("many scans", &jpeg(64, 64, 1, 400, false), (64, 64));
    accepted("ten scans", &jpeg(640, 480, 3, 10, false), (640, 480));
}

/// A bit writer, lowest bit of each byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, count: usize) {
        for place in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.count / 8] |= ((value >> place & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }

    /// Writes a code with one symbol.
    fn put_code(&mut self, symbol: u32) {
        self.put(0b101, 3);
        self.put(symbol, 8);
    }
}

/// Returns a lossless 16 by 16 WebP with this many groups of prefix codes, all written, of which the pixels use the
/// last.
fn webp(groups: u32, transforms: bool) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x2f, 8);
    bits.put(15, 14);
    bits.put(15, 14);
    bits.put(0, 4);
    if transforms {
        // A predictor for 4 by 4 blocks, a palette of 16 colors, subtract-green.
        for (kind, argument) in [(0b001, Some((0, 3))), (0b111, Some((15, 8))), (0b101, None)] {
            bits.put(kind, 3);
            if let Some((value, count)) = argument {
                bits.put(value, count);
                bits.put(0, 1);
                (0..5).for_each(|_| bits.put_code(0));
            }
        }
    }
    bits.put(0, 1);
    // No color cache; code groups for 4 by 4 blocks, all the last one.
    bits.put(0b10, 2);
    bits.put(0, 3);
    bits.put(0, 1);
    for symbol in [(groups - 1) & 0xff, (groups - 1) >> 8, 0, 0, 0] {
        bits.put_code(symbol);
    }
    (0..5 * groups).for_each(|_| bits.put_code(0));
    let mut data = bits.bytes;
    data.extend([0; 64]);
    data.resize(data.len().next_multiple_of(2), 0);
    let size = data.len() as u32;
    [b"RIFF", &(size + 12).to_le_bytes()[..], b"WEBPVP8L", &size.to_le_bytes(), &data].concat()
}

#[test]
fn groups_of_prefix_codes_are_counted_before_they_are_read() {
    for transforms in [false, true] {
        accepted("one group", &webp(1, transforms), (16, 16));
        accepted("2600 groups", &webp(2600, transforms), (16, 16));
        for groups in [2601, 10_000, 65_536] {
            let part = format!("{groups} groups of prefix codes");
            refused(&format!("{groups} groups, transforms {transforms}"), &webp(groups, transforms), &part);
        }
    }
    // The same in the alpha channel of a lossy image, and in a frame.
    let lossless = &webp(9999, false)[20..];
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let data = [data, if data.len() % 2 == 1 { &[0] } else { &[][..] }].concat();
        [&kind[..], &(data.len() as u32).to_le_bytes(), &data].concat()
    };
    let file = |chunks: &[Vec<u8>]| {
        let body = [b"WEBP".to_vec(), chunks.concat()].concat();
        [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    let canvas = |flags: u8| chunk(b"VP8X", &[flags, 0, 0, 0, 15, 0, 0, 15, 0, 0]);
    let lossy = chunk(b"VP8 ", &[0x10, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0, 0, 0]);
    // Without the header, which alpha data lacks: 40 bits of signature, size and version.
    let transparency = chunk(b"ALPH", &[&[1], &lossless[5..]].concat());
    refused("transparency", &file(&[canvas(0x10), transparency, lossy]), "9999 groups");
    let frame = [&[0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0][..], &chunk(b"VP8L", lossless)].concat();
    let animation = [canvas(0x02), chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame)];
    refused("animation", &file(&animation), "9999 groups");
}

#[test]
fn chunks_of_a_png_are_bounded_by_its_bytes() {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [&kind[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
    };
    let png = |empty: usize| {
        let head = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
        let pieces = chunk(b"IDAT", &[]).repeat(empty);
        [b"\x89PNG\r\n\x1a\n", &head[..], &pieces, &chunk(b"IDAT", &zlib(2)), &chunk(b"IEND", &[])].concat()
    };
    accepted("some empty pieces", &png(1000), (1, 1));
    refused("empty pieces", &png(100_000), "chunks in");
    let many = chunk(b"tEXt", b"a\0").repeat(100_000);
    let whole = png(0);
    refused("texts", &[&whole[..33], &many, &whole[33..]].concat(), "chunks in");
}

/// Returns the checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
