//! The expected result of an attack.

use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

use super::watched::Seen;

/// Expectations of one attack. Unknown keys are an error, since an expectation that is not understood checks nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Maximum time of the whole script.
    pub max_seconds: f64,
    /// Maximum memory of any run of the program, in millions of bytes.
    pub max_mb: u64,
    /// Maximum bytes of files at any time, inputs included, in millions.
    pub max_file_mb: Option<u64>,
    /// Allowed exit statuses of the program, as the script prints them (`exit 1`, `rc 1`); any if empty.
    #[serde(default)]
    pub exit: Vec<i32>,
    /// Error codes that must all be printed.
    #[serde(default)]
    pub code: Vec<String>,
    /// Regular expressions that must all match the script's output.
    #[serde(default)]
    pub says: Vec<String>,
    /// Regular expressions that must not match it.
    #[serde(default)]
    pub never_says: Vec<String>,
    /// Paths below the case's working folder that must exist afterwards.
    #[serde(default)]
    pub exists: Vec<String>,
    /// Paths that must not exist; a name may start or end with `*`.
    #[serde(default)]
    pub absent: Vec<String>,
}

impl Expected {
    /// Returns the time after which the script is stopped.
    pub fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.max_seconds.max(0.1)).mul_f64(1.5)
    }

    /// Lists every deviation from the expectations.
    pub fn problems(&self, seen: &Seen, place: &Path) -> Vec<String> {
        let mut problems = Vec::new();
        if seen.stopped || seen.time.as_secs_f64() > self.max_seconds {
            problems.push(format!("took more than {} s", self.max_seconds));
        }
        if seen.memory > self.max_mb * 1_000_000 {
            problems.push(format!("a run took more than {} MB", self.max_mb));
        }
        if let Some(most) = self.max_file_mb.filter(|most| seen.files > most * 1_000_000) {
            problems.push(format!("its files took more than {most} MB"));
        }
        let statuses = Regex::new(r"(?m)(?:^|=> exit |\brc )(?:rc )?(\d+)(?:,|$| )").expect("a pattern");
        let printed = statuses.captures_iter(&seen.output).filter(|found| {
            let text = found.get(0).map_or("", |all| all.as_str());
            text.contains("exit ") || text.contains("rc ")
        });
        let found: Vec<i32> = printed.filter_map(|found| found[1].parse().ok()).collect();
        if !self.exit.is_empty() {
            if found.is_empty() {
                problems.push("no exit status was printed".to_owned());
            }
            let wrong = found.iter().find(|status| !self.exit.contains(status));
            problems
                .extend(wrong.map(|status| format!("exit status {status}, expected one of {:?}", self.exit)));
        }
        for code in &self.code {
            if !seen.output.contains(&format!("[{code}]")) {
                problems.push(format!("the code [{code}] was not printed"));
            }
        }
        for (patterns, wanted) in [(&self.says, true), (&self.never_says, false)] {
            for pattern in patterns {
                match Regex::new(pattern) {
                    Ok(pattern) if pattern.is_match(&seen.output) == wanted => {}
                    Ok(_) if wanted => problems.push(format!("`{pattern}` was not printed")),
                    Ok(_) => problems.push(format!("`{pattern}` was printed")),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        problems.extend(
            self.exists.iter().filter(|path| !is_there(place, path)).map(|path| format!("`{path}` is gone")),
        );
        problems.extend(
            self.absent.iter().filter(|path| is_there(place, path)).map(|path| format!("`{path}` is there")),
        );
        if !problems.is_empty() {
            let last: Vec<&str> = seen.output.lines().rev().take(6).collect();
            problems.push(format!("its last lines: {:?}", last.into_iter().rev().collect::<Vec<_>>()));
        }
        problems
    }
}

/// Returns whether a path exists; its last part may start or end with `*`.
fn is_there(place: &Path, path: &str) -> bool {
    let path = place.join(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains('*') {
        return path.symlink_metadata().is_ok();
    }
    let entries = path.parent().map(std::fs::read_dir).into_iter().flatten().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).any(|found| {
        match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(end), None) => found.ends_with(end),
            (None, Some(start)) => found.starts_with(start),
            _ => found.contains(name.trim_matches('*')),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(expected: &str, output: &str, seconds: u64, memory: u64) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("thesis.txt"), "").unwrap();
        let expected: Expected = serde_json::from_str(expected).unwrap();
        let time = Duration::from_secs(seconds);
        let seen = Seen {
            output: output.to_owned(),
            status: std::process::ExitStatus::default(),
            time,
            processor: time,
            memory,
            files: 2_000_000,
            stopped: false,
        };
        let mut problems = expected.problems(&seen, place.path());
        problems.retain(|problem| !problem.starts_with("its last lines"));
        problems
    }

    #[test]
    fn what_differs_is_told() {
        let text = "error: x [too-large]\n   => exit 1, 0.10 s wall, 0.01 s cpu, 9 KB\nrc 2\n";
        let check = |keys: &str, expected: &[&str]| {
            let json = format!(r#"{{"max_seconds": 2, "max_mb": 1{keys}}}"#);
            assert_eq!(problems(&json, text, 1, 1_000_000), expected, "{keys}");
        };
        check("", &[]);
        check(
            r#", "exit": [1, 2], "code": ["too-large"], "exists": ["thesis.txt"], "absent": ["*.tmp"]"#,
            &[],
        );
        check(r#", "max_file_mb": 2"#, &[]);
        check(r#", "max_file_mb": 1"#, &["its files took more than 1 MB"]);
        check(r#", "exit": [1]"#, &["exit status 2, expected one of [1]"]);
        check(r#", "code": ["io"]"#, &["the code [io] was not printed"]);
        check(r#", "says": ["exit 3"]"#, &["`exit 3` was not printed"]);
        check(r#", "never_says": ["error: .*large"]"#, &["`error: .*large` was printed"]);
        check(r#", "exists": ["none"], "absent": ["*.txt"]"#, &["`none` is gone", "`*.txt` is there"]);
        let json = r#"{"max_seconds": 2, "max_mb": 1, "exit": [0]}"#;
        assert_eq!(
            problems(json, "", 3, 2_000_000),
            ["took more than 2 s", "a run took more than 1 MB", "no exit status was printed"]
        );
        assert!(serde_json::from_str::<Expected>(r#"{"max_seconds": 2, "max_mb": 1, "color": 1}"#).is_err());
    }
}
