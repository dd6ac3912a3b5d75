//! Collects problems, so that all of them are reported at once.

/// All problems, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem, once.
    pub(crate) fn push(&mut self, problem: String) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// All added problems, as an error.
    pub(crate) fn none_or<E>(self, error: impl FnOnce(Vec<String>) -> E) -> Result<(), E> {
        if self.0.is_empty() { Ok(()) } else { Err(error(self.0)) }
    }
}

/// Problems as lines below a message's first line.
pub(crate) fn lines(problems: &[String]) -> String {
    let mut lines = Lines::default();
    lines.extend(problems.iter().map(|problem| (problem.clone(), 1)));
    lines.text()
}

/// Lines of one kind below a message's first line.
///
/// The limit is above the differences between any two registered models, and above the problems of any file that was
/// meant to be valid. A hostile file cannot flood a terminal: further lines are only counted.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
}

impl Lines {
    /// Maximum number of lines of one kind, and of bytes.
    const MOST: usize = 400;
    const LONGEST: usize = 48_000;

    /// Adds lines of one kind, each with the number of problems it reports.
    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = (String, usize)>) {
        let start = self.text.len();
        let mut left_out = 0;
        for (count, (line, problems)) in lines.into_iter().enumerate() {
            let is_full = count >= Self::MOST || self.text.len() - start + line.len() > Self::LONGEST;
            if left_out > 0 || count > 0 && is_full {
                left_out += problems;
            } else {
                self.text.push_str("\n  ");
                self.text.push_str(&line);
            }
        }
        if left_out > 0 {
            self.text.push_str(&format!("\n  and {left_out} more"));
        }
    }

    /// The lines, each after a newline.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_has_that_was_meant_to_be_right_is_counted() {
        let problems = |length: usize| vec!["p".repeat(length), "q".repeat(length), "r".to_owned()];
        assert_eq!(lines(&problems(2)), "\n  pp\n  qq\n  r");
        assert_eq!(lines(&problems(23_900)).lines().count(), 4);
        assert_eq!(lines(&problems(25_000)), format!("\n  {}\n  and 2 more", "p".repeat(25_000)));
        let many = vec![String::new(); 401];
        assert_eq!(lines(&many[1..]).lines().count(), 401);
        assert!(lines(&many).ends_with("\n  \n  and 1 more"));
    }
}
