//! A hierarchical timer wheel: one timer per key, O(1) to set and to cancel however many there are.
//!
//! Four levels of 256 buckets with ticks of 1 ms reach 49.7 days; later timers wait in one far bucket. A timer lies in
//! the level of the highest byte in which its tick differs from the current one, so that every timer of a level falls
//! due before any timer of the next level, and "what is next" is the first bit set in the lowest level in use.
//! When the wheel reaches a bucket of a higher level, the timers in it move down.

use super::Time;

const LEVELS: usize = 4;
const BUCKETS: usize = 256;
/// The bucket of timers beyond the reach of the levels.
const FAR: usize = LEVELS * BUCKETS;
/// The tick of a key without a timer.
const UNSET: u64 = u64::MAX;
/// Room for keys that an emptied bucket keeps. A moment at which a million timers fell due is not to cost memory after.
const KEPT: usize = 1024;

#[derive(Clone, Copy)]
struct Entry {
    /// Milliseconds since the engine started.
    tick: u64,
    /// Where the key lies in its bucket.
    position: u32,
    bucket: u16,
}

const IDLE: Entry = Entry { tick: UNSET, position: 0, bucket: 0 };

/// Timers under `u32` keys that the caller owns (they index an array: keep them dense). 16 bytes a key, and 4 to 8 a timer.
///
/// A bucket is an array of keys, not a list through the entries: walking it, the processor fetches many entries at
/// once, where a list would make it wait for each in turn.
pub struct Wheel {
    entries: Vec<Entry>,
    buckets: Box<[Vec<u32>]>,
    /// One bit per bucket that is not empty.
    occupied: [[u64; BUCKETS / 64]; LEVELS],
    /// All ticks before this one have been expired.
    current: u64,
    len: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            entries: Vec::new(),
            buckets: vec![Vec::new(); FAR + 1].into_boxed_slice(),
            occupied: [[0; BUCKETS / 64]; LEVELS],
            current: 0,
            len: 0,
        }
    }
}

impl Wheel {
    pub fn new() -> Wheel {
        Wheel::default()
    }

    /// Timers set.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the timer of `key`, in place of the one it may have. A time that has passed expires at the next
    /// [`Wheel::expire`]; no timer expires before its time, and none more than 1 ms after it for the wheel's sake.
    pub fn set(&mut self, key: u32, at: Time) {
        if key as usize >= self.entries.len() {
            self.entries.resize(key as usize + 1, IDLE);
        }
        let tick = at.0.div_ceil(1000).max(self.current);
        match self.entries[key as usize].tick {
            old if old == tick => return,
            UNSET => self.len += 1,
            _ => self.unlink(key),
        }
        self.link(key, tick);
    }

    /// Takes the timer of `key` away, if it has one.
    pub fn cancel(&mut self, key: u32) {
        if self.is_set(key) {
            self.unlink(key);
            self.entries[key as usize] = IDLE;
            self.len -= 1;
        }
    }

    pub fn is_set(&self, key: u32) -> bool {
        self.entries.get(key as usize).is_some_and(|entry| entry.tick != UNSET)
    }

    /// When to call [`Wheel::expire`] next: never later than the earliest timer, and up to its level's grain (256 ms,
    /// 65 s, 4.7 h) earlier, when there is nothing to do but move timers down. `None` without timers.
    pub fn next(&self) -> Option<Time> {
        self.next_bucket().map(|(tick, _)| Time::from_millis(tick))
    }

    /// Calls `expired` for each key whose time has come, in the order of their times (to the millisecond), and forgets
    /// its timer.
    pub fn expire(&mut self, now: Time, mut expired: impl FnMut(u32)) {
        let end = now.as_millis();
        while let Some((tick, bucket)) = self.next_bucket() {
            if tick > end {
                break;
            }
            self.current = tick;
            let mut keys = std::mem::take(&mut self.buckets[bucket]);
            self.vacate(bucket);
            for &key in &keys {
                if bucket < BUCKETS {
                    self.entries[key as usize] = IDLE;
                    expired(key);
                } else {
                    self.link(key, self.entries[key as usize].tick);
                }
            }
            if bucket < BUCKETS {
                self.len -= keys.len();
            }
            // The far bucket may have been filled again from itself.
            if keys.capacity() <= KEPT && self.buckets[bucket].is_empty() {
                keys.clear();
                self.buckets[bucket] = keys;
            }
        }
        self.current = self.current.max(end);
    }

    /// The first bucket in use and the tick at which it begins.
    fn next_bucket(&self) -> Option<(u64, usize)> {
        for level in 0..LEVELS {
            let Some(word) = self.occupied[level].iter().position(|&word| word != 0) else { continue };
            let slot = word * 64 + self.occupied[level][word].trailing_zeros() as usize;
            let shift = 8 * level as u32;
            // The bytes above this level are those of the current tick, the bytes below are zero.
            let above = (self.current >> shift >> 8) << 8 << shift;
            return Some((above | (slot as u64) << shift, level * BUCKETS + slot));
        }
        (!self.buckets[FAR].is_empty()).then(|| (((self.current >> 32) + 1) << 32, FAR))
    }

