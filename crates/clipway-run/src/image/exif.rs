//! EXIF data: orientation and date, read from a TIFF header and its directories. Source: CIPA DC-008, "Exif".
//!
//! Offsets lead anywhere inside the data and never in a circle: only the first directory and the one that it names are
//! read.

use super::calendar::DateTime;

/// Tags of a directory.
const ORIENTATION: u16 = 0x0112;
const CHANGED: u16 = 0x0132;
const EXIF_DIRECTORY: u16 = 0x8769;
const TAKEN: u16 = 0x9003;
const DIGITIZED: u16 = 0x9004;

/// Bytes of `YYYY:MM:DD HH:MM:SS`, with the zero at its end.
const DATE_BYTES: u32 = 20;

/// Types of values.
const ASCII: u16 = 2;

/// Most segments or chunks of a file that are looked at for EXIF data.
const MOST_PARTS: usize = 4096;

/// EXIF data.
pub(super) struct Exif<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl<'a> Exif<'a> {
    /// Data that starts with a TIFF header, or with EXIF's own mark before one.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Exif<'a>> {
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        match bytes.get(..4)? {
            b"II*\0" => Some(Exif { bytes, is_little: true }),
            b"MM\0*" => Some(Exif { bytes, is_little: false }),
            _ => None,
        }
    }

    /// The orientation, 1 to 8, if stated.
    pub(super) fn orientation(&self) -> Option<u8> {
        let at = self.entry(self.first()?, ORIENTATION)?;
        u8::try_from(self.short(at + 8)?).ok().filter(|value| (1..=8).contains(value))
    }

    /// When the image was taken, else digitized, else last changed; in seconds since 1970 by the camera's clock.
    pub(super) fn taken(&self) -> Option<i64> {
        let first = self.first()?;
        let below = self.entry(first, EXIF_DIRECTORY).and_then(|at| self.offset(at + 8));
        let own = |tag| below.and_then(|below| self.date(below, tag));
        own(TAKEN).or_else(|| own(DIGITIZED)).or_else(|| self.date(first, CHANGED))
    }

    fn date(&self, directory: usize, tag: u16) -> Option<i64> {
        let at = self.entry(directory, tag)?;
        let count = self.long(at + 4)?;
        if self.short(at + 2)? != ASCII || count < DATE_BYTES - 1 {
            return None;
        }
        let start = self.offset(at + 8)?;
        seconds(self.bytes.get(start..start.checked_add(DATE_BYTES as usize - 1)?)?)
    }

    /// Offset of the first directory.
    fn first(&self) -> Option<usize> {
        self.offset(4)
    }

    /// Offset of a directory's entry with a tag. There is room for its 12 bytes, or reading them fails.
    fn entry(&self, directory: usize, tag: u16) -> Option<usize> {
        for entry in 0..usize::from(self.short(directory)?) {
            let at = directory.checked_add(2 + entry * 12)?;
            if self.short(at)? == tag {
                return Some(at);
            }
        }
        None
    }

    fn offset(&self, at: usize) -> Option<usize> {
        usize::try_from(self.long(at)?).ok()
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

/// The EXIF data in a file: a JPEG, PNG, WebP or TIFF.
pub(super) fn exif_of(file: &[u8]) -> Option<&[u8]> {
    if file.starts_with(&[0xFF, 0xD8]) {
        return in_jpeg(file);
    }
    if let Some(chunks) = file.strip_prefix(b"\x89PNG\r\n\x1A\n") {
        return in_chunks(
            chunks,
            |chunk| {
                let length = u32::from_be_bytes(*chunk.first_chunk()?);
                Some((chunk.get(4..8)?, length as usize, length as usize + 12))
            },
            b"eXIf",
        );
    }
    if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP") {
        return in_chunks(
            &file[12..],
            |chunk| {
                let length = u32::from_le_bytes(*chunk.get(4..)?.first_chunk()?) as usize;
                Some((chunk.get(..4)?, length, length.checked_add(8)?.next_multiple_of(2)))
            },
            b"EXIF",
        );
    }
    let is_tiff = file.starts_with(b"II*\0") || file.starts_with(b"MM\0*");
    is_tiff.then_some(file)
}

/// The APP1 segment with EXIF data in front of a JPEG's first scan.
fn in_jpeg(file: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    for _ in 0..MOST_PARTS {
        let [0xFF, marker] = *file.get(at..at + 2)? else { return None };
        // Fill bytes, and markers without a length; a scan ends the search.
        match marker {
            0xFF => {
                at += 1;
                continue;
            }
            0x01 | 0xD0..=0xD7 => {
                at += 2;
                continue;
            }
            0xDA | 0xD9 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(*file.get(at + 2..)?.first_chunk()?));
        let segment = file.get(at + 4..(at + 2).checked_add(length)?)?;
        if marker == 0xE1 && segment.starts_with(b"Exif\0\0") {
            return Some(segment);
        }
        at += 2 + length;
    }
    None
}

/// The data of the first chunk with a name. `read` gives a chunk's name, the length of its data, which start at its ninth
/// byte, and its whole length.
fn in_chunks<'a>(
    mut chunks: &'a [u8],
    read: impl Fn(&'a [u8]) -> Option<(&'a [u8], usize, usize)>,
    name: &[u8],
) -> Option<&'a [u8]> {
    for _ in 0..MOST_PARTS {
        let (found, length, whole) = read(chunks)?;
        if found == name {
            return chunks.get(8..length.checked_add(8)?);
        }
        chunks = chunks.get(whole..)?;
    }
    None
}

