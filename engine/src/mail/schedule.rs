//! When a message may be delivered: `x-schedule` and `*schedule` (reference 6.2).

use super::hours::Hours;
use crate::base::Wall;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rkyv::{Archive, Deserialize, Serialize};

/// Times of one message.
const MOST: usize = 64;
const FORM: &str = "YYYY-MM-DD HH:MM:SS";

/// The times in which a message may be delivered; none at all is no limit.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<Window>,
}

/// Unix milliseconds.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: i64,
    end: i64,
}

/// What a schedule says of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Open,
    From(Wall),
    /// No time is left.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("{0:?} is no time to deliver in; write START/END, each as {FORM}, with commas between several")]
    Form(String),
    #[error("{0:?} ends before it starts")]
    Order(String),
    #[error("more than {MOST} times")]
    Many,
}

impl Schedule {
    /// Reads `START/END, START/END`, each `YYYY-MM-DD HH:MM:SS` of the clock on the wall in `zone`.
    ///
    /// # Errors
    /// When it is anything else, or a time ends before it starts.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Schedule, ScheduleError> {
        let mut windows = Vec::new();
        for part in text.split(',').map(str::trim) {
            let shown = || part.chars().take(80).collect::<String>();
            let (start, end) = part
                .split_once('/')
                .and_then(|(start, end)| Some((moment(start, zone)?, moment(end, zone)?)))
                .ok_or_else(|| ScheduleError::Form(shown()))?;
            if end <= start {
                return Err(ScheduleError::Order(shown()));
            }
            if windows.len() == MOST {
                return Err(ScheduleError::Many);
            }
            windows.push(Window { start, end });
        }
        Ok(Schedule { windows })
    }

    /// The times of a campaign: from `from` to `until`, and of those only `hours`, where it has any.
    pub fn of_campaign(hours: Option<&Hours>, from: Wall, until: Wall, zone: &TimeZone) -> Schedule {
        let times = match hours {
            Some(hours) => hours.between(from, until, zone),
            None => vec![(from, until)],
        };
        let window = |(start, end): (Wall, Wall)| Window { start: start.0, end: end.0 };
        Schedule { windows: times.into_iter().map(window).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    pub fn at(&self, now: Wall) -> Opening {
        if self.is_empty() || self.windows.iter().any(|window| (window.start..window.end).contains(&now.0)) {
            return Opening::Open;
        }
        let next = self.windows.iter().map(|window| window.start).filter(|start| *start > now.0).min();
        next.map_or(Opening::Over, |start| Opening::From(Wall(start)))
    }

    /// When the last of the times ends.
    pub fn end(&self) -> Option<Wall> {
        self.windows.iter().map(|window| Wall(window.end)).max()
    }
}

fn moment(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    let digits = text.len() == FORM.len()
        && text.bytes().zip(FORM.bytes()).all(|(is, form)| match form {
            b'-' | b':' | b' ' => is == form,
            _ => is.is_ascii_digit(),
        });
    let civil: DateTime = text.parse().ok().filter(|_| digits)?;
    civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Result<Schedule, String> {
        Schedule::parse(text, &TimeZone::UTC).map_err(|e| e.to_string())
    }

    fn wall(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    #[test]
    fn it_is_open_within_its_times_and_over_after_the_last() {
        let schedule =
            utc("2026-12-01 09:00:00/2026-12-01 18:00:00, 2026-11-30 09:00:00/2026-11-30 18:00:00").unwrap();
        assert_eq!(schedule.at(wall("2026-11-29T12:00:00Z")), Opening::From(wall("2026-11-30T09:00:00Z")));
        assert_eq!(schedule.at(wall("2026-11-30T09:00:00Z")), Opening::Open);
        assert_eq!(schedule.at(wall("2026-11-30T18:00:00Z")), Opening::From(wall("2026-12-01T09:00:00Z")));
        assert_eq!(schedule.at(wall("2026-12-01T17:59:59.999Z")), Opening::Open);
        assert_eq!(schedule.at(wall("2026-12-01T18:00:00Z")), Opening::Over);
        assert_eq!(schedule.end(), Some(wall("2026-12-01T18:00:00Z")));
        assert_eq!(Schedule::default().at(wall("2026-12-01T18:00:00Z")), Opening::Open);
    }

    #[test]
    fn its_times_are_those_of_the_zone() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let schedule = Schedule::parse("2026-07-01 10:00:00/2026-12-01 10:00:00", &zone).unwrap();
        assert_eq!(schedule.at(wall("2026-07-01T07:59:59Z")), Opening::From(wall("2026-07-01T08:00:00Z")));
        assert_eq!(schedule.end(), Some(wall("2026-12-01T09:00:00Z")));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in [
            "",
            "2026-12-01 09:00:00",
            "2026-12-01/2026-12-02",
            "2026-12-01T09:00:00/2026-12-01T10:00:00",
            "2026-12-01 09:00:00/2026-13-01 09:00:00",
            "2026-12-01 09:00:00/2026-12-01 10:00:00,",
        ] {
            assert!(utc(wrong).unwrap_err().contains("is no time to deliver in"), "{wrong}");
        }
        let order = utc("2026-12-01 09:00:00/2026-12-01 09:00:00").unwrap_err();
        assert!(order.ends_with("ends before it starts"), "{order}");
        let many = ["2026-12-01 09:00:00/2026-12-01 10:00:00"; MOST + 1].join(",");
        assert_eq!(utc(&many).unwrap_err(), "more than 64 times");
    }
}