    fn bucket_of(&self, tick: u64) -> usize {
        let differs = tick ^ self.current;
        let level = (63 - (differs | 1).leading_zeros() as usize) / 8;
        if level >= LEVELS {
            return FAR;
        }
        level * BUCKETS + (tick >> (8 * level)) as usize % BUCKETS
    }

    fn link(&mut self, key: u32, tick: u64) {
        let bucket = self.bucket_of(tick);
        let keys = &mut self.buckets[bucket];
        self.entries[key as usize] = Entry { tick, position: keys.len() as u32, bucket: bucket as u16 };
        keys.push(key);
        if bucket < FAR {
            let slot = bucket % BUCKETS;
            self.occupied[bucket / BUCKETS][slot / 64] |= 1 << (slot % 64);
        }
    }

    fn unlink(&mut self, key: u32) {
        let Entry { position, bucket, .. } = self.entries[key as usize];
        let (keys, position) = (&mut self.buckets[usize::from(bucket)], position as usize);
        keys.swap_remove(position);
        if let Some(&moved) = keys.get(position) {
            self.entries[moved as usize].position = position as u32;
        }
        if keys.is_empty() {
            self.vacate(usize::from(bucket));
        }
    }

    fn vacate(&mut self, bucket: usize) {
        if bucket < FAR {
            let slot = bucket % BUCKETS;
            self.occupied[bucket / BUCKETS][slot / 64] &= !(1 << (slot % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const DAY: u64 = 86_400_000;

    fn expired(wheel: &mut Wheel, now: Time) -> Vec<u32> {
        let mut keys = Vec::new();
        wheel.expire(now, |key| keys.push(key));
        keys
    }

    #[test]
    fn expires_in_order_and_never_early() {
        let mut wheel = Wheel::new();
        wheel.set(2, Time(70_000_000));
        wheel.set(1, Time(1_500));
        wheel.set(3, Time::from_millis(300));
        assert_eq!(wheel.next(), Some(Time::from_millis(2)));
        assert!(expired(&mut wheel, Time(1_999)).is_empty());
        assert_eq!(expired(&mut wheel, Time(2_000)), [1]);
        assert_eq!(expired(&mut wheel, Time::from_millis(200_000)), [3, 2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_time_that_has_passed_expires_at_once() {
        let mut wheel = Wheel::new();
        expired(&mut wheel, Time::from_millis(5_000));
        wheel.set(7, Time::from_millis(10));
        assert!(wheel.next().is_some_and(|next| next <= Time::from_millis(5_000)));
        assert_eq!(expired(&mut wheel, Time::from_millis(5_000)), [7]);
    }

    #[test]
    fn far_timers_cost_a_few_wakes_only() {
        let mut wheel = Wheel::new();
        let at = Time::from_millis(400 * DAY + 12_345);
        wheel.set(0, at);
        let mut wakes = 0;
        while let Some(next) = wheel.next() {
            wakes += 1;
            let keys = expired(&mut wheel, next);
            assert_eq!(keys.is_empty(), next < at);
        }
        assert!(wakes < 20, "{wakes}");
    }

    #[test]
    fn last_moment_never_comes() {
        let mut wheel = Wheel::new();
        wheel.set(0, Time::NEVER);
        assert!(expired(&mut wheel, Time::from_millis(1000 * DAY)).is_empty());
        wheel.cancel(0);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![0..2_000u64, 0..400_000_000u64, 0..(60 * DAY * 1000), 0..(900 * DAY * 1000)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40u32, delay()).prop_map(|(key, after)| Step::Set(key, after)),
            1 => (0..40u32).prop_map(Step::Cancel),
            2 => delay().prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// Against a map from key to time: the same keys expire at the same calls, and `next` is never too late.
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
            let mut wheel = Wheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Set(key, after) => {
                        wheel.set(key, Time(now + after));
                        model.insert(key, (now + after).div_ceil(1000));
                    }
                    Step::Cancel(key) => {
                        wheel.cancel(key);
                        model.remove(&key);
                    }
                    Step::Advance(by) => {
                        now += by;
                        let mut due: Vec<u32> =
                            model.iter().filter(|(_, tick)| **tick <= now / 1000).map(|(key, _)| *key).collect();
                        let mut got = Vec::new();
                        wheel.expire(Time(now), |key| got.push(key));
                        let ticks: Vec<u64> = got.iter().map(|key| model[key]).collect();
                        prop_assert!(ticks.is_sorted());
                        got.sort_unstable();
                        due.sort_unstable();
                        prop_assert_eq!(&got, &due);
                        model.retain(|key, _| !due.contains(key));
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let earliest = model.values().min().map(|tick| Time::from_millis(*tick));
                match (wheel.next(), earliest) {
                    (None, None) => {}
                    (Some(next), Some(earliest)) => prop_assert!(next <= earliest.max(Time(now))),
                    (next, earliest) => prop_assert!(false, "{next:?} against {earliest:?}"),
                }
            }
        }
    }
}
