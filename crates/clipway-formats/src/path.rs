//! Paths stored in files.

use crate::error::shown;

/// The problem with a path, unless it is a plain one below the folder of the file that contains it, on any system: no
/// absolute path, no `..`, no drive, no URL.
pub(crate) fn escape(path: &str) -> Option<String> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let odd = |c: char| c == '\\' || c == ':' || c.is_control();
    let fine = path.split('/').all(plain) && !path.contains(odd);
    (!fine).then(|| format!("`{}` is not a path below this file's folder", shown(path)))
}