/// Seconds since 1970 of `YYYY:MM:DD HH:MM:SS`; `None` for what is no date, such as zeros or spaces.
fn seconds(text: &[u8]) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let marks = [4, 7, 10, 13, 16].map(|at| text.get(at).copied());
    let is_date =
        matches!(marks, [Some(b':' | b'-'), Some(b':' | b'-'), Some(b' ' | b'T'), Some(b':'), Some(b':')]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !is_date {
        return None;
    }
    DateTime { year, month, day, hour, minute, second }.seconds()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::date_taken;

    const MAY: i64 = 1_715_092_496;

    /// EXIF data with an orientation, and dates in both directories.
    fn exif(is_little: bool, changed: &str, taken: Option<&str>) -> Vec<u8> {
        let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let entry = |tag, kind, count, value: [u8; 4]| {
            [short(tag).as_slice(), &short(kind), &long(count), &value].concat()
        };
        let [a, b] = short(6);
        let mut bytes = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        bytes.extend(long(8));
        // Three entries take 2 + 36 + 4 bytes, one takes 18: dates start at 50 and at 70 + 18.
        bytes.extend(short(3));
        bytes.extend(entry(ORIENTATION, 3, 1, [a, b, 0, 0]));
        bytes.extend(entry(CHANGED, ASCII, DATE_BYTES, long(50)));
        bytes.extend(entry(EXIF_DIRECTORY, 4, 1, long(70)));
        bytes.extend([0; 4]);
        bytes.extend(format!("{changed}\0").bytes());
        assert_eq!(bytes.len(), 70);
        bytes.extend(short(1));
        bytes.extend(entry(TAKEN, ASCII, DATE_BYTES, long(88)));
        bytes.extend([0; 4]);
        bytes.extend(format!("{}\0", taken.unwrap_or("                   ")).bytes());
        bytes
    }

    #[test]
    fn orientation_and_date_are_read_in_both_byte_orders() {
        for is_little in [true, false] {
            let bytes = exif(is_little, "2001:01:01 00:00:00", Some("2024:05:07 14:34:56"));
            let found = Exif::new(&bytes).unwrap();
            assert_eq!((found.orientation(), found.taken()), (Some(6), Some(MAY)));
            let bytes = exif(is_little, "2024:05:07 14:34:56", None);
            assert_eq!(Exif::new(&bytes).unwrap().taken(), Some(MAY), "the date of the last change");
        }
    }

    #[test]
    fn torn_data_has_no_date_and_never_panics() {
        let whole = exif(true, "0000:00:00 00:00:00", Some("2024:05:07 14:34:56"));
        for length in 0..whole.len() - 1 {
            let found = Exif::new(&whole[..length]).and_then(|exif| exif.taken());
            assert_eq!(found, None, "{length} bytes");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7F, 0xFF] {
                let mut changed = whole.clone();
                changed[at] = value;
                let found = Exif::new(&changed);
                let _ = found.map(|exif| (exif.orientation(), exif.taken()));
            }
        }
    }

    #[test]
    fn only_dates_are_dates() {
        assert_eq!(seconds(b"1970:01:01 00:00:00"), Some(0));
        assert_eq!(seconds(b"2000:02:29 12:00:00"), Some(951_825_600));
        assert_eq!(seconds(b"1969:12:31 23:59:59"), Some(-1));
        assert_eq!(seconds(b"2024-05-07T14:34:56"), Some(MAY));
        for bad in [
            "0000:00:00 00:00:00",
            "2001:02:29 00:00:00",
            "2024:13:01 00:00:00",
            "2024:01:01 24:00:00",
            "    :  :     :  :  ",
            "2024:01:01 00:00:0x",
            "2024:01:01",
        ] {
            assert_eq!(seconds(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn every_format_that_has_exif_data_is_searched() {
        let exif = exif(true, "2001:01:01 00:00:00", Some("2024:05:07 14:34:56"));
        let segment = |marker: u8, data: &[u8]| {
            [&[0xFF, marker], &(data.len() as u16 + 2).to_be_bytes()[..], data].concat()
        };
        let marked = [b"Exif\0\0", &exif[..]].concat();
        let jpeg =
            [&[0xFF, 0xD8][..], &segment(0xE0, b"JFIF"), &segment(0xE1, b"http://"), &segment(0xE1, &marked)];
        assert_eq!(date_taken(&jpeg.concat()), Some(MAY));
        let after = [&[0xFF, 0xD8][..], &segment(0xDA, b""), &segment(0xE1, &marked)].concat();
        assert_eq!(date_taken(&after), None, "data behind the scan are not metadata");
        let png_chunk =
            |name: &[u8], data: &[u8]| [&(data.len() as u32).to_be_bytes()[..], name, data, &[0; 4]].concat();
        let png =
            [&b"\x89PNG\r\n\x1A\n"[..], &png_chunk(b"IHDR", &[0; 13]), &png_chunk(b"eXIf", &exif)].concat();
        assert_eq!(date_taken(&png), Some(MAY));
        let webp_chunk = |name: &[u8], data: &[u8]| {
            let pad = vec![0; data.len() % 2];
            [name, &(data.len() as u32).to_le_bytes(), data, &pad].concat()
        };
        let webp =
            [&b"RIFF\0\0\0\0WEBP"[..], &webp_chunk(b"VP8X", &[0; 9]), &webp_chunk(b"EXIF", &exif)].concat();
        assert_eq!(date_taken(&webp), Some(MAY));
        assert_eq!(date_taken(&exif), Some(MAY), "a TIFF is such data itself");
        assert_eq!(date_taken(b"GIF89a"), None);
        for length in 0..png.len() {
            date_taken(&png[..length]);
        }
        for length in 0..webp.len() {
            date_taken(&webp[..length]);
        }
        for length in 0..jpeg.concat().len() {
            date_taken(&jpeg.concat()[..length]);
        }
    }
}
