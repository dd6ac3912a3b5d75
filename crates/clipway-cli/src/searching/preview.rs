//! Results as pictures in a terminal.

mod sixel;

use std::io::IsTerminal;
use std::path::Path;

use clap::ValueEnum;
use clipway_formats::{base64, shown, shown_path};
use clipway_run::image::{DecodeLimits, RgbImage};

use self::sixel::sixel;
use super::results::{Answers, Found};
use super::thumbnail::small;
use crate::failure::Failure;
use crate::ui::printable;

/// How pictures get onto a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preview {
    /// The way that the terminal is known to take
    Auto,
    /// The graphics protocol of kitty
    Kitty,
    /// The inline images of iTerm2
    Iterm2,
    /// Sixel graphics, of 256 colors
    Sixel,
    /// Characters with a color for each half, for any terminal with 24-bit colors
    HalfBlocks,
}

/// Longest side of a picture in pixels, where the terminal scales it.
const SIDE: usize = 256;

/// Rows of text that such a picture takes.
const ROWS: usize = 12;

/// Longest side of a picture in half blocks: a column a pixel, and a row two.
const BLOCKS: usize = 40;

/// Most characters of base 64 in one of kitty's commands.
const CHUNK: usize = 4096;

impl Preview {
    /// The way for standard output: the one that was asked for, or what the terminal is known by.
    ///
    /// # Errors
    /// A standard output that is no terminal, or one without colors, where no way was asked for.
    pub fn resolved(self) -> Result<Preview, Failure> {
        if self != Preview::Auto {
            return Ok(self);
        }
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let terminal = variable("TERM");
        if !std::io::stdout().is_terminal() || terminal == "dumb" {
            let message = "standard output is no terminal that shows pictures";
            return Err(Failure::could_not_run("bad-option", message)
                .hint("name the way, as `--preview=half-blocks`, or write a page by `--html FILE`"));
        }
        let by_name = known(&terminal, &variable("TERM_PROGRAM"), !variable("TMUX").is_empty());
        Ok(by_name.unwrap_or_else(|| if shows_sixels() { Preview::Sixel } else { Preview::HalfBlocks }))
    }

    /// A picture of the image, with the end of its last line.
    fn drawn(self, image: &RgbImage) -> Vec<u8> {
        match self {
            Preview::Kitty => kitty(image),
            Preview::Iterm2 => iterm2(image),
            Preview::Sixel => sixel(image),
            Preview::Auto | Preview::HalfBlocks => half_blocks(image),
        }
    }
}

/// What a terminal is known to take by its names. Multiplexers pass on no other protocol than they say themselves.
fn known(terminal: &str, program: &str, is_multiplexed: bool) -> Option<Preview> {
    match (terminal, program) {
        _ if is_multiplexed || terminal.starts_with("screen") || terminal.starts_with("tmux") => None,
        ("xterm-kitty" | "xterm-ghostty", _) | (_, "ghostty") => Some(Preview::Kitty),
        (_, "iTerm.app" | "WezTerm" | "mintty") => Some(Preview::Iterm2),
        ("foot" | "foot-extra" | "mlterm" | "mlterm-256color" | "contour" | "contour-latest", _) => {
            Some(Preview::Sixel)
        }
        _ => None,
    }
}

/// Whether the terminal says that it shows sixel graphics.
fn shows_sixels() -> bool {
    #[cfg(unix)]
    return crate::terminal::shows_sixels();
    #[cfg(not(unix))]
    false
}

/// The results of all queries as pictures, each above its rank, scores and path.
pub fn previews(answers: &Answers, preview: Preview, limits: &DecodeLimits) -> Vec<u8> {
    let mut out = Vec::new();
    for answer in &answers.queries {
        if answers.queries.len() > 1 {
            out.extend(format!("{}\n", shown(&answer.query)).bytes());
        }
        if answer.results.is_empty() {
            out.extend(b"no results\n");
        }
        for found in &answer.results {
            out.extend(picture(&found.path, preview, limits));
            out.extend(caption(found).bytes());
        }
    }
    out
}

fn caption(found: &Found) -> String {
    let Found { rank, hit, path, .. } = found;
    format!("{rank}. score {:.2} cosine {:.4} {}\n\n", hit.score, hit.cosine, shown_path(path))
}

/// The picture of a file, or why there is none.
fn picture(path: &Path, preview: Preview, limits: &DecodeLimits) -> Vec<u8> {
    let side = if preview == Preview::HalfBlocks { BLOCKS } else { SIDE };
    match small(path, limits, side) {
        Ok(image) => preview.drawn(&image),
        Err(reason) => format!("no picture: {}\n", printable(&reason)).into_bytes(),
    }
}

/// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>: pixels as they are (`f=24`), shown at once (`a=T`) in rows of text,
/// without an answer (`q=2`).
fn kitty(image: &RgbImage) -> Vec<u8> {
    let data = base64(&image.data);
    let chunks: Vec<&[u8]> = data.as_bytes().chunks(CHUNK).collect();
    let mut out = Vec::with_capacity(data.len() + 64 * chunks.len());
    for (number, chunk) in chunks.iter().enumerate() {
        let more = u8::from(number + 1 < chunks.len());
        let keys = match number {
            0 => format!("a=T,f=24,q=2,s={},v={},r={ROWS},m={more}", image.width, image.height),
            _ => format!("q=2,m={more}"),
        };
        out.extend(format!("\x1b_G{keys};").bytes());
        out.extend(*chunk);
        out.extend(b"\x1b\\");
    }
    out.push(b'\n');
    out
}

/// <https://iterm2.com/documentation-images.html>: a PNG file in rows of text.
fn iterm2(image: &RgbImage) -> Vec<u8> {
    let file = image.png();
    let keys = format!("inline=1;size={};height={ROWS};preserveAspectRatio=1", file.len());
    format!("\x1b]1337;File={keys}:{}\x07\n", base64(&file)).into_bytes()
}

/// A character for two pixels, one above the other: its foreground is the upper one, its background the lower one.
fn half_blocks(image: &RgbImage) -> Vec<u8> {
    let mut out = String::new();
    let lines: Vec<&[u8]> = image.data.chunks(image.width.max(1) * 3).collect();
    for pair in lines.chunks(2) {
        for (column, above) in pair[0].as_chunks::<3>().0.iter().enumerate() {
            let [red, green, blue] = above;
            out.push_str(&format!("\x1b[38;2;{red};{green};{blue}"));
            if let Some([red, green, blue]) = pair.get(1).map(|line| line.as_chunks::<3>().0[column]) {
                out.push_str(&format!(";48;2;{red};{green};{blue}"));
            }
            out.push_str("m▀");
        }
        out.push_str("\x1b[0m\n");
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: usize, height: usize) -> RgbImage {
        let data = (0..width * height * 3).map(|at| (at * 7 % 256) as u8).collect();
        RgbImage { width, height, data }
    }

    #[test]
    fn half_blocks_hold_two_pixels() {
        let small = RgbImage { width: 2, height: 3, data: (1..=18).collect() };
        let expected = "\x1b[38;2;1;2;3;48;2;7;8;9m▀\x1b[38;2;4;5;6;48;2;10;11;12m▀\x1b[0m\n\
                        \x1b[38;2;13;14;15m▀\x1b[38;2;16;17;18m▀\x1b[0m\n";
        assert_eq!(String::from_utf8(half_blocks(&small)).unwrap(), expected);
    }

    /// Bytes of a text in base 64.
    fn decoded(text: &str) -> Vec<u8> {
        let digit = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
        for c in text.bytes().filter(|c| *c != b'=') {
            held = held << 6 | u32::from(digit(c));
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((held >> bits) as u8);
            }
        }
        bytes
    }

    #[test]
    fn kittys_commands_hold_the_pixels() {
        let image = image(60, 41);
        let drawn = String::from_utf8(kitty(&image)).unwrap();
        let commands: Vec<&str> = drawn.strip_suffix("\x1b\\\n").unwrap().split("\x1b\\").collect();
        let (mut data, mut keys) = (String::new(), Vec::new());
        for command in &commands {
            let (said, part) = command.strip_prefix("\x1b_G").unwrap().split_once(';').unwrap();
            assert!(part.len() <= CHUNK);
            keys.push(said);
            data.push_str(part);
        }
        assert_eq!(keys, ["a=T,f=24,q=2,s=60,v=41,r=12,m=1", "q=2,m=1", "q=2,m=0"]);
        assert_eq!(decoded(&data), image.data);
    }

    #[test]
    fn iterm2_gets_a_png() {
        let drawn = String::from_utf8(iterm2(&image(3, 2))).unwrap();
        let (keys, data) = drawn.strip_prefix("\x1b]1337;File=").unwrap().split_once(':').unwrap();
        let file = decoded(data.strip_suffix("\x07\n").unwrap());
        assert_eq!(keys, format!("inline=1;size={};height=12;preserveAspectRatio=1", file.len()));
        assert_eq!(file, image(3, 2).png());
    }

    #[test]
    fn terminals_are_known_by_their_names() {
        assert_eq!(known("xterm-kitty", "", false), Some(Preview::Kitty));
        assert_eq!(known("xterm-256color", "ghostty", false), Some(Preview::Kitty));
        assert_eq!(known("xterm-256color", "iTerm.app", false), Some(Preview::Iterm2));
        assert_eq!(known("foot", "", false), Some(Preview::Sixel));
        assert_eq!(known("xterm-256color", "", false), None);
        for (terminal, is_multiplexed) in
            [("xterm-kitty", true), ("foot", true), ("tmux-256color", false), ("screen", false)]
        {
            assert_eq!(known(terminal, "WezTerm", is_multiplexed), None);
        }
    }
}
