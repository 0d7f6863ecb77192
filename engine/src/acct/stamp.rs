//! Times as the accounting file writes them: local time with offset, or Unix seconds (reference 4.3).

use super::csv::push_number;
use crate::base::Wall;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds for which the offset of a time zone, the date and the hour are taken to be constant: offsets change
/// and hours begin at multiples of a quarter of an hour.
const QUARTER: i64 = 900;

/// Neighbouring quarters remembered; recent and queued times of interleaved lines rarely need more.
const SLOTS: usize = 16;

#[derive(Clone, Copy)]
struct Slot {
    /// Number of the quarter since 1970; `i64::MIN` when unused.
    quarter: i64,
    /// The quarter's first second as `YYYY-MM-DD HH:MM:SS+ZZZZ`.
    text: [u8; 24],
}

/// Writes times; remembers what the last ones had in common, so that a time costs a few nanoseconds.
pub struct Stamp {
    zone: TimeZone,
    slots: [Slot; SLOTS],
}

impl Stamp {
    pub fn new(zone: TimeZone) -> Stamp {
        Stamp { zone, slots: [Slot { quarter: i64::MIN, text: [b' '; 24] }; SLOTS] }
    }

    /// Appends `at` as `YYYY-MM-DD HH:MM:SS+ZZZZ`.
    pub fn push_local(&mut self, out: &mut Vec<u8>, at: Wall) {
        let seconds = at.as_secs();
        let quarter = seconds.div_euclid(QUARTER);
        let within = seconds.rem_euclid(QUARTER) as u32;
        let slot = &mut self.slots[quarter.rem_euclid(SLOTS as i64) as usize];
        if slot.quarter != quarter {
            *slot = Slot { quarter, text: quarter_text(&self.zone, quarter) };
        }
        let mut text = slot.text;
        let minute = u32::from(text[14] - b'0') * 10 + u32::from(text[15] - b'0') + within / 60;
        let second = within % 60;
        text[14] = b'0' + (minute / 10) as u8;
        text[15] = b'0' + (minute % 10) as u8;
        text[17] = b'0' + (second / 10) as u8;
        text[18] = b'0' + (second % 10) as u8;
        out.extend_from_slice(&text);
    }

    /// Appends `at` as Unix seconds (`iso-times no`).
    pub fn push_unix(out: &mut Vec<u8>, at: Wall) {
        push_number(out, at.as_secs());
    }

    /// The calendar day of `at`, `YYYY-MM-DD`: names files and tells midnight.
    pub fn day(&mut self, at: Wall) -> String {
        let mut text = Vec::with_capacity(24);
        self.push_local(&mut text, at);
        String::from_utf8_lossy(&text[..10]).into_owned()
    }
}

fn quarter_text(zone: &TimeZone, quarter: i64) -> [u8; 24] {
    let mut text = *b"0000-00-00 00:00:00+0000";
    let Ok(at) = Timestamp::from_second(quarter.saturating_mul(QUARTER)) else { return text };
    let local = zone.to_datetime(at);
    let offset = zone.to_offset(at).seconds();
    // Years outside 0..=9999 cannot be written; the spool never holds them.
    put(&mut text[0..4], local.year().clamp(0, 9999).unsigned_abs().into());
    put(&mut text[5..7], local.month().unsigned_abs().into());
    put(&mut text[8..10], local.day().unsigned_abs().into());
    put(&mut text[11..13], local.hour().unsigned_abs().into());
    put(&mut text[14..16], local.minute().unsigned_abs().into());
    text[19] = if offset < 0 { b'-' } else { b'+' };
    let minutes = offset.unsigned_abs() / 60;
    put(&mut text[20..24], minutes / 60 * 100 + minutes % 60);
    text
}

fn put(cell: &mut [u8], mut number: u32) {
    for digit in cell.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{Offset, TimeZone};
    use proptest::prelude::*;

    fn local(stamp: &mut Stamp, at: i64) -> String {
        let mut out = Vec::new();
        stamp.push_local(&mut out, Wall(at));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_look_as_in_the_reference() {
        let mut utc = Stamp::new(TimeZone::UTC);
        assert_eq!(local(&mut utc, 1_549_662_845_999), "2019-02-08 21:54:05+0000");
        let mut new_york = Stamp::new(TimeZone::fixed(Offset::from_seconds(-4 * 3600).unwrap()));
        assert_eq!(local(&mut new_york, 1_271_535_597_000), "2010-04-17 16:19:57-0400");
        let mut kathmandu = Stamp::new(TimeZone::fixed(Offset::from_seconds(5 * 3600 + 45 * 60).unwrap()));
        assert_eq!(local(&mut kathmandu, 0), "1970-01-01 05:45:00+0545");
        let mut out = Vec::new();
        Stamp::push_unix(&mut out, Wall(1_549_662_845_999));
        assert_eq!(out, b"1549662845");
    }

    #[test]
    fn summer_time_begins_between_two_lines() {
        let rule = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut stamp = Stamp::new(rule);
        assert_eq!(local(&mut stamp, 1_774_745_999_000), "2026-03-29 01:59:59+0100");
        assert_eq!(local(&mut stamp, 1_774_746_000_000), "2026-03-29 03:00:00+0200");
        assert_eq!(stamp.day(Wall(1_774_745_999_000)), "2026-03-29");
    }

    proptest! {
        #[test]
        fn agrees_with_the_calendar(seconds in 0i64..4_000_000_000, offset in -48i32..56) {
            let offset = Offset::from_seconds(offset * 900).unwrap();
            let mut stamp = Stamp::new(TimeZone::fixed(offset));
            let expected = Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::fixed(offset));
            prop_assert_eq!(local(&mut stamp, seconds * 1000), expected.strftime("%Y-%m-%d %H:%M:%S%z").to_string());
        }
    }
}
