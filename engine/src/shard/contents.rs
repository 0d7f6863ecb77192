//! Message contents in use on this shard: compiled once, kept while hot, within a budget of bytes. What is cold is read
//! by the storage thread, never through a page fault here.

use crate::base::Time;
use crate::mail::content::Content;
use crate::spool::record::Location;
use hashbrown::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of content kept per shard.
pub const BUDGET: usize = 64 << 20;

/// A content that could not be read is not asked for again before this: a disk may recover, and must be left in peace
/// meanwhile (F15).
const AGAIN: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Cached {
    content: Rc<Content>,
    bytes: usize,
    used: Time,
}

#[derive(Debug, Default)]
pub struct Contents {
    cached: HashMap<Location, Cached>,
    /// Asked from storage and not yet here; the connections waiting for each.
    loading: HashMap<Location, Vec<u32>>,
    /// Could not be read, and when they are asked for again.
    unreadable: HashMap<Location, Time>,
    bytes: usize,
}

impl Contents {
    pub fn get(&mut self, at: Location, now: Time) -> Option<Rc<Content>> {
        let cached = self.cached.get_mut(&at)?;
        cached.used = now;
        Some(cached.content.clone())
    }

    /// Notes that `connection` waits for `at`; true when it has to be asked for.
    pub fn wait(&mut self, at: Location, connection: u32) -> bool {
        let waiting = self.loading.entry(at).or_default();
        let first = waiting.is_empty();
        waiting.push(connection);
        first
    }

    /// The content (or the news that there is none) has come: who waited for it.
    pub fn arrived(&mut self, at: Location) -> Vec<u32> {
        self.loading.remove(&at).unwrap_or_default()
    }

    pub fn set_unreadable(&mut self, at: Location, now: Time) {
        self.unreadable.insert(at, now + AGAIN);
    }

    pub fn is_unreadable(&self, at: Location, now: Time) -> bool {
        self.unreadable.get(&at).is_some_and(|until| *until > now)
    }

    pub fn insert(&mut self, at: Location, content: Content, bytes: usize, now: Time) {
        if self.bytes + bytes > BUDGET {
            self.evict(bytes);
        }
        self.bytes += bytes;
        self.unreadable.remove(&at);
        let cached = Cached { content: Rc::new(content), bytes, used: now };
        if let Some(old) = self.cached.insert(at, cached) {
            self.bytes -= old.bytes;
        }
    }

    /// Whether `bytes` more fit without evicting what is in use.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= BUDGET
    }

    /// A submission that used it has ended. What is merged may be the content of others: it goes when room is needed.
    pub fn finished(&mut self, at: Location) {
        if self.cached.get(&at).is_none_or(|cached| cached.content.is_plain()) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: Location) {
        self.unreadable.remove(&at);
        if let Some(old) = self.cached.remove(&at) {
            self.bytes -= old.bytes;
        }
    }

    /// Drops the least recently used half, so that the scan is paid for once in a great while.
    fn evict(&mut self, wanted: usize) {
        let target = (BUDGET / 2).saturating_sub(wanted);
        let mut by_age: Vec<(Time, Location)> = self.cached.iter().map(|(at, c)| (c.used, *at)).collect();
        by_age.sort_unstable();
        for (_, at) in by_age {
            if self.bytes <= target {
                break;
            }
            self.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> Location {
        Location { segment: 1, offset8: n }
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let mut contents = Contents::default();
        let third = BUDGET / 3;
        for n in 0..3 {
            contents.insert(at(n), Content::plain(b"x".to_vec()), third, Time(u64::from(n)));
        }
        assert!(contents.get(at(0), Time(9)).is_some());
        assert!(!contents.has_room(third));
        contents.insert(at(3), Content::plain(b"x".to_vec()), third, Time(10));
        assert!(contents.get(at(1), Time(11)).is_none());
        assert!(contents.get(at(2), Time(11)).is_none());
        assert!(contents.get(at(3), Time(11)).is_some());
    }

    #[test]
    fn an_unreadable_content_is_asked_for_again_after_a_while() {
        let mut contents = Contents::default();
        contents.set_unreadable(at(1), Time::ZERO);
        assert!(contents.is_unreadable(at(1), Time::from_millis(599_999)));
        assert!(!contents.is_unreadable(at(1), Time::from_millis(600_000)));
        assert!(!contents.is_unreadable(at(2), Time::ZERO));
    }

    #[test]
    fn a_cold_content_is_asked_for_once() {
        let mut contents = Contents::default();
        assert!(contents.wait(at(1), 7));
        assert!(!contents.wait(at(1), 8));
        assert_eq!(contents.arrived(at(1)), vec![7, 8]);
        assert!(contents.wait(at(1), 9));
    }
}
