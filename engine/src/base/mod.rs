//! What everything else stands on: time as a value, timers, and slots for millions of small things.

pub mod planted;
pub mod slab;
pub mod time;
pub mod wheel;

pub use slab::{ChunkedSlab, NONE};
pub use time::{Now, Time, Wall};
pub use wheel::Wheel;
