//! The members of a tar archive: names and places, of which nothing is unpacked.
//!
//! Reads the header of POSIX (ustar), with long names by GNU tar and by POSIX (pax). Source: `pax`, POSIX.1-2024,
//! "ustar Interchange Format".

use crate::error::{Code, FormatError, Place};
use crate::source::{ReadAt, read_range};

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 512;

/// Most members of an archive.
const MOST_MEMBERS: usize = 16 << 20;

/// Most bytes of a long name or of a pax header.
const MOST_EXTENDED: u64 = 1 << 20;

/// A plain file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarMember {
    /// Its name, with `/` between folders; never absolute and without `..`.
    pub name: String,
    /// Offset of its first byte.
    pub start: u64,
    /// Number of its bytes.
    pub size: u64,
}

/// What an extended header says about the member after it.
#[derive(Default)]
struct Said {
    name: Option<String>,
    size: Option<u64>,
}

/// The plain files of a tar archive, in its order; of two with one name, both. Folders, links and devices are passed over.
///
/// # Errors
/// Bytes that are no tar archive, one that is cut, and a name that leads out of it.
pub fn tar_members(source: &dyn ReadAt) -> Result<Vec<TarMember>, FormatError> {
    let mut members = Vec::new();
    let mut said = Said::default();
    let mut at = 0;
    while at < source.size() {
        let refuse = |code, cause: &str| Err(FormatError::new(code, Place::Byte(at), cause));
        let header = read_range(source, at, BLOCK)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(members);
        }
        if !is_header(&header) {
            return refuse(Code::Malformed, "expected a tar header");
        }
        let Some(size) = said.size.take().or_else(|| octal(&header[124..136])) else {
            return refuse(Code::Malformed, "the size of a tar member is not an octal number");
        };
        let start = at + BLOCK;
        let Some(end) = start.checked_add(size).filter(|&end| end <= source.size()) else {
            return refuse(Code::Truncated, "a tar member runs past the end of the file");
        };
        let extended = |what| {
            if size > MOST_EXTENDED {
                let cause = format!("{what} of {size} bytes; the limit is {MOST_EXTENDED}");
                return Err(FormatError::new(Code::TooLarge, Place::Byte(at), cause));
            }
            read_range(source, start, size)
        };
        match header[156] {
            b'L' => {
                let bytes = extended("a name")?;
                let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                said.name = Some(String::from_utf8_lossy(name).into_owned());
            }
            b'x' => said = said.and(&extended("a header")?, at)?,
            0 | b'0' | b'7' => {
                let name = said.name.take().unwrap_or_else(|| stored_name(&header));
                let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
                let leads_out = name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..");
                if name.is_empty() || leads_out || name.contains('\0') {
                    return refuse(Code::PathEscape, "the name of a tar member leads out of the archive");
                }
                if members.len() == MOST_MEMBERS {
                    return refuse(Code::TooLarge, "more than 16777216 tar members");
                }
                members.push(TarMember { name, start, size });
            }
            b'S' => return refuse(Code::Unsupported, "a sparse tar member"),
            _ => said = Said::default(),
        }
        at = end.next_multiple_of(BLOCK);
    }
    let cause = "the tar archive has no end: it was cut, or is still being written";
    Err(FormatError::new(Code::Truncated, Place::Byte(at), cause))
}

impl Said {
    /// The same with the records of a pax header, `LENGTH KEY=VALUE` and a line feed each.
    fn and(mut self, mut records: &[u8], at: u64) -> Result<Said, FormatError> {
        let bad = || FormatError::new(Code::Malformed, Place::Byte(at), "a pax header with a torn record");
        while !records.is_empty() {
            let space = records.iter().position(|&byte| byte == b' ').ok_or_else(bad)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse().ok());
            let length: usize = length.filter(|length| *length <= records.len()).ok_or_else(bad)?;
            let record = records.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n"));
            let record = String::from_utf8_lossy(record.ok_or_else(bad)?).into_owned();
            match record.split_once('=').ok_or_else(bad)? {
                ("path", value) => self.name = Some(value.to_owned()),
                ("size", value) => self.size = Some(value.parse().map_err(|_| bad())?),
                _ => {}
            }
            records = &records[length..];
        }
        Ok(self)
    }
}

