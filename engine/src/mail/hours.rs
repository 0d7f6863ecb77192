//! Hours of the week in which a campaign may be delivered: `Mon-Fri 09:00-18:00, Sat 10:00-14:00`.

use crate::base::Wall;
use jiff::ToSpan;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];
/// Entries of one list.
const MOST: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    days: Vec<Weekday>,
    from: Time,
    /// `None` is the end of the day.
    to: Option<Time>,
}

impl Hours {
    /// `None` when it is no such list.
    pub fn parse(text: &str) -> Option<Hours> {
        let entries: Vec<Entry> = text.split(',').map(|part| entry(part.trim())).collect::<Option<_>>()?;
        (entries.len() <= MOST).then_some(Hours(entries))
    }

    /// The times between `from` and `until`, by the clock on the wall in `zone`.
    pub fn between(&self, from: Wall, until: Wall, zone: &TimeZone) -> Vec<(Wall, Wall)> {
        let Ok(first) = jiff::Timestamp::from_millisecond(from.0) else { return Vec::new() };
        let mut day = first.to_zoned(zone.clone()).date();
        let mut times = Vec::new();
        // Yesterday's end in another zone is of no concern: every entry lies within one day of this one.
        while let Some(start) = wall(day, Time::midnight(), zone).filter(|start| *start < until) {
            for entry in self.0.iter().filter(|entry| entry.days.contains(&day.weekday())) {
                let Some((opens, closes)) = entry.on(day, zone) else { continue };
                let (opens, closes) = (opens.max(from).max(start), closes.min(until));
                if opens < closes {
                    times.push((opens, closes));
                }
            }
            let Ok(next) = day.checked_add(1.day()) else { break };
            day = next;
        }
        times
    }
}

impl Entry {
    fn on(&self, day: Date, zone: &TimeZone) -> Option<(Wall, Wall)> {
        let closes = match self.to {
            Some(to) => wall(day, to, zone)?,
            None => wall(day.checked_add(1.day()).ok()?, Time::midnight(), zone)?,
        };
        Some((wall(day, self.from, zone)?, closes))
    }
}

fn wall(day: Date, time: Time, zone: &TimeZone) -> Option<Wall> {
    let zoned = day.to_datetime(time).to_zoned(zone.clone()).ok()?;
    Some(Wall(zoned.timestamp().as_millisecond()))
}

fn entry(text: &str) -> Option<Entry> {
    let (days, hours) = match text.split_once(' ') {
        Some((days, hours)) => (span_of_days(days)?, hours.trim()),
        None => (DAYS.iter().map(|(_, day)| *day).collect(), text),
    };
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (time(from)?, if to == "24:00" { None } else { Some(time(to)?) });
    to.is_none_or(|to| from < to).then_some(Entry { days, from, to })
}

/// `Mon`, or `Mon-Fri`, which may lead over the end of a week.
fn span_of_days(text: &str) -> Option<Vec<Weekday>> {
    let place = |text: &str| DAYS.iter().position(|(name, _)| name.eq_ignore_ascii_case(text));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (place(first)?, place(last)?);
    let count = (last + DAYS.len() - first) % DAYS.len() + 1;
    Some((0..count).map(|n| DAYS[(first + n) % DAYS.len()].1).collect())
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    fn shown(times: &[(Wall, Wall)]) -> Vec<String> {
        let at = |wall: &Wall| jiff::Timestamp::from_millisecond(wall.0).unwrap().to_string();
        times.iter().map(|(from, to)| format!("{} {}", at(from), at(to))).collect()
    }

    #[test]
    fn hours_of_a_week_become_times() {
        let hours = Hours::parse("Mon-Fri 09:00-18:00, Sat 10:00-24:00").unwrap();
        // A Friday at noon to the Monday after it.
        let (from, until) = (wall("2026-11-27T12:00:00Z"), wall("2026-11-30T10:00:00Z"));
        assert_eq!(
            shown(&hours.between(from, until, &TimeZone::UTC)),
            [
                "2026-11-27T12:00:00Z 2026-11-27T18:00:00Z",
                "2026-11-28T10:00:00Z 2026-11-29T00:00:00Z",
                "2026-11-30T09:00:00Z 2026-11-30T10:00:00Z",
            ]
        );
    }

    #[test]
    fn they_are_those_of_the_zone_over_a_change_of_its_clocks() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let hours = Hours::parse("09:00-10:00").unwrap();
        let (from, until) = (wall("2026-10-24T00:00:00Z"), wall("2026-10-26T00:00:00Z"));
        assert_eq!(
            shown(&hours.between(from, until, &zone)),
            ["2026-10-24T07:00:00Z 2026-10-24T08:00:00Z", "2026-10-25T08:00:00Z 2026-10-25T09:00:00Z"]
        );
    }

    #[test]
    fn a_span_of_days_may_lead_over_the_weekend() {
        let Hours(entries) = Hours::parse("fri-mon 00:00-24:00").unwrap();
        assert_eq!(entries[0].days, [Weekday::Friday, Weekday::Saturday, Weekday::Sunday, Weekday::Monday]);
        for wrong in
            ["", "Mon", "Mon 9:00-18:00", "Mon 18:00-09:00", "Mo 09:00-18:00", "09:00-24:01", "09:00-18:00,"]
        {
            assert_eq!(Hours::parse(wrong), None, "{wrong}");
        }
    }
}
