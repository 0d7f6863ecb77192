//! Who of a queue's recipients goes first (reference 9.2).

use rkyv::{Archive, Deserialize, Serialize};

/// `recipient-priority`, `*priority`: 0 to 100, the higher the sooner. It only orders the recipients of one queue.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

impl Default for Priority {
    fn default() -> Self {
        Priority(Self::USUAL)
    }
}

impl Priority {
    /// Of all mail that is not given another.
    const USUAL: u8 = 50;
    pub const MOST: u8 = 100;

    /// The nearest there is.
    pub fn new(priority: u8) -> Priority {
        Priority(priority.min(Self::MOST))
    }

    pub fn get(self) -> u8 {
        self.0
    }

    /// Its place among the others, the highest priority first.
    pub fn rank(self) -> u64 {
        u64::from(Self::MOST - self.0)
    }
}
