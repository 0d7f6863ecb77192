//! How many bytes may be delivered in a time, exact as the receiver counts: **in any window of the length `per` at most
//! `bytes`**, unless one message alone is larger, which then goes alone. At least 97 % of it is used by mail that always
//! waits and whose messages are small beside it.
//!
//! A message is counted while it is on its way, and from its delivery for the time `per`; one that was not delivered is
//! forgotten. So however long each takes, those delivered in a window were all counted when the last of them was begun.
//! The past is kept in 64 parts of the window. Messages are paced by their size besides, so that the bytes of an hour are
//! spread over it.

use crate::base::Time;
use std::fmt;
use std::time::Duration;

const PARTS: usize = 64;
/// When to ask again where only the end of what is on its way can make room.
const ON_WAY: Duration = Duration::from_millis(250);

/// So many bytes in any window of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeRate {
    pub bytes: u64,
    /// More than zero.
    pub per: Duration,
}

/// In the words of the configuration: `100M/h`.
impl fmt::Display for VolumeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
        let whole = |(size, _): &&(u64, &str)| self.bytes >= *size && self.bytes.is_multiple_of(*size);
        let (size, unit) = units.iter().find(whole).copied().unwrap_or((1, ""));
        write!(f, "{}{unit}/", self.bytes / size)?;
        match self.per.as_secs() {
            1 => f.write_str("s"),
            60 => f.write_str("m"),
            3600 => f.write_str("h"),
            86_400 => f.write_str("d"),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

/// One limited volume.
#[derive(Clone, Debug)]
pub struct Volume {
    rate: VolumeRate,
    /// Delivered in each part of the window, by the part's number modulo their count.
    parts: Box<[u64; PARTS + 1]>,
    /// The latest part that anything was counted in.
    part: u64,
    /// Sum of `parts`.
    past: u64,
    /// On the way.
    on_way: u64,
    /// No message before that.
    paced: Time,
    /// The size of one that did not fit: all wait until it does, lest smaller ones pass it for ever.
    waiting: u64,
}

impl Volume {
    pub fn new(rate: VolumeRate) -> Volume {
        Volume {
            rate,
            parts: Box::new([0; PARTS + 1]),
            part: 0,
            past: 0,
            on_way: 0,
            paced: Time::ZERO,
            waiting: 0,
        }
    }

    pub fn rate(&self) -> VolumeRate {
        self.rate
    }

    /// Takes a new rate. With another `per` the past is counted as if it had just been.
    pub fn set(&mut self, rate: VolumeRate) {
        if self.rate.per != rate.per {
            let (past, now) = (self.past, self.part_began(self.part));
            *self = Volume { on_way: self.on_way, waiting: self.waiting, ..Volume::new(rate) };
            self.part = self.number(now);
            self.parts[self.part as usize % (PARTS + 1)] = past;
            self.past = past;
        }
        self.rate = rate;
        self.paced = Time::ZERO;
    }

    /// Since when a message may begin as far as its pace is concerned.
    pub(super) fn earliest(&self) -> Time {
        self.paced
    }

    fn part_micros(&self) -> u64 {
        u64::try_from(self.rate.per.as_micros()).unwrap_or(u64::MAX).div_ceil(PARTS as u64).max(1)
    }

    fn number(&self, at: Time) -> u64 {
        at.0 / self.part_micros()
    }

    fn part_began(&self, part: u64) -> Time {
        Time(part.saturating_mul(self.part_micros()))
    }

    /// Forgets what is older than a window.
    fn turn_to(&mut self, now: Time) {
        let number = self.number(now);
        if number <= self.part {
            return;
        }
        for part in self.part + 1..=number.min(self.part + PARTS as u64 + 1) {
            self.past -= std::mem::take(&mut self.parts[part as usize % (PARTS + 1)]);
        }
        self.part = number;
    }

    /// Whether the next message may begin, whatever its size (unless the last one did not fit); `Err` says when to ask
    /// again.
    pub fn look(&self, now: Time) -> Result<(), Time> {
        if now < self.paced {
            return Err(self.paced);
        }
        self.fits(now, self.waiting.max(1))
    }

    /// Counts a message that begins now.
    pub fn begin(&mut self, now: Time, bytes: u64) -> Result<(), Time> {
        self.look(now)?;
        if let Err(until) = self.fits(now, bytes) {
            self.waiting = bytes;
            return Err(until);
        }
        self.turn_to(now);
        self.waiting = 0;
        self.on_way += bytes;
        let per = self.rate.per.as_micros() * u128::from(bytes) / u128::from(self.rate.bytes.max(1));
        // A little less than the window has, so that pacing and not the window is what is waited for.
        let pace = per + per / PARTS as u128;
        let late = Duration::from_micros(self.part_micros()).min(Duration::from_millis(20));
        self.paced = self.paced.max(now - late) + Duration::from_micros(pace as u64);
        Ok(())
    }

    fn fits(&self, now: Time, bytes: u64) -> Result<(), Time> {
        let number = self.number(now).max(self.part);
        let in_window = |part: &u64| *part + PARTS as u64 >= number;
        let held = |part: u64| self.parts[part as usize % (PARTS + 1)];
        let parts = self.part.saturating_sub(PARTS as u64)..=self.part;
        let past = match number == self.part {
            true => self.past,
            false => parts.clone().filter(in_window).map(held).sum(),
        };
        let most = self.rate.bytes;
        let mut taken = past + self.on_way;
        if taken + bytes <= most || (taken == 0 && most > 0) {
            return Ok(());
        }
        // The first part to be over with that leaves enough.
        for part in parts.filter(in_window) {
            taken -= held(part);
            if held(part) > 0 && (taken + bytes <= most || taken == 0) {
                return Err(self.part_began(part + PARTS as u64 + 1));
            }
        }
        Err(now + ON_WAY)
    }

    /// A message has arrived, or has not.
    pub fn ended(&mut self, now: Time, bytes: u64, delivered: bool) {
        self.on_way = self.on_way.saturating_sub(bytes);
        if delivered {
            self.turn_to(now);
            self.parts[self.part as usize % (PARTS + 1)] += bytes;
            self.past += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Delivered bytes of the fullest window; of one that begins with a delivery.
    fn fullest(delivered: &[(Time, u64)], per: Duration) -> (u64, usize) {
        let mut fullest = (0, 0);
        for (first, &(from, _)) in delivered.iter().enumerate() {
            let window = delivered[first..].iter().take_while(|(at, _)| *at <= from + per);
            let (bytes, count) = window.fold((0, 0), |(sum, n), (_, bytes)| (sum + bytes, n + 1));
            fullest = fullest.max((bytes, count));
        }
        fullest
    }

    /// `lanes` connections that always have messages of `sizes`, each of which takes `time` microseconds and fails at times.
    fn greedy(rate: VolumeRate, end: Time, lanes: usize, sizes: &[u64], times: &[u64]) -> Vec<(Time, u64)> {
        let mut volume = Volume::new(rate);
        let mut delivered = Vec::new();
        let mut sizes = sizes.iter().cycle();
        let mut times = times.iter().cycle();
        let mut busy: Vec<(Time, u64, bool)> = Vec::new();
        let mut size = *sizes.next().expect("sizes");
        let mut now = Time::from_millis(1);
        while now < end {
            busy.sort_by_key(|lane| std::cmp::Reverse(lane.0));
            while let Some(lane) = busy.pop_if(|lane| lane.0 <= now) {
                volume.ended(lane.0, lane.1, lane.2);
                if lane.2 {
                    delivered.push((lane.0, lane.1));
                }
            }
            let mut next = busy.last().map_or(Time::NEVER, |lane| lane.0);
            while busy.len() < lanes {
                match volume.begin(now, size) {
                    Ok(()) => {
                        let time = *times.next().expect("times");
                        busy.push((now + Duration::from_micros(time), size, !time.is_multiple_of(7)));
                        next = next.min(now + Duration::from_micros(time));
                        size = *sizes.next().expect("sizes");
                    }
                    Err(until) => {
                        assert!(until > now, "asked again at {until:?}, now is {now:?}");
                        next = next.min(until);
                        break;
                    }
                }
            }
            assert!(next < Time::NEVER, "nothing on its way and nothing may go");
            now = next;
        }
        delivered
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn no_window_has_more(
            (bytes, secs) in (1u64..5_000_000, prop_oneof![Just(1u64), Just(60), Just(3600)]),
            lanes in 1usize..6,
            parts in prop::collection::vec(1u64..2_000, 1..12),
            times in prop::collection::vec(1u64..3_000_000, 1..12),
        ) {
            let rate = VolumeRate { bytes, per: Duration::from_secs(secs) };
            // Up to twice what fits in a window.
            let sizes: Vec<u64> = parts.iter().map(|part| (bytes * part / 1000).max(1)).collect();
            let delivered = greedy(rate, Time::ZERO + rate.per * 6, lanes, &sizes, &times);
            let (most, count) = fullest(&delivered, rate.per);
            prop_assert!(most <= bytes || count == 1, "{most} in a window of {rate}, {count} messages");
        }

        #[test]
        fn nearly_all_is_used_by_small_messages(
            (bytes, secs) in (100_000u64..5_000_000, prop_oneof![Just(1u64), Just(60), Just(3600)]),
            small in prop::collection::vec(1u64..100, 1..12),
        ) {
            let rate = VolumeRate { bytes, per: Duration::from_secs(secs) };
            let sizes: Vec<u64> = small.iter().map(|n| (bytes * n / 20_000).max(1)).collect();
            let delivered = greedy(rate, Time::ZERO + rate.per * 5, 3, &sizes, &[20, 50]);
            let total: u64 = delivered.iter().map(|(_, bytes)| bytes).sum();
            prop_assert!(total * 100 >= bytes * 5 * 97, "{total} of {} used at {rate}", bytes * 5);
        }
    }

    #[test]
    fn what_was_not_delivered_does_not_count() {
        let mut volume = Volume::new(VolumeRate { bytes: 1000, per: Duration::from_secs(3600) });
        let now = Time::from_millis(1);
        assert_eq!(volume.begin(now, 900), Ok(()));
        let later = Time::from_millis(3_599_000);
        assert_eq!(volume.begin(later, 900), Err(later + ON_WAY));
        volume.ended(later, 900, false);
        assert_eq!(volume.begin(later, 900), Ok(()));
        volume.ended(later, 900, true);
        let until = volume.begin(Time::from_millis(7_000_000), 900).expect_err("within the hour");
        assert!(until > Time::from_millis(7_199_000) && until < Time::from_millis(7_320_000), "{until:?}");
        assert_eq!(volume.begin(until, 900), Ok(()));
    }

    #[test]
    fn a_message_larger_than_the_limit_goes_alone() {
        let mut volume = Volume::new(VolumeRate { bytes: 1000, per: Duration::from_secs(1) });
        assert_eq!(volume.begin(Time::from_millis(1), 5000), Ok(()));
        volume.ended(Time::from_millis(2), 5000, true);
        let until = volume.begin(Time::from_millis(1000), 1).expect_err("too much already");
        assert!(until >= Time::from_millis(1002), "{until:?}");
    }

    #[test]
    fn in_the_words_of_the_configuration() {
        let shown = |bytes, secs| VolumeRate { bytes, per: Duration::from_secs(secs) }.to_string();
        assert_eq!(shown(10 << 20, 3600), "10M/h");
        assert_eq!((shown(1500, 60), shown(2 << 30, 86_400)), ("1500/m".into(), "2G/d".into()));
    }
}
