//! Dates on the command line.

use clipway_run::image::DateTime;

/// Parses `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM[:SS]`: the first second of it, since 1970.
pub fn date(text: &str) -> Result<i64, String> {
    parsed(text).ok_or_else(|| "expected a date such as 2024-05-31 or 2024-05-31T18:30".to_owned())
}

fn parsed(text: &str) -> Option<i64> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let day: Vec<i64> = day.split('-').map(number).collect::<Option<_>>()?;
    let [year, month, day] = match day[..] {
        [year] => [year, 1, 1],
        [year, month] => [year, month, 1],
        [year, month, day] => [year, month, day],
        _ => return None,
    };
    let time: Vec<i64> = time.map_or(Some(vec![0, 0]), |time| time.split(':').map(number).collect())?;
    let [hour, minute, second] = match time[..] {
        [hour, minute] => [hour, minute, 0],
        [hour, minute, second] => [hour, minute, second],
        _ => return None,
    };
    DateTime { year, month, day, hour, minute, second }.seconds()
}

/// A number of one to four digits.
fn number(text: &str) -> Option<i64> {
    let fits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn dates_are_read_and_written() {
        for (text, seconds, whole) in [
            ("1970", 0, "1970-01-01T00:00:00"),
            ("1970-01-02T00:01", DAY + 60, "1970-01-02T00:01:00"),
            ("2000-02-29", 951_782_400, "2000-02-29T00:00:00"),
            ("2024-05", 1_714_521_600, "2024-05-01T00:00:00"),
            ("2024-12-31T23:59:59", 1_735_689_599, "2024-12-31T23:59:59"),
            ("1969-12-31T23:59:59", -1, "1969-12-31T23:59:59"),
            ("1968-12-31", -366 * DAY, "1968-12-31T00:00:00"),
            ("1900-01-01", -25_567 * DAY, "1900-01-01T00:00:00"),
            ("0001", -719_162 * DAY, "0001-01-01T00:00:00"),
            ("1900-03-01", -2_203_891_200, "1900-03-01T00:00:00"),
        ] {
            assert_eq!(date(text), Ok(seconds), "{text}");
            assert_eq!(DateTime::of_seconds(seconds).map(|date| date.to_string()).as_deref(), Some(whole));
        }
        for bad in [
            "",
            "x",
            "2024-13",
            "2023-02-29",
            "2024-1-0",
            "2024-01-01T24:00",
            "1-2-3-4",
            "2024-01-01T1",
            "+024",
        ] {
            assert!(date(bad).is_err(), "{bad}");
        }
    }
}