/// The name in a header, with the prefix that ustar puts before it.
fn stored_name(header: &[u8]) -> String {
    let text = |field: &[u8]| {
        String::from_utf8_lossy(field.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
    };
    let name = text(&header[..100]);
    let is_ustar = header[257..].starts_with(b"ustar\0");
    match text(&header[345..500]) {
        prefix if is_ustar && !prefix.is_empty() => format!("{prefix}/{name}"),
        _ => name,
    }
}

/// Whether these bytes start with the header of a tar member.
pub(crate) fn is_header(head: &[u8]) -> bool {
    head.len() as u64 >= BLOCK
        && head[0] != 0
        && octal(&head[148..156]).is_some_and(|sum| {
            let spaces = 8 * u64::from(b' ');
            let rest = head[..148].iter().chain(&head[156..BLOCK as usize]);
            sum == rest.map(|&byte| u64::from(byte)).sum::<u64>() + spaces
        })
}

/// A number of a tar header: octal digits, with spaces and NULs around them.
pub(crate) fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(['\0', ' ']);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(digits, 8).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK as usize];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header.extend_from_slice(body);
        header.resize(header.len().next_multiple_of(BLOCK as usize), 0);
        header
    }

    fn archive(blocks: &[Vec<u8>]) -> Vec<u8> {
        [blocks.concat(), vec![0; 1024]].concat()
    }

    #[track_caller]
    fn check(bytes: Vec<u8>, expected: &[(&str, &[u8])]) {
        let found = tar_members(&bytes).unwrap();
        let found: Vec<(&str, &[u8])> = found
            .iter()
            .map(|one| (one.name.as_str(), &bytes[one.start as usize..(one.start + one.size) as usize]))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn members_are_found_with_long_names_and_without_what_is_no_file() {
        let long = "folder/".repeat(20) + "0001.jpg";
        let pax = |key: &str, value: &str| {
            let rest = format!(" {key}={value}\n");
            let length = (rest.len()..).find(|all| all.to_string().len() + rest.len() == *all).unwrap();
            format!("{length}{rest}").into_bytes()
        };
        let blocks = [
            block("./00000.jpg", b'0', b"one"),
            block("folder/", b'5', b""),
            block("link", b'2', b""),
            block("@LongLink", b'L', format!("{long}\0").as_bytes()),
            block("cut", b'0', b"two"),
            block("pax", b'x', &pax("path", "a ünïcode name.png")),
            block("cut", b'0', &[7; 600]),
            block("global", b'g', &pax("path", "not this")),
            block("last.txt", 0, b""),
        ];
        let expected: [(&str, &[u8]); 4] =
            [("00000.jpg", b"one"), (&long, b"two"), ("a ünïcode name.png", &[7; 600]), ("last.txt", b"")];
        check(archive(&blocks), &expected);
        let mut prefixed = block("b.jpg", b'0', b"x");
        prefixed[345..349].copy_from_slice(b"deep");
        prefixed[148..156].fill(b' ');
        let sum: u64 = prefixed[..512].iter().map(|&byte| u64::from(byte)).sum();
        prefixed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        check(archive(&[prefixed]), &[("deep/b.jpg", b"x")]);
    }

    #[test]
    fn what_is_no_sound_archive_is_refused() {
        let refused = |bytes: Vec<u8>, code: Code| assert_eq!(tar_members(&bytes).unwrap_err().code, code);
        for name in ["/etc/passwd", "a/../../b.jpg", "..\\b.jpg"] {
            refused(archive(&[block(name, b'0', b"x")]), Code::PathEscape);
        }
        refused(vec![1; 512], Code::Malformed);
        let whole = block("a.jpg", b'0', &[1; 700]);
        refused(whole[..1000].to_vec(), Code::Truncated);
        refused(whole[..300].to_vec(), Code::Truncated);
        refused(whole.clone(), Code::Truncated);
        refused(archive(&[block("a", b'x', b"99 path=b\n"), block("c", b'0', b"")]), Code::Malformed);
        refused(archive(&[block("a", b'S', b"")]), Code::Unsupported);
        let mut torn = archive(&[block("a.jpg", b'0', b"x")]);
        torn[124] = b'9';
        refused(torn, Code::Malformed);
        refused(archive(&[block("a", b'L', &vec![b'a'; (MOST_EXTENDED + 1) as usize])]), Code::TooLarge);
    }
}
