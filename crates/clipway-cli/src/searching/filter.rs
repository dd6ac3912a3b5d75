//! Options that say which items a search may find.

use clap::{Args, ValueEnum};
use clipway_search::{Filter, Orientation, PathPattern};
#[cfg(feature = "serve")]
use clipway_serve::gallery::{GalleryError, GalleryFilter};

use super::dates::date;
use super::index_failure;
use crate::failure::Failure;

/// Which items may be found.
#[derive(Args)]
pub struct FilterOptions {
    /// Only files whose path matches a pattern such as '*/2024/*.jpg'; can be repeated for alternatives
    #[arg(long, value_name = "PATTERN")]
    path: Vec<String>,

    /// Only images taken at or after a date, such as 2024-05-31; the date of the file if the image has none
    #[arg(long, value_name = "DATE", value_parser = date)]
    after: Option<i64>,

    /// Only images taken before a date
    #[arg(long, value_name = "DATE", value_parser = date)]
    before: Option<i64>,

    /// Only images of at least this size: WIDTHxHEIGHT, or a number of pixels
    #[arg(long, value_name = "SIZE", value_parser = least_size)]
    min_size: Option<LeastSize>,

    /// Only images of this shape
    #[arg(long, value_enum)]
    orientation: Option<Shape>,
}

/// The least size of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LeastSize {
    Sides(u32, u32),
    Pixels(u64),
}

/// The shape of an image as it is shown.
#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    /// Wider than high
    Landscape,
    /// Higher than wide
    Portrait,
    /// As wide as high
    Square,
}

fn least_size(text: &str) -> Result<LeastSize, String> {
    let sides = text.split_once(['x', 'X']).map(|(width, height)| (width.parse().ok(), height.parse().ok()));
    match (sides, text.parse()) {
        (Some((Some(width), Some(height))), _) => Ok(LeastSize::Sides(width, height)),
        (None, Ok(pixels)) => Ok(LeastSize::Pixels(pixels)),
        _ => Err("expected WIDTHxHEIGHT, such as 1920x1080, or a number of pixels".to_owned()),
    }
}

impl FilterOptions {
    /// The options that a request to the server states, or which of its keys is wrong, and why.
    #[cfg(feature = "serve")]
    pub fn of_request(filter: &GalleryFilter) -> Result<FilterOptions, GalleryError> {
        let wrong = |place| move |reason| GalleryError::Query { place, reason };
        let parsed =
            |text: &Option<String>, place| text.as_deref().map(date).transpose().map_err(wrong(place));
        let min_size = filter.min_size.as_deref().map(least_size).transpose();
        let orientation = filter.orientation.as_deref().map(|text| {
            Shape::from_str(text, false)
                .map_err(|_| "expected `landscape`, `portrait` or `square`".to_owned())
        });
        Ok(FilterOptions {
            path: filter.path.clone(),
            after: parsed(&filter.after, "$.filter.after")?,
            before: parsed(&filter.before, "$.filter.before")?,
            min_size: min_size.map_err(wrong("$.filter.min_size"))?,
            orientation: orientation.transpose().map_err(wrong("$.filter.orientation"))?,
        })
    }

    /// The filter.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn filter(&self) -> Result<Filter, Failure> {
        let paths = self.path.iter().map(|pattern| PathPattern::new(pattern));
        let paths = paths.collect::<Result<_, _>>().map_err(|error| index_failure(&error))?;
        let mut filter = Filter { paths, after: self.after, before: self.before, ..Filter::default() };
        match self.min_size {
            Some(LeastSize::Sides(width, height)) => filter.min_size = (width, height),
            Some(LeastSize::Pixels(pixels)) => filter.min_pixels = pixels,
            None => {}
        }
        filter.orientation = self.orientation.map(|shape| match shape {
            Shape::Landscape => Orientation::Landscape,
            Shape::Portrait => Orientation::Portrait,
            Shape::Square => Orientation::Square,
        });
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_sides_or_pixels() {
        assert_eq!(least_size("1920x1080"), Ok(LeastSize::Sides(1920, 1080)));
        assert_eq!(least_size("2000000"), Ok(LeastSize::Pixels(2_000_000)));
        for bad in ["", "x", "1920x", "-1", "1.5", "1x2x3"] {
            assert!(least_size(bad).is_err(), "{bad}");
        }
    }
}
