//! Problems that are collected, so that all of them are told at once.

/// Everything that is wrong, in the order in which it is found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem, once.
    pub(crate) fn push(&mut self, problem: String) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Everything that was added, as an error.
    pub(crate) fn none_or<E>(self, error: impl FnOnce(Vec<String>) -> E) -> Result<(), E> {
        if self.0.is_empty() { Ok(()) } else { Err(error(self.0)) }
    }
}

/// Most bytes of problems in a message: more than any config that was meant to be right has, and less than what a
/// hostile one could fill a terminal with.
const LONGEST: usize = 1500;

/// Problems as lines below the first of a message; beyond some length they are counted.
pub(crate) fn lines(problems: &[String]) -> String {
    let mut text = String::new();
    for (shown, problem) in problems.iter().enumerate() {
        if shown > 0 && text.len() + problem.len() > LONGEST {
            return format!("{text}\n  and {} more", problems.len() - shown);
        }
        text.push_str("\n  ");
        text.push_str(problem);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_counted() {
        let problems = |length: usize| vec!["p".repeat(length), "q".repeat(length), "r".to_owned()];
        assert_eq!(lines(&problems(2)), "\n  pp\n  qq\n  r");
        assert_eq!(lines(&problems(1000)), format!("\n  {}\n  and 2 more", "p".repeat(1000)));
        assert_eq!(lines(&problems(740)).lines().count(), 4);
    }
}
