//! What the name of a file says about its format.

use std::path::Path;

/// What a file is by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedAs {
    /// An image in a format that can be decoded.
    Image,
    /// An image in a format that cannot, with the end of such names.
    Unsupported(&'static str),
    /// Something else.
    Other,
}

impl NamedAs {
    /// Ends of the names of images that can be decoded.
    pub const IMAGES: &[&str] = if cfg!(feature = "avif") {
        &["avif", "bmp", "gif", "heic", "heif", "hif", "jpeg", "jpg", "png", "tif", "tiff", "webp"]
    } else if cfg!(feature = "heic") {
        &["bmp", "gif", "heic", "heif", "hif", "jpeg", "jpg", "png", "tif", "tiff", "webp"]
    } else {
        &["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"]
    };

    /// Ends of the names of images in formats that cannot be decoded.
    pub const UNSUPPORTED: &[&str] = if cfg!(feature = "avif") {
        &["dng", "jp2", "jxl", "nef", "svg"]
    } else if cfg!(feature = "heic") {
        &["avif", "dng", "jp2", "jxl", "nef", "svg"]
    } else {
        &["avif", "dng", "heic", "heif", "hif", "jp2", "jxl", "nef", "svg"]
    };

    /// What a path is named as; capitals do not matter.
    pub fn of(path: &Path) -> NamedAs {
        let Some(end) = path.extension().and_then(|end| end.to_str()) else { return NamedAs::Other };
        let known =
            |ends: &[&'static str]| ends.iter().copied().find(|known| end.eq_ignore_ascii_case(known));
        match (known(NamedAs::IMAGES), known(NamedAs::UNSUPPORTED)) {
            (Some(_), _) => NamedAs::Image,
            (_, Some(end)) => NamedAs::Unsupported(end),
            _ => NamedAs::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_capitals() {
        let of = |name: &str| NamedAs::of(Path::new(name));
        assert_eq!(of("a/b.JPG"), NamedAs::Image);
        for (name, end, is_read) in
            [("a.tar/b.Avif", "avif", cfg!(feature = "avif")), ("a.HEIC", "heic", cfg!(feature = "heic"))]
        {
            assert_eq!(of(name), if is_read { NamedAs::Image } else { NamedAs::Unsupported(end) }, "{name}");
        }
        for other in ["jpg", ".jpg", "a.jpg/b", "a.txt", "a.jpg~"] {
            assert_eq!(of(other), NamedAs::Other, "{other}");
        }
    }
}
