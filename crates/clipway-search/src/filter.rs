//! Which items a search may find.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::error::IndexError;
use crate::item::Item;

/// How an image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Wider than high.
    Landscape,
    /// Higher than wide.
    Portrait,
    /// As wide as high.
    Square,
}

/// Which items a search may find: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Patterns that the path may match, as alternatives; none for any path.
    pub paths: Vec<PathPattern>,
    /// The earliest date, in seconds since 1970; see [`Item::date`].
    pub after: Option<i64>,
    /// The first date that is too late, in seconds since 1970.
    pub before: Option<i64>,
    /// Least width and height as shown, in pixels.
    pub min_size: (u32, u32),
    /// Least number of pixels.
    pub min_pixels: u64,
    /// How the image is shown.
    pub orientation: Option<Orientation>,
}

/// `*` crosses folders, as users of the path as a text expect.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// A pattern that the whole path matches, with `*`, `**`, `?` and `[…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern(Pattern);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(pattern: &str) -> Result<PathPattern, IndexError> {
        Pattern::new(pattern).map(PathPattern).map_err(|error| IndexError::BadQuery {
            reason: format!("`{}` is not a pattern: {}", clipway_formats::shown(pattern), error.msg),
        })
    }
}

impl Filter {
    /// Whether every item passes.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether an item passes.
    pub fn matches(&self, path: &Path, item: &Item) -> bool {
        let (width, height) = item.shown_size();
        let orientation = match width.cmp(&height) {
            std::cmp::Ordering::Greater => Orientation::Landscape,
            std::cmp::Ordering::Less => Orientation::Portrait,
            std::cmp::Ordering::Equal => Orientation::Square,
        };
        let of_path = |pattern: &PathPattern| pattern.0.matches_path_with(path, MATCHING);
        (self.paths.is_empty() || self.paths.iter().any(of_path))
            && self.after.is_none_or(|after| item.date() >= after)
            && self.before.is_none_or(|before| item.date() < before)
            && (width >= self.min_size.0 && height >= self.min_size.1)
            && u64::from(width) * u64::from(height) >= self.min_pixels
            && self.orientation.is_none_or(|wanted| width > 0 && orientation == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_counts() {
        let item = Item {
            width: 640,
            height: 480,
            orientation: 6,
            taken: Some(1000),
            row: Some(0),
            ..Item::default()
        };
        let matches = |filter: &Filter| filter.matches(Path::new("photos/2024/cat.jpg"), &item);
        let default = Filter::default;
        let path = |patterns: &[&str]| {
            let paths = patterns.iter().map(|pattern| PathPattern::new(pattern).expect("a pattern"));
            Filter { paths: paths.collect(), ..default() }
        };
        for (filter, expected) in [
            (default(), true),
            (path(&["photos/*"]), true),
            (path(&["*.png", "*cat*"]), true),
            (path(&["*.png"]), false),
            (path(&["cat.jpg"]), false),
            (Filter { after: Some(1000), before: Some(1001), ..default() }, true),
            (Filter { after: Some(1001), ..default() }, false),
            (Filter { before: Some(1000), ..default() }, false),
            (Filter { min_size: (480, 640), ..default() }, true),
            (Filter { min_size: (640, 480), ..default() }, false),
            (Filter { min_pixels: 640 * 480, ..default() }, true),
            (Filter { min_pixels: 640 * 480 + 1, ..default() }, false),
            (Filter { orientation: Some(Orientation::Portrait), ..default() }, true),
            (Filter { orientation: Some(Orientation::Landscape), ..default() }, false),
            (Filter { orientation: Some(Orientation::Square), ..default() }, false),
        ] {
            assert_eq!(matches(&filter), expected, "{filter:?}");
        }
        assert_eq!(PathPattern::new("[").expect_err("no pattern").code(), "bad-option");
    }
}
