//! The deployment checklist: points, each with what was found and what mends it.

mod page;
mod points;
mod programs;
mod verification;

use std::fmt::Write as _;

use serde::Serialize;

pub use page::page;
pub use points::{artifact, graphs, source, unopened};
pub use programs::{Program, programs};

/// Whether a model can be deployed as far as a point goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can.
    Pass,
    /// It can, but somebody should know.
    Warn,
    /// It cannot.
    Fail,
}

impl Status {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        }
    }
}

/// A point of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// What it is about.
    pub name: &'static str,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// The command or step that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Point {
    /// A point that passes.
    pub fn pass(name: &'static str, found: impl Into<String>) -> Point {
        Point { name, status: Status::Pass, found: found.into(), mend: None }
    }

    /// A point that somebody should know of.
    pub fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Point {
        Point { name, status: Status::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    /// A point that fails.
    pub fn fail(name: &'static str, found: impl Into<String>, mend: Option<String>) -> Point {
        Point { name, status: Status::Fail, found: found.into(), mend }
    }
}

/// All points of a model.
#[derive(Debug, Default, Serialize)]
pub struct Checklist {
    /// The points, in the order of a deployment.
    pub points: Vec<Point>,
}

impl Checklist {
    /// Number of points with a status.
    pub fn count(&self, status: Status) -> usize {
        self.points.iter().filter(|point| point.status == status).count()
    }

    /// Whether no point fails.
    pub fn passes(&self) -> bool {
        self.count(Status::Fail) == 0
    }

    /// How many points pass, warn and fail, in words.
    pub fn summary(&self) -> String {
        let [pass, warn, fail] = [Status::Pass, Status::Warn, Status::Fail].map(|status| self.count(status));
        format!("{pass} passed, {warn} to know, {fail} failed")
    }

    /// The list for people: a line for each point, and below it what mends it.
    pub fn text(&self) -> String {
        let width = self.points.iter().map(|point| point.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Point { name, status, found, mend } in &self.points {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}  {name:<width$}  {found}", status.name());
            if let Some(mend) = mend {
                let _ = writeln!(text, "      {:<width$}  -> {mend}", "");
            }
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_fails_the_list() {
        let mut list = Checklist::default();
        list.points.push(Point::pass("format", "safetensors"));
        list.points.push(Point::warn("license", "none is stated", "pass `--license NAME`"));
        assert!(list.passes());
        assert_eq!(
            list.text(),
            "pass  format   safetensors\n\
             warn  license  none is stated\n               -> pass `--license NAME`\n\
             1 passed, 1 to know, 0 failed\n"
        );
        list.points.push(Point::fail("values", "NaN", None));
        assert!(!list.passes());
        assert_eq!(list.summary(), "1 passed, 1 to know, 1 failed");
    }
}
