//! Pictures as sixel graphics: six rows of pixels a band, and each color of a band on its own.
//!
//! <https://vt100.net/docs/vt3xx-gp/chapter14.html>

use std::collections::BTreeMap;

use clipway_run::image::RgbImage;

/// Most colors of a picture: what terminals have registers for.
const COLORS: usize = 256;

/// Rows of pixels of a band.
const BAND: usize = 6;

/// A color in percent, as the registers take it.
type Color = [u8; 3];

/// A picture, and the end of its line.
pub(super) fn sixel(image: &RgbImage) -> Vec<u8> {
    let pixels: Vec<Color> = image.data.as_chunks::<3>().0.iter().map(|pixel| pixel.map(percent)).collect();
    let Palette { colors, places } = Palette::of(&pixels);
    let registers: Vec<u8> = pixels.iter().map(|pixel| places[pixel]).collect();
    // No pixel is left as it was (`P2` of 1 would leave them), and pixels are square.
    let mut out = format!("\x1bP0;0;0q\"1;1;{};{}", image.width, image.height);
    for (register, [red, green, blue]) in colors.iter().enumerate() {
        out.push_str(&format!("#{register};2;{red};{green};{blue}"));
    }
    for rows in registers.chunks(BAND * image.width.max(1)) {
        band(rows, image.width.max(1), &mut out);
        out.push('-');
    }
    out.push_str("\x1b\\\n");
    out.into_bytes()
}

fn percent(value: u8) -> u8 {
    ((u32::from(value) * 100 + 127) / 255) as u8
}

/// Writes up to six rows of registers: for each one in use, which pixels have it, column by column.
fn band(rows: &[u8], width: usize, out: &mut String) {
    let mut columns: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for (row, registers) in rows.chunks(width).enumerate() {
        for (column, register) in registers.iter().enumerate() {
            columns.entry(*register).or_insert_with(|| vec![0; width])[column] |= 1 << row;
        }
    }
    for (index, (register, columns)) in columns.iter().enumerate() {
        if index > 0 {
            out.push('$');
        }
        out.push_str(&format!("#{register}"));
        let end = columns.iter().rposition(|bits| *bits != 0).map_or(0, |last| last + 1);
        for run in columns[..end].chunk_by(|a, b| a == b) {
            let sign = char::from(b'?' + run[0]);
            match run.len() {
                count @ 0..=3 => out.extend(std::iter::repeat_n(sign, count)),
                count => out.push_str(&format!("!{count}{sign}")),
            }
        }
    }
}

/// The colors of a picture, and the register of each that it has.
struct Palette {
    colors: Vec<Color>,
    places: BTreeMap<Color, u8>,
}

impl Palette {
    /// The colors themselves, if there are few enough. Otherwise they are split at the median of their widest side, the largest
    /// part first (median cut, Heckbert 1982), and each part has its mean.
    fn of(pixels: &[Color]) -> Palette {
        let mut counts: BTreeMap<Color, u64> = BTreeMap::new();
        for pixel in pixels {
            *counts.entry(*pixel).or_default() += 1;
        }
        let mut parts: Vec<Part> = match counts.len() {
            0..=COLORS => counts.into_iter().map(|color| Part(vec![color])).collect(),
            _ => vec![Part(counts.into_iter().collect())],
        };
        while parts.len() < COLORS
            && let Some(largest) = (0..parts.len()).max_by_key(|part| parts[*part].size())
            && let Some(split) = parts[largest].split()
        {
            parts.push(split);
        }
        let mut places = BTreeMap::new();
        for (register, Part(colors)) in parts.iter().enumerate() {
            places.extend(colors.iter().map(|(color, _)| (*color, register as u8)));
        }
        Palette { colors: parts.iter().map(Part::mean).collect(), places }
    }
}

/// Colors that share a register, with the number of their pixels.
struct Part(Vec<(Color, u64)>);

