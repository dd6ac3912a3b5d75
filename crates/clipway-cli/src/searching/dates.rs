//! Dates on the command line.

/// Seconds of a day.
const DAY: i64 = 86_400;

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
    let fits = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day);
    let time: Vec<i64> = time.map_or(Some(vec![0, 0]), |time| time.split(':').map(number).collect())?;
    let [hour, minute, second] = match time[..] {
        [hour, minute] => [hour, minute, 0],
        [hour, minute, second] => [hour, minute, second],
        _ => return None,
    };
    let fits = fits && hour < 24 && minute < 60 && second < 60;
    fits.then(|| days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

/// A number of one to four digits.
fn number(text: &str) -> Option<i64> {
    let fits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let days = before * 365 + before / 4 - before / 100 + before / 400;
    let months: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    // 719,162 days lie between the years 1 and 1970.
    days + months + day - 1 - 719_162
}

/// Writes seconds since 1970 as `YYYY-MM-DDTHH:MM:SS`.
pub fn written(seconds: i64) -> Option<String> {
    let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Years of the calendar in order; what lies outside of four digits is no date of an image.
    let mut year = 1970 + days.div_euclid(366);
    if !(1..=9999).contains(&year) {
        return None;
    }
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before(year, 1, 1);
    let mut month = 1;
    while rest >= days_of_month(year, month) {
        rest -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    Some(format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}", rest + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        for (text, seconds, whole) in [
            ("1970", 0, "1970-01-01T00:00:00"),
            ("1970-01-02T00:01", DAY + 60, "1970-01-02T00:01:00"),
            ("2000-02-29", 951_782_400, "2000-02-29T00:00:00"),
            ("2024-05", 1_714_521_600, "2024-05-01T00:00:00"),
            ("2024-12-31T23:59:59", 1_735_689_599, "2024-12-31T23:59:59"),
            ("1969-12-31T23:59:59", -1, "1969-12-31T23:59:59"),
            ("1900-03-01", -2_203_891_200, "1900-03-01T00:00:00"),
        ] {
            assert_eq!(date(text), Ok(seconds), "{text}");
            assert_eq!(written(seconds).as_deref(), Some(whole));
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
        assert_eq!(written(i64::MAX), None);
        assert_eq!(written(i64::MIN), None);
    }
}
