//! Numbers and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as kbytes with one decimal, PowerMTA's unit in every list.
pub fn kbytes(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10 + 512) / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `2:03`, `1:02:03`, `4d 01:02:03`.
pub fn span(length: Duration) -> String {
    let s = length.as_secs();
    let (days, hours, minutes, seconds) = (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}d {hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// Unix milliseconds as `YYYY-MM-DD HH:MM:SS` in `zone`; empty for 0.
pub fn date_time(at: i64, zone: &TimeZone) -> String {
    format(at, zone, "%Y-%m-%d %H:%M:%S")
}

/// The time alone when it is within a day of `now`, with the date otherwise.
pub fn near(at: i64, now: i64, zone: &TimeZone) -> String {
    let near = at.abs_diff(now) < 86_400_000;
    format(at, zone, if near { "%H:%M:%S" } else { "%m-%d %H:%M" })
}

fn format(at: i64, zone: &TimeZone, form: &str) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(t) if at != 0 => t.to_zoned(zone.clone()).strftime(form).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 31_334, 4_080_965_428].map(kbytes), ["0.0", "30.6", "3985317.8"]);
    }

    #[test]
    fn times_are_as_short_as_they_can_be() {
        let spans = [0, 123, 3_723, 349_323].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["0:00", "2:03", "1:02:03", "4d 01:02:03"]);
        let zone = TimeZone::UTC;
        assert_eq!(date_time(1_549_662_845_000, &zone), "2019-02-08 21:54:05");
        assert_eq!(date_time(0, &zone), "");
        assert_eq!(near(1_549_662_845_000, 1_549_662_000_000, &zone), "21:54:05");
        assert_eq!(near(1_549_662_845_000, 1_559_662_000_000, &zone), "02-08 21:54");
    }
}