impl Part {
    fn pixels(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The channel in which the colors differ most, and by how much.
    fn widest(&self) -> (usize, u8) {
        let range = |channel: usize| {
            let values = self.0.iter().map(|(color, _)| color[channel]);
            values.clone().max().unwrap_or(0) - values.min().unwrap_or(0)
        };
        (0..3).map(|channel| (channel, range(channel))).max_by_key(|(_, range)| *range).unwrap_or((0, 0))
    }

    /// What decides which part is split next.
    fn size(&self) -> u64 {
        u64::from(self.widest().1) * self.pixels()
    }

    /// Keeps the lower half and returns the other; `None` if there is one color.
    fn split(&mut self) -> Option<Part> {
        let (channel, _) = self.widest();
        self.0.sort_by_key(|(color, _)| color[channel]);
        let half = self.pixels() / 2;
        let mut before = 0;
        let middle = self.0.iter().position(|(_, count)| {
            before += count;
            before > half
        });
        let middle = middle?.clamp(1, self.0.len().max(2) - 1);
        (self.0.len() > 1).then(|| Part(self.0.split_off(middle)))
    }

    fn mean(&self) -> Color {
        let pixels = self.pixels().max(1);
        std::array::from_fn(|channel| {
            let sum: u64 = self.0.iter().map(|(color, count)| u64::from(color[channel]) * count).sum();
            ((sum + pixels / 2) / pixels) as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number at the start of a text, and the rest.
    fn number(text: &str) -> (usize, &str) {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        (text[..end].parse().unwrap(), &text[end..])
    }

    /// What a terminal makes of it. A pixel that is drawn twice or not at all is an error.
    fn decoded(drawn: &[u8]) -> RgbImage {
        let text = std::str::from_utf8(drawn).unwrap();
        let data = text.strip_prefix("\x1bP0;0;0q\"1;1;").unwrap().strip_suffix("\x1b\\\n").unwrap();
        let (width, rest) = number(data);
        let (height, mut rest) = number(rest.strip_prefix(';').unwrap());
        let mut registers: BTreeMap<usize, [u8; 3]> = BTreeMap::new();
        let mut pixels = vec![None; width * height];
        let (mut color, mut column, mut top) = (0, 0, 0);
        while let Some(sign) = rest.chars().next() {
            rest = &rest[1..];
            match sign {
                '#' => {
                    (color, rest) = number(rest);
                    if let Some(said) = rest.strip_prefix(";2;") {
                        let mut parts = [0; 3];
                        rest = said;
                        for (index, part) in parts.iter_mut().enumerate() {
                            let (percent, after) = number(rest);
                            assert!(percent <= 100);
                            *part = ((percent * 255 + 50) / 100) as u8;
                            rest = if index < 2 { after.strip_prefix(';').unwrap() } else { after };
                        }
                        assert_eq!(registers.insert(color, parts), None, "a register is set once");
                    }
                }
                '$' => column = 0,
                '-' => (column, top) = (0, top + BAND),
                _ => {
                    let (count, sign) = match sign {
                        '!' => {
                            let (count, after) = number(rest);
                            rest = &after[1..];
                            (count, after.chars().next().unwrap())
                        }
                        sign => (1, sign),
                    };
                    let bits = sign as u32 - '?' as u32;
                    assert!(bits < 64, "{sign:?}");
                    for _ in 0..count {
                        for row in (0..BAND).filter(|row| bits & 1 << row != 0) {
                            let place = &mut pixels[(top + row) * width + column];
                            assert_eq!(place.replace(registers[&color]), None, "a pixel is drawn once");
                        }
                        column += 1;
                    }
                }
            }
        }
        assert!(registers.len() <= COLORS);
        let data = pixels.into_iter().flat_map(|pixel| pixel.expect("every pixel is drawn")).collect();
        RgbImage { width, height, data }
    }

    #[test]
    fn few_colors_are_kept_as_exactly_as_percent_allow() {
        // 5 % of 255 is 12.75: these are whole percents.
        for (width, height) in [(1, 1), (7, 6), (13, 17), (40, 5)] {
            let data = (0..width * height * 3).map(|at| [0, 51, 102, 255][at * 7 % 11 % 4]).collect();
            let image = RgbImage { width, height, data };
            assert_eq!(decoded(&sixel(&image)), image);
        }
        let grays = RgbImage { width: 16, height: 16, data: (0..=255).flat_map(|gray| [gray; 3]).collect() };
        let off = decoded(&sixel(&grays)).data.iter().zip(&grays.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(off, Some(1));
    }

    #[test]
    fn many_colors_stay_near() {
        let (width, height) = (96, 96);
        let at = |place: usize| {
            let (x, y) = (place % width, place / width);
            [x * 255 / 95, y * 255 / 95, (x + y) * 255 / 190]
        };
        let data = (0..width * height).flat_map(|place| at(place).map(|value| value as u8)).collect();
        let image = RgbImage { width, height, data };
        let drawn = decoded(&sixel(&image));
        let off: Vec<u8> = drawn.data.iter().zip(&image.data).map(|(a, b)| a.abs_diff(*b)).collect();
        let mean = off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64;
        assert!(mean < 6.0 && off.iter().all(|off| *off < 32), "{mean}, {:?}", off.iter().max());
    }

    #[test]
    fn nothing_is_drawn_of_an_empty_image() {
        let empty = RgbImage { width: 0, height: 0, data: Vec::new() };
        assert_eq!(sixel(&empty), b"\x1bP0;0;0q\"1;1;0;0\x1b\\\n");
    }
}
