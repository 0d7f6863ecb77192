//! The two clocks of the shell. Read once per turn of an event loop; everything below takes the result.

use crate::base::{Now, Time, Wall};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now. All threads of one engine share one (it is `Copy`), so that their [`Time`]s compare.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub fn mono(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// The instant at which this clock shows `time`, for the runtime's timers.
    pub fn instant(&self, time: Time) -> Instant {
        self.start + std::time::Duration::from_micros(time.0)
    }
}

/// Calendar time.
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
