//! Paths that a file names.

use crate::error::shown;

/// What is wrong with a path if it is not a plain one below the folder of the file that names it, on any
/// system: no absolute path, no `..`, no drive, no URL.
pub(crate) fn escape(path: &str) -> Option<String> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let odd = |c: char| c == '\\' || c == ':' || c.is_control();
    let fine = path.split('/').all(plain) && !path.contains(odd);
    (!fine).then(|| format!("`{}` is not the path of a file below the folder of this one", shown(path)))
}
