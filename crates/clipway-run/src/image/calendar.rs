//! Dates of the Gregorian calendar, and the seconds between them.
//!
//! Days are counted in years that begin in March, so that a leap day is a year's last one. Source: Howard Hinnant,
//! "chrono-Compatible Low-Level Date Algorithms".

use std::fmt;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Days from 0000-03-01 to 1970-01-01.
const BEFORE_1970: i64 = 719_468;

/// Days of 400 years.
const ERA: i64 = 146_097;

/// A date and a time of day, without a time zone. It is shown as `YYYY-MM-DDTHH:MM:SS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// 1 to 9999.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59, or 60 in a leap second.
    pub second: i64,
}

impl DateTime {
    /// Converts seconds since 1970 to a date; `None` outside the years 1 to 9999.
    pub fn of_seconds(seconds: i64) -> Option<DateTime> {
        let (days, time) = (seconds.div_euclid(DAY) + BEFORE_1970, seconds.rem_euclid(DAY));
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let year = era * 400 + year_of_era;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        (1..=9999).contains(&year).then_some(DateTime { year, month, day, hour, minute, second })
    }

    /// Seconds since 1970; `None` if the calendar or the clock does not have it.
    pub fn seconds(&self) -> Option<i64> {
        let DateTime { year, month, day, hour, minute, second } = *self;
        let is_real = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of_month(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second);
        if !is_real {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - BEFORE_1970;
        Some(days * DAY + hour * 3600 + minute * 60 + second)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DateTime { year, month, day, hour, minute, second } = self;
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first seconds of the years 1 and 10,000.
    const FIRST: i64 = -62_135_596_800;
    const END: i64 = 253_402_300_800;

    #[test]
    fn every_day_of_four_digit_years_is_one_after_the_day_before() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        for seconds in (FIRST..END).step_by(DAY as usize) {
            let date = DateTime { year, month, day, hour: 0, minute: 0, second: 0 };
            assert_eq!(DateTime::of_seconds(seconds), Some(date));
            assert_eq!(date.seconds(), Some(seconds), "{date}");
            day += 1;
            if day > days_of_month(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(year, 10_000);
    }

    #[test]
    fn other_years_have_no_date() {
        for seconds in [i64::MIN, FIRST - 1, END, i64::MAX] {
            assert_eq!(DateTime::of_seconds(seconds), None, "{seconds}");
        }
    }
}
