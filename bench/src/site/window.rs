//! How many events ever fell into one second, whichever second it was: what a provider's rate counter would have
//! seen at its worst. Exact, because every stamp of the last second is kept.

use std::collections::VecDeque;

/// Counts events in the half-open window `(now - 1 s, now]`.
#[derive(Debug)]
pub struct Window {
    span_us: u64,
    /// Stamps with how many events bear each: a burst read in one piece is one entry.
    stamps: VecDeque<(u64, u32)>,
    inside: u64,
    most: u64,
}

impl Default for Window {
    fn default() -> Self {
        Window::new(1_000_000)
    }
}

impl Window {
    /// A window `span_us` microseconds wide.
    pub fn new(span_us: u64) -> Window {
        Window { span_us, stamps: VecDeque::new(), inside: 0, most: 0 }
    }

    /// An event at `now` (microseconds, never going back).
    pub fn add(&mut self, now: u64) {
        self.forget(now);
        match self.stamps.back_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => self.stamps.push_back((now, 1)),
        }
        self.inside += 1;
        self.most = self.most.max(self.inside);
    }

    /// Events inside the window that ends now.
    pub fn inside(&mut self, now: u64) -> u64 {
        self.forget(now);
        self.inside
    }

    /// The most that any window held.
    pub fn most(&self) -> u64 {
        self.most
    }

    fn forget(&mut self, now: u64) {
        while let Some(&(at, count)) = self.stamps.front() {
            if at + self.span_us > now {
                break;
            }
            self.inside -= u64::from(count);
            self.stamps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_second_is_found_wherever_it_begins() {
        let mut w = Window::default();
        // Ten events in the last 100 ms of one clock second, ten in the first 100 ms of the next.
        for i in 0..10 {
            w.add(900_000 + i * 10_000);
        }
        for i in 0..10 {
            w.add(1_000_000 + i * 10_000);
        }
        assert_eq!(w.most(), 20);
    }

    #[test]
    fn an_event_exactly_one_second_old_is_outside() {
        let mut w = Window::default();
        for i in 0..50 {
            w.add(i * 100_000);
        }
        assert_eq!(w.most(), 10);
        assert_eq!(w.inside(4_900_000), 10);
        assert_eq!(w.inside(60_000_000), 0);
    }
}
